"""`bench/run serve --only features`: graft with a feature beside graft without it: constrained output, cached prefixes,
speculation; and what a full engine is resident in beside what it must hold."""

import dataclasses
import http.client
import itertools
import json
import statistics
import sys
import time

from bench import load, programs, serving
from bench.rows import Row
from bench.serve_adapters import decode, measure, take
from scripts.demo import emails

SCHEMA = {"type": "object", "required": ["kind", "subject", "words", "urgent", "lines"], "additionalProperties": False,
          "properties": {"kind": {"enum": ["spam", "ham"]}, "subject": {"type": "string"},
                         "words": {"type": "array", "items": {"type": "string"}, "minItems": 40},
                         "urgent": {"type": "boolean"}, "lines": {"type": "integer"}}}
STREAMS, PREFIX_TOKENS, SEQUENCES, SEQUENCE_TOKENS = 16, 400, 16, 1024
COPY_TOKENS, COPIES, COPIED = 160, 4, 250  # tokens to write, texts, characters that must be right
SPECULATIVE_TOKENS = 16
KV_VALUES = 2 * 30 * 3 * 64  # of a token: keys and values of SmolLM2's layers


def post(port: int, body: dict):
    """The answer, and the seconds it took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    start = time.perf_counter()
    connection.request("POST", "/generate", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    seconds = time.perf_counter() - start
    if response.status != 200:
        raise SystemExit(f"error: /generate answered {response.status}: {text[:300]!r}")
    return json.loads(text), seconds


def greedy(prompt: str, count: int) -> dict:
    return {"inputs": prompt, "parameters": {"max_new_tokens": count, "temperature": 0, "ignore_eos_token": True}}


def constrained_row(repetitions, force) -> Row:
    """Both decode 128 tokens in 16 streams; a JSON object with a list of at least 40 strings is not over by then."""

    def body(prompt, count):
        made = load.GRAFT.body(prompt, count)
        made["parameters"]["response_format"] = {"type": "json_schema", "schema": SCHEMA}
        return made

    constrained = dataclasses.replace(load.GRAFT, body=body)
    prompts = serving.prompts(128, 512)
    results = measure("graft int8 constrained", lambda port: serving.graft_command(port, "int8"), repetitions, force,
                      lambda port: load.seconds(port, constrained, take(prompts, STREAMS), 8, STREAMS),
                      lambda port: {"free": decode(port, load.GRAFT, prompts, requests=2 * STREAMS),
                                    "schema": decode(port, constrained, prompts, requests=2 * STREAMS)})
    return Row(f"{STREAMS} streams, decode to a JSON schema: int8", "tokens/s", [one["schema"] for one in results],
               [one["free"] for one in results], "graft, free", 0.97)


def prefix_row(repetitions, force) -> Row:
    prefixes = serving.prompts(PREFIX_TOKENS, 64)
    endings = itertools.count()

    def once(port):
        uncached, cached = [], []
        for prefix in take(prefixes, 8):
            uncached.append(post(port, greedy(f"{prefix} {next(endings)}", 1))[1])
            cached.append(post(port, greedy(f"{prefix} {next(endings)}", 1))[1])
        return {"cached": statistics.median(cached) * 1e3, "uncached": statistics.median(uncached) * 1e3}

    results = measure("graft int8 prefix", lambda port: serving.graft_command(port, "int8"), repetitions, force, once,
                      once)
    return Row(f"time to first token, {PREFIX_TOKENS} tokens of prefix cached: int8", "ms",
               [one["cached"] for one in results], [one["uncached"] for one in results], "graft, uncached", 0.2,
               higher_is_better=False)


def copied_characters(answer: str, text: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(answer, text)) if a != b), min(len(answer), len(text)))


def copying_prompts() -> list:
    """E-mails that are to be written out again, by example: most of the answer stands in the prompt. So small a model
    copies only some of them: the first ones that it does copy are the task."""
    _, test = emails.write_files(programs.WORK)
    example = "A: one two three four five six seven.\nB: one two three four five six seven.\n\n"
    port, found, tried = programs.free_port(), [], 0
    with programs.server(serving.graft_command(port, "bfloat16"), port, programs.WORK / "copying.log"):
        for row in map(json.loads, test.read_text(encoding="utf-8").splitlines()):
            text = " ".join(row["email"].split())[:600]
            if len(text) < 600 or not text.isascii():
                continue
            prompt, rest = f"{example}A: {text}\nB: {text[:40]}", text[40:]
            tried += 1
            if copied_characters(post(port, greedy(prompt, 24))[0]["generated_text"], rest) < 40:
                continue
            if copied_characters(post(port, greedy(prompt, COPY_TOKENS))[0]["generated_text"], rest) >= COPIED:
                found.append(prompt)
            if len(found) == COPIES:
                print(f"  copying: the model writes out {COPIES} of {tried} e-mails", file=sys.stderr)
                return found
    raise SystemExit(f"error: the model copies only {len(found)} of {tried} texts: this measures nothing")


def speculation_rows(repetitions, force) -> list:
    prompts = copying_prompts()

    def once(port):
        tokens = seconds = 0.0
        answers = []
        for prompt in prompts:
            post(port, greedy(prompt, 1))  # the prompt is cached from now on: only decoding is timed
            first = post(port, greedy(prompt, 1))[1]
            answer, whole = post(port, greedy(prompt, COPY_TOKENS))
            answers.append(answer["generated_text"])
            tokens += COPY_TOKENS - 1
            seconds += whole - first
        return {"speed": tokens / seconds, "answers": answers}

    rows = []
    for dtype, required in (("bfloat16", 2.2), ("int8", 1.8)):
        results = {}
        for guesses in (0, SPECULATIVE_TOKENS):
            results[guesses] = measure(
                f"graft {dtype} speculation {guesses}",
                lambda port, dtype=dtype, guesses=guesses: serving.graft_command(port, dtype, "--speculative-tokens",
                                                                                 guesses),
                repetitions, force, once, once)
        answers = results[0][0]["answers"]
        if any(one["answers"] != answers for many in results.values() for one in many):
            raise SystemExit("error: speculation changed the output")
        rows.append(Row(f"1 stream, writing out {COPIES} e-mails again, n-gram speculation: {dtype}", "tokens/s",
                        [one["speed"] for one in results[SPECULATIVE_TOKENS]], [one["speed"] for one in results[0]],
                        "graft, no speculation", required))
    return rows


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


def memory_row() -> Row:
    """Beyond the engine that has just started (its weights are mapped, not read), with a full KV cache."""
    port = programs.free_port()
    tokens = SEQUENCES * SEQUENCE_TOKENS
    command = serving.graft_command(port, "int8", "--max-batch-total-tokens", tokens + 16)
    prompts = serving.prompts(SEQUENCE_TOKENS // 2, 64)
    with programs.server(command, port, programs.WORK / "memory.log") as process:
        empty = resident(process.pid)
        load.seconds(port, load.GRAFT, take(prompts, SEQUENCES), SEQUENCE_TOKENS // 2, SEQUENCES)
        used = resident(process.pid) - empty
    needed = prepared_weights("int8") + tokens * KV_VALUES * 2
    return Row(f"resident memory, {SEQUENCES} sequences of {SEQUENCE_TOKENS}, less an empty engine's: int8", "MiB",
               [used / 2**20], [needed / 2**20], "weights + KV", 1.15, higher_is_better=False)


def prepared_weights(dtype: str) -> int:
    files = [file for file in (programs.WORK / "home" / "models").rglob("weights.safetensors") if dtype in str(file)]
    return max(file.stat().st_size for file in files)


def run(repetitions: int, force: bool):
    yield constrained_row(repetitions, force)
    yield prefix_row(repetitions, force)
    yield memory_row()
    yield from speculation_rows(repetitions, force)
