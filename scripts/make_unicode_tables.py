#!/usr/bin/env python3
"""Writes the tables of src/text/unicode: the character classes as the package `tokenizers` knows them, and the letters
whose upper case in Python is more than one character.

    .venv/bin/python3 scripts/make_unicode_tables.py classes > src/text/unicode/tables.cc
    .venv/bin/python3 scripts/make_unicode_tables.py casing > src/text/unicode/special_casing.cc

Token ids depend on which code points are letters, numbers or word characters, so the tables are asked of the package
itself, code point by code point, rather than taken from one release of Unicode: the package mixes several. Run again
when the pinned `tokenizers` moves; the unit tests compare the tables with the package.
"""

import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

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


if __name__ == "__main__":
    {"classes": classes, "casing": casing}[sys.argv[1]]()
