"""Strings that tokenizers get wrong, the same ones at every run."""

import random

FRAGMENTS = [
    "hello", "Hello World", " the", "lowercase UPPER MiXeD", "naïve café", "Ünïcödé", "e\u0301", "A\u030a", "\u212b",
    "ﬁ ligature", "\u1e9b\u0323", "한국어", "\u1112\u1161\u11ab", "\u1100\u1161", "日本語のテキスト", "中文字符",
    "Привет мир", "שלום עולם", "مرحبا بالعالم", "\u202eRTL\u202c", "हिन्दी", "ไทย", "தமிழ்", "Tiếng Việt", "Ελληνικά",
    "👍", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "1️⃣", "\U0001fae8", "\u200d", "\ufe0f", "\u0300\u0301\u0323",
    "a\u0323\u0301\u0300", "\u0301a", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "don't", "DON'T", "I'll we've they're you'd I'm it's", "I'LL WE'VE THEY'RE", "'s", "'S", "'ſ", "x'ſx", "''s", "’s",
    "'re're", "o'clock", "'", "\"quoted\"",
    "0", "7", "12", "123", "1234", "12345678901234567890", "3.14159", "1,000,000", "½ ⅓ Ⅷ ²³", "٣٤٥", "१२३", "𝟘𝟙𝟚",
    "\U00011de0\U00011de1", "\U00010d40\U00010d41", "\u1c89\u1c8a", "\ua7cb\ua7da", "\U00016d40", "\U0002ebf0",
    " ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", "\r\r\n", " \n ", "\n  \n", "  \t\n", "\x0b", "\x0c",
    "\x85", "\xa0", "\xa0\xa0", "\u1680", "\u2000\u2001\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000",
    "\u180e", "\u200b", "\ufeff", "\x1c\x1d\x1e\x1f",
    "\x00", "a\x00b", "\x01\x02", "\x7f", "\x80", "\x9f", "\u0378", "\u0380", "\U0001fffe", "\U0010ffff", "\ue000",
    "\ufffd", "\ufffe", "\ufdd0", "\U000e0041",
    "https://example.com/a?b=c&d=e#f", "user@example.com", "C:\\Windows\\System32", "/usr/bin/env", "#!/bin/sh",
    "for (int i = 0; i < n; ++i) {", "def f(x):\n    return x ** 2\n", "<div class=\"a\">", "{\"key\": [1, 2.5e-3]}",
    "!!!", "???", "...", "…", "—", "–", "-", "--", "***", "###", "$100", "€50", "50%", "a+b=c", "~", "^", "_", "__init__",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<think>",
    "</think>", "<tool_call>", "<|im_start|><|im_end|>", "<|im_start|", "<|", "|>", "<<|im_end|>>", "<|IM_END|>",
    " <|im_end|> ", "x<|im_end|>y", "<|im_end|>\n<|im_start|>", "<repo_name>", "<file_sep>", "<",
    "aaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababab", "supercalifragilisticexpialidocious",
    "Donaudampfschifffahrtsgesellschaft", "antidisestablishmentarianism", "xzqwkjvbxzqwkjvb",
]


def nasty_strings(count=1200, seed=20240607):
    """The fragments themselves, then random sequences of them and of random code points."""
    rng = random.Random(seed)
    strings = ["", *FRAGMENTS, "a" * 300, " " * 200, "\n" * 100, "é" * 150, "0" * 100, "!" * 120, "👍" * 60, "ab" * 200,
               "\u0301" * 80, "<|im_end|>" * 50]
    while len(strings) < count:
        kind = rng.random()
        if kind < 0.6:
            parts = rng.choices(FRAGMENTS, k=rng.randint(2, 8))
        elif kind < 0.8:
            parts = [rng.choice(FRAGMENTS)[:rng.randint(1, 4)] for _ in range(rng.randint(3, 12))]
        else:
            parts = [random_character(rng) for _ in range(rng.randint(1, 40))]
        strings.append(rng.choice(["", " ", ""]).join(parts))
    return strings


NASTY_ALPHABET = (" \n\t▁'aAbeé\u0301\u0323ßİ漢字あア゙ﾊﾟ한\u1112\u1161\u11ab👍🏽👩\u200d🇩<>|s/0٣½ﬁ.,!?-_\ufe0f\r\u3000\xa0\xad\u200b\ufeff\ufffd"
                  "\x00\x85\u2028तिकЖΣςʼ’ſK\U0001d7d8\U00011938")


def fuzzed_strings(count=800, seed=4, alphabet=NASTY_ALPHABET):
    """Random strings over few characters, so that they meet in every order."""
    rng = random.Random(seed)
    strings = []
    for _ in range(count):
        used = rng.choices(alphabet, k=rng.choice([2, 4, 12]))
        strings.append("".join(rng.choices(used, k=rng.randint(1, 24))))
    return strings


def random_character(rng):
    top = rng.choice([0x80, 0x80, 0x250, 0x3000, 0xD800, 0x20000, 0x110000])
    while True:
        c = rng.randrange(top)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def nasty_bytes(count=300, seed=99):
    """Bytes that are not UTF-8: cut, damaged, overlong, surrogates."""
    rng = random.Random(seed)
    damaged = [b"\xff", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x91", b"a\xe2\x82",
               b"\xe2\x82b", b"\xf0\x9f\xc3\xa9", b"\x80\x80", b"\xc3", b"ok\xfe\xffok", b"\xf8\x88\x80\x80\x80"]
    while len(damaged) < count:
        text = bytearray("".join(rng.choices(FRAGMENTS, k=3)).encode())
        for _ in range(rng.randint(1, 4)):
            if text:
                at = rng.randrange(len(text))
                if rng.random() < 0.5:
                    text[at] = rng.randrange(256)
                else:
                    del text[at]
        damaged.append(bytes(text))
    return damaged
