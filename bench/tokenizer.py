"""`bench/run tokenizer`: encoding 10 MB of mixed text on one thread, beside the package `tokenizers`.

The text: e-mails, Python's own library, and sentences in twenty scripts with emoji, in documents of about 4 KB, the same
at every run. Both give ids and offsets; the ids must be equal. Then inputs that no word cuts: what twice as much of them
takes.
"""

import json
import pathlib
import random
import sys
import sysconfig

from bench import machine, programs
from bench.rows import Row
from scripts.demo import emails

PEER = "tokenizers 0.22, encode_batch, 1 thread"
TOKENIZERS = {"Llama 3.1": "llama3_1", "Qwen 3": "qwen3", "Llama 2": "llama2"}
SIZE = 10_000_000
DOCUMENT = 4_000
ENDLESS = {"a": "a", "spaces": " ", "one emoji": "\N{GRINNING FACE}"}
ENDLESS_SIZE = 1 << 20

WORDS = [
    "the of and to in is that it was for on are with as his they at be this from have or by one had not but what all were",
    "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat dass",
    "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont être été où même",
    "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha sí niño también",
    "и в не на я быть он с что а по это она этот к но они мы весь который из у то за свой ещё один человек",
    "и і в не на що з до як це та він від по а за його але є був про бути вона їх або так ще",
    "και το να του η της με για την στο από που τα είναι των σε ο οι τη δεν θα τους ένα μια",
    "של את על לא הוא עם זה כל גם היה או אם יש כי אני היא אבל רק בין שלום עולם",
    "في من على أن إلى عن مع هذا هذه التي الذي كان ما لا هو كل بعد قبل مرحبا العالم",
    "के में है की और से को का एक यह पर हैं कि नहीं इस था लिए भी वह कर नमस्ते दुनिया",
    "এবং না এই করে একটি তার জন্য থেকে হয় যে সে আমি কিন্তু পৃথিবী",
    "மற்றும் ஒரு இந்த என்று அவர் உள்ளது தமிழ் வணக்கம் உலகம்",
    "的 一 是 不 了 在 人 有 我 他 这 个 们 中 来 上 大 为 和 国 地 到 以 说 时 要 就 出 会 可 也 你 对 生 能 而 子 那 得 于",
    "の に は を た が で て と し れ さ ある いる も する から な こと として い や れる など なっ ない この ため その あっ",
    "이 그 저 것 수 등 들 및 에서 그리고 하지만 또는 한국어 안녕하세요 세계 사람 시간 우리",
    "และ ที่ ใน การ เป็น ของ มี ได้ ให้ จะ ไม่ กับ ว่า สวัสดี ชาวโลก",
    "và của là có cho trong được một các không với người này những để đã khi đến từ như",
    "და არის რომ ეს იყო მაგრამ გამარჯობა მსოფლიო", "և է որ այս մի համար բայց բարեւ աշխարհ",
    "እና ነው ላይ ውስጥ ይህ ሰላም ዓለም",
]
EMOJI = "😀 😂 👍 👍🏽 ❤️ 🔥 🎉 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🇯🇵 1️⃣ 🚀 🤔 🙏".split()


def sentences(rng, size):
    text, length = [], 0
    while length < size:
        words = rng.choice(WORDS).split()
        glue = "" if "的" in words or "の" in words else " "
        sentence = glue.join(rng.choices(words, k=rng.randint(4, 18)))
        number = str(rng.randint(0, 10 ** rng.randint(1, 6))) if rng.random() < 0.2 else ""
        emoji = rng.choice(EMOJI) if rng.random() < 0.3 else ""
        text.append(f"{sentence} {number}{emoji}{rng.choice(['.', '!', '?', '。', ';', ''])}{rng.choice([' ', ' ', chr(10)])}")
        length += len(text[-1].encode())
    return "".join(text)


def library(size):
    texts, length = [], 0
    for path in sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        texts.append(path.read_text(encoding="utf-8", errors="replace"))
        length += len(texts[-1])
        if length >= size:
            break
    return "".join(texts)


def mails(size):
    train, test = emails.write_files(programs.WORK)
    texts = [json.loads(line)["email"] for path in (train, test) for line in path.read_text(encoding="utf-8").splitlines()]
    text = "\n\n".join(texts)
    return (text * (size // len(text) + 1))[:size]


def write_documents(path):
    rng = random.Random(11)
    documents = []
    for text in (mails(SIZE * 4 // 10), library(SIZE * 3 // 10), sentences(rng, SIZE * 3 // 10)):
        documents += [text[at:at + DOCUMENT] for at in range(0, len(text), DOCUMENT)]
    rng.shuffle(documents)
    with open(path, "w", encoding="utf-8") as lines:
        length = 0
        for document in documents:
            length += len(document.encode("utf-8", "replace"))
            if length > SIZE:
                break
            lines.write(json.dumps(document) + "\n")


def once(command, tokenizer, documents):
    path = programs.ROOT / ".cache" / "npm" / f"tokenizer-{tokenizer}" / "models" / "tokenizer.json"
    programs.require(path, "scripts/setup.sh")
    text, _ = programs.run([*command, path, documents, 1], programs.WORK / "tokenizer.log")
    return json.loads(text)


def run(repetitions: int, force: bool) -> list:
    program = [programs.BUILD / "bin" / "tokenizer_bench"]
    peer_program = [sys.executable, "-m", "bench.peers.tokenizers_encode"]
    programs.require(program[0], "make build")
    programs.WORK.mkdir(parents=True, exist_ok=True)
    documents = programs.WORK / "documents.jsonl"
    write_documents(documents)
    machine.require_idle(force)
    rows = []
    for title, name in TOKENIZERS.items():
        graft, peer = [], []
        for number in range(repetitions):
            print(f"  {title}, repetition {number + 1} of {repetitions}: graft, then the peer", file=sys.stderr)
            graft += machine.repeat(1, lambda: once(program, name, documents), force)
            peer += machine.repeat(1, lambda: once(peer_program, name, documents), force)
        if any(one[key] != peer[0][key] for one in graft for key in ("tokens", "checksum")):
            raise SystemExit(f"error: the two do not give the same ids for {title}")
        speeds = [[one["bytes"] / one["seconds"][0] / 1e6 for one in side] for side in (graft, peer)]
        rows.append(Row(f"{title}, mixed text", "MB/s", *speeds, PEER, required=2.0))
    return rows + [endless(program, title, name, what, unit, repetitions, force)
                   for title, name in TOKENIZERS.items() for what, unit in ENDLESS.items()]


def endless(program, title, name, what, unit, repetitions, force):
    seconds = []
    for size in (ENDLESS_SIZE, ENDLESS_SIZE // 2):
        documents = programs.WORK / "endless.jsonl"
        documents.write_text(json.dumps(unit * (size // len(unit.encode()))) + "\n", encoding="utf-8")
        seconds.append([one["seconds"][0] for one in machine.repeat(
            repetitions, lambda: once(program, name, documents), force)])
    # Linear is 2; the heap's logarithm and caches that no longer suffice add to it.
    return Row(f"{title}, 1 MB of {what}, beside half of it", "s", *seconds, "graft, half the input", required=3.0,
               higher_is_better=False)
