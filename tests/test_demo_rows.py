"""The rows of the demo: what a message becomes, and the split."""

import collections
import json

from scripts.demo import emails


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_multipart_message_becomes_its_subject_and_its_plain_text():
    raw = ("From: a@example.org\nSubject: =?iso-8859-1?q?caf=E9?=\n  time\n"
           "Content-Type: multipart/alternative; boundary=xx\n\n"
           "--xx\nContent-Type: text/html\n\n<p>marked <b>up</b></p>\n"
           "--xx\nContent-Type: text/plain; charset=no-such-set\n\nplain\n\n\n\n\twords  here\n--xx--\n")
    assert emails.text_of(raw) == "Subject: café time\n\nplain\n\nwords here"


def test_a_message_of_markup_alone_gives_its_visible_text():
    raw = "Subject: x\nContent-Type: text/html\n\n<style>p {}</style><p>a &amp; b</p><script>no()</script>c"
    assert emails.text_of(raw) == "Subject: x\n\na & b\nc"


def test_rows_are_balanced_distinct_and_the_same_every_time(tmp_path):
    first = emails.write_files(tmp_path / "one", train=40, test=20)
    second = emails.write_files(tmp_path / "two", train=40, test=20)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    train, test = map(read, first)
    assert (len(train), len(test)) == (40, 20)
    for rows in (train, test):
        labels = collections.Counter(row["label"] for row in rows)
        assert labels["spam"] == labels["ham"]
    texts = [row["email"] for row in train + test]
    assert len(set(texts)) == len(texts)
    bodies = [text.split("\n\n", 1)[1] for text in texts]
    assert max(map(len, bodies)) <= emails.BODY_CHARACTERS
