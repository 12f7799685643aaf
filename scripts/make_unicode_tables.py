#!/usr/bin/env python3
"""Writes the tables of src/text/unicode: the character classes as the package `tokenizers` knows them, and the letters
whose upper case in Python is more than one character.

    .venv/bin/python3 scripts/make_unicode_tables.py classes > src/text/unicode/tables.cc
    .venv/bin/python3 scripts/make_unicode_tables.py casing > src/text/unicode/special_casing.cc
    .venv/bin/python3 scripts/make_unicode_tables.py normalizing > src/text/unicode/normalizing_tables.cc

Token ids depend on which code points are letters, numbers or word characters, so the tables are asked of the package
itself, code point by code point, rather than taken from one release of Unicode: the package mixes several. Run again
when the pinned `tokenizers` moves; the unit tests compare the tables with the package.
"""

import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

# Oniguruma 6.9.8, Debian's, knows this release of Unicode, and so does Python 3.11.
ONIGURUMA_UNICODE = "14.0.0"
CATEGORIES = ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No",
              "P", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So"]
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def matching(pattern):
    """The code points that the package's regex engine puts in a class."""
    split = pre_tokenizers.Split(Regex(f"^{pattern}$"), "removed")
    return {c for c in CODE_POINTS if not split.pre_tokenize_str(chr(c))}


def numeric():
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODE_POINTS if len(digits.pre_tokenize_str(chr(c) + "ab")) == 2}


def word():
    """What the package treats as part of a word where an added token wants to stand alone."""
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.add_tokens([AddedToken("TOKEN", single_word=True)])
    token = tokenizer.token_to_id("TOKEN")
    return {c for c in CODE_POINTS if token not in tokenizer.encode("TOKEN" + chr(c)).ids}


def ranges(code_points):
    merged = []
    for c in sorted(code_points):
        if merged and merged[-1][1] == c - 1:
            merged[-1][1] = c
        else:
            merged.append([c, c])
    return merged


def cells(code_points):
    lines, line = [], "   "
    for low, high in ranges(code_points):
        cell = f" {{0x{low:X}, 0x{high:X}}},"
        if len(line) + len(cell) > 120:
            lines.append(line)
            line = "   "
        line += cell
    return "\n".join(lines + [line])


def table(name, comment, code_points):
    return f"// {comment}\nconstexpr CodePointRange {name}[] = {{\n{cells(code_points)}\n}};\n"


def category_members(category):
    return {c for c in CODE_POINTS if unicodedata.category(chr(c)).startswith(category)}


def is_cased(c):
    """Python lowers a letter behind one that has a case."""
    return (c + "a").title()[-1] == "a"


def is_case_ignorable(c):
    """A capital sigma ends a word, seen through ignorable characters, only behind a letter that has a case."""
    return ("α" + c + "Σ").lower()[-1] == "ς" != (" " + c + "Σ").lower()[-1]


def casing():
    print("// Written by scripts/make_unicode_tables.py; do not edit.")
    print('#include "text/unicode/special_casing.h"\n')
    print("// clang-format off\nnamespace graft::text {\nnamespace {\n")
    for name, convert in (("kUpper", str.upper), ("kTitle", str.title)):
        longer = [c for c in CODE_POINTS if len(convert(chr(c))) > 1]
        print(f"constexpr SpecialCasing {name}[] = {{")
        for c in longer:
            points = ", ".join(f"0x{ord(x):X}" for x in convert(chr(c)))
            print(f"    {{0x{c:X}, {{{points}}}}},")
        print("};\n")
    print(table("kCased", "letters that have a case", {c for c in CODE_POINTS if is_cased(chr(c))}))
    print(table("kCaseIgnorable", "what may stand inside a word without ending it",
                {c for c in CODE_POINTS if is_case_ignorable(chr(c))}))
    print("}  // namespace\n")
    print("std::span<const CodePointRange> cased_ranges() { return kCased; }")
    print("std::span<const CodePointRange> case_ignorable_ranges() { return kCaseIgnorable; }")
    print("std::span<const SpecialCasing> special_upper() { return kUpper; }")
    print("std::span<const SpecialCasing> special_title() { return kTitle; }")
    print("\n}  // namespace graft::text\n// clang-format on")


def classes():
    assert unicodedata.unidata_version == ONIGURUMA_UNICODE, "run this with Python 3.11"
    letters, numbers = matching(r"\p{L}"), matching(r"\p{N}")
    print(f"// Written by scripts/make_unicode_tables.py from tokenizers {tokenizers.__version__}; do not edit.")
    print('#include "text/unicode/tables.h"\n')
    print("// clang-format off\nnamespace graft::text {\nnamespace {\n")
    print(table("kLetters", "\\p{L}", letters))
    print(table("kNumbers", "\\p{N}", numbers))
    print(table("kDigits", "what the pre-tokenizer Digits splits off", numeric()))
    print(table("kWord", "what single_word added tokens must not touch", word()))
    newer = {}
    for category in CATEGORIES:
        missing = matching(f"\\p{{{category}}}") - category_members(category)
        if missing:
            newer[category] = missing
            print(table(f"kNewer{category}", f"\\p{{{category}}}, beyond Unicode {ONIGURUMA_UNICODE}", missing))
    rows = "\n".join(f'    {{"{category}", kNewer{category}}},' for category in newer)
    print(f"constexpr NewerCategory kNewer[] = {{\n{rows}\n}};\n")
    print("}  // namespace\n")
    for function, name in [("letter_ranges", "kLetters"), ("number_ranges", "kNumbers"), ("digit_ranges", "kDigits"),
                           ("word_ranges", "kWord")]:
        print(f"std::span<const CodePointRange> {function}() {{ return {name}; }}")
    print("std::span<const NewerCategory> newer_categories() { return kNewer; }")
    print("\n}  // namespace graft::text\n// clang-format on")


