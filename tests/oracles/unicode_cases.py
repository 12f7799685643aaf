"""What the package `tokenizers` and Python make of every code point, for src/text/unicode/unicode_test.cc.

    python3 -m tests.oracles.unicode_cases WHICH FOLDER

WHICH `classes` writes FOLDER/classes.json: sorted lists of code points. `forms` writes FOLDER/forms.jsonl: texts and
their four normal forms. `casing` writes FOLDER/casing.jsonl: text, upper, lower, title, capitalize,
stripped, repr.
"""

import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from tests.oracles.nasty_text import nasty_strings

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def blocks(size=4096):
    """All characters, in short texts: the package's time grows faster than a text."""
    for start in range(0, len(ALL), size):
        yield "".join(map(chr, ALL[start:start + size]))


def removed(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    found = []
    for text in blocks():
        kept = {c for _, (begin, end) in split.pre_tokenize_str(text) for c in text[begin:end]}
        found += [ord(c) for c in text if c not in kept]
    return found


def digits():
    """Every numeric character becomes a piece of its own, between letters that stay together."""
    split, found = pre_tokenizers.Digits(individual_digits=True), []
    for text in blocks():
        spaced = "".join(f"ab{c}" for c in text)
        found += [ord(spaced[begin]) for _, (begin, end) in split.pre_tokenize_str(spaced) if end - begin == 1]
    return found


def word_characters():
    """A token that must stand alone is not found beside these."""
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.add_tokens([AddedToken("\u2603", single_word=True, normalized=False)])
    found = []
    for text in blocks():
        tested = text.replace("\u2603", "")
        spaced = "".join(f" \u2603{c}" for c in tested)
        encoding = tokenizer.encode(spaced)
        alone = {spaced[end] for token, (_, end) in zip(encoding.ids, encoding.offsets) if token != 0}
        found += [ord(c) for c in tested if c not in alone]
    return found


def classes():
    return {"letters": removed(r"\p{L}+"), "numbers": removed(r"\p{N}+"), "spaces": removed(r"\s+"), "digits": digits(),
            "word": word_characters()}


def form_inputs():
    rng = random.Random(5)
    low = [c for c in ALL if c < 0x20000] + list(range(0x2F800, 0x2FA20)) + list(range(0xE0000, 0xE0200))
    for block in range(0, len(low), 64):
        part = low[block:block + 64]
        yield "\n".join(f"{chr(c)}|a{chr(c)}\u0301\u0323|\u0301{chr(c)}|{chr(c)}\u0327\u0338|\u1100{chr(c)}\u11a8" for c in part)
    marks = [c for c in low if normalizers.NFD().normalize_str("a\u0301" + chr(c)) != "a\u0301" + chr(c)] + [
        0x300, 0x301, 0x323, 0x327, 0x338, 0x93C, 0x9BE, 0xDCF, 0x1161, 0x1175, 0x11A8, 0x11935, 0x11930, 0x1D165]
    for _ in range(3000):
        yield "".join(chr(rng.choice(marks) if rng.random() < 0.6 else rng.choice(low)) for _ in range(rng.randint(2, 12)))
    yield from nasty_strings()


def is_old(text):
    """Whether every Python and utf8proc agrees on these characters: assigned by Unicode 3.2."""
    return all(unicodedata.ucd_3_2_0.category(c) != "Cn" for c in text)


def casing_inputs():
    for block in range(0, 0x20000, 64):
        characters = [chr(c) for c in range(block, block + 64) if not 0xD800 <= c < 0xE000 and is_old(chr(c))]
        if any(unicodedata.category(c) not in ("Lo", "So", "Co") for c in characters):
            yield "".join(f" {c}x{c}" for c in characters)
    yield from (text for text in nasty_strings(600) if is_old(text))
    yield from ["ΑΣ", "ΑΣ.", "Σ", "ΑΣΑ", "Α.Σ", "İstanbul ıI", "ǆ ǅ Ǆ", "ŉ ß ﬁ ﬃ", "o'neill's mc-donald", "", "'", "\"'"]


def main():
    which, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if which == "classes":
        (folder / "classes.json").write_text(json.dumps(classes()))
    elif which == "forms":
        with open(folder / "forms.jsonl", "w") as lines:
            for text in form_inputs():
                forms = {name: getattr(normalizers, name)().normalize_str(text) for name in ("NFC", "NFD", "NFKC", "NFKD")}
                lines.write(json.dumps({"text": text, **forms}) + "\n")
    else:
        with open(folder / "casing.jsonl", "w") as lines:
            for text in casing_inputs():
                lines.write(json.dumps({
                    "text": text, "upper": text.upper(), "lower": text.lower(), "title": text.title(),
                    "capitalize": text.capitalize(), "strip": text.strip(), "repr": repr(text)}) + "\n")


if __name__ == "__main__":
    main()