def changed_by(normalizer, becomes):
    return {c for c in CODE_POINTS if normalizer.normalize_str(chr(c)) == becomes}


def lower_runs():
    """[low, high, step, difference]: neighbours, or every other character, that move by the same distance."""
    lower = normalizers.Lowercase()
    runs = []
    for c in CODE_POINTS:
        small = lower.normalize_str(chr(c))
        if small == chr(c) or len(small) > 1:
            continue
        difference, last = ord(small) - c, runs[-1] if runs else None
        if last and last[3] == difference and c - last[1] in (1, 2) and last[2] in (0, c - last[1]):
            last[1], last[2] = c, c - last[1]
        else:
            runs.append([c, c, 0, difference])
    return [[low, high, step or 1, difference] for low, high, step, difference in runs]


def lower_longer():
    lower = normalizers.Lowercase()
    return [(c, lower.normalize_str(chr(c))) for c in CODE_POINTS if len(lower.normalize_str(chr(c))) > 1]


def scripts():
    """Runs of code points that the package takes for one script, numbered from 1; those of no script are left out."""
    split = pre_tokenizers.UnicodeScripts()

    def is_one(text):
        return len(split.pre_tokenize_str(text)) == 1

    known, runs = [], []
    for c in CODE_POINTS:
        # Neither breaks a Latin nor a Greek word: any script.
        if is_one("a" + chr(c)) and is_one("\u03b1" + chr(c)):
            continue
        if runs and runs[-1][1] == c - 1 and is_one(chr(c - 1) + chr(c)):
            runs[-1][1] = c
            continue
        number = next((i for i, other in enumerate(known, 1) if is_one(other + chr(c))), None)
        if number is None:
            known.append(chr(c))
            number = len(known)
        runs.append([c, c, number])
    return runs


def rows(name, comment, type_name, lines):
    text, line = [], "   "
    for cell in lines:
        if len(line) + len(cell) > 118:
            text.append(line)
            line = "   "
        line += f" {cell},"
    return f"// {comment}\nconstexpr {type_name} {name}[] = {{\n" + "\n".join(text + [line]) + "\n};\n"


def normalizing():
    bert = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    punctuation = pre_tokenizers.Punctuation("removed")
    print(f"// Written by scripts/make_unicode_tables.py from tokenizers {tokenizers.__version__}; do not edit.")
    print('#include "text/unicode/normalizing_tables.h"\n')
    print("// clang-format off\nnamespace graft::text {\nnamespace {\n")
    print(table("kPunctuation", "what the pre-tokenizer Punctuation splits at",
                {c for c in CODE_POINTS if not punctuation.pre_tokenize_str(chr(c))}))
    print(table("kControl", "what BertNormalizer's clean_text removes",
                changed_by(normalizers.BertNormalizer(**{**bert, "clean_text": True}), "")))
    print(table("kNonspacing", "what BertNormalizer's strip_accents removes",
                changed_by(normalizers.BertNormalizer(**{**bert, "strip_accents": True}), "")))
    print(table("kCombining", "what StripAccents removes", changed_by(normalizers.StripAccents(), "")))
    newer = {c for c in CODE_POINTS
             if normalizers.NFKD().normalize_str(chr(c)) == chr(c) != unicodedata.normalize("NFKD", chr(c))}
    newer |= set(range(0x1E030, 0x1E06E))  # utf8proc knows Unicode 15
    print(table("kNewerCompatible", "what decomposes in Unicode 15, but not in the package", newer))
    print(rows("kLower", "capital letters: first, last, step, distance", "LowerRun",
               (f"{{0x{low:X}, 0x{high:X}, {step}, {difference}}}" for low, high, step, difference in lower_runs())))
    print(rows("kLowerLonger", "capital letters that become two characters", "LowerPair",
               (f"{{0x{c:X}, {{{', '.join(f'0x{ord(x):X}' for x in text)}}}}}" for c, text in lower_longer())))
    print(rows("kScripts", "first, last, script", "ScriptRun",
               (f"{{0x{low:X}, 0x{high:X}, {number}}}" for low, high, number in scripts())))
    print("}  // namespace\n")
    for function, name in [("punctuation_ranges", "kPunctuation"), ("control_ranges", "kControl"),
                           ("nonspacing_ranges", "kNonspacing"), ("combining_ranges", "kCombining"),
                           ("newer_compatible_ranges", "kNewerCompatible")]:
        print(f"std::span<const CodePointRange> {function}() {{ return {name}; }}")
    print("std::span<const LowerRun> lower_runs() { return kLower; }")
    print("std::span<const LowerPair> lower_pairs() { return kLowerLonger; }")
    print("std::span<const ScriptRun> script_runs() { return kScripts; }")
    print("\n}  // namespace graft::text\n// clang-format on")


if __name__ == "__main__":
    {"classes": classes, "casing": casing, "normalizing": normalizing}[sys.argv[1]]()
