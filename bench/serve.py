"""`bench/run serve`: graft's weight formats beside llama.cpp's, one server after another.

Every prompt is different, so that no prefix cache helps; generation is greedy and runs past any end of sequence.
Prefill is measured by requests of one new token; decoding is what longer requests take beyond that.
"""

import functools
import itertools
import json
import statistics
import sys

from bench import load, machine, programs
from bench.rows import Row
from scripts.demo import emails

PREFILL_TOKENS = 512
PROMPT_TOKENS = 128
FEW = 4  # requests of one stream
DECODE_TOKENS = 128
ANSWER_TOKENS = 64
CLIENTS = 16

PREFILL = f"1 stream, prefill {PREFILL_TOKENS}"
DECODE = "1 stream, decode"
DECODE_16, DECODE_32 = "16 streams, decode", "32 streams, decode"
ANSWERS = f"{CLIENTS} clients, {PROMPT_TOKENS} + {ANSWER_TOKENS}"

BFLOAT16, INT8, INT4 = "bfloat16", "int8", "int4"
BF16, Q8_0, Q4_0, Q4_K_M = "bf16", "q8_0", "q4_0", "q4_k_m"
# (measure, graft's weights, llama.cpp's weights: the fastest of them is the peer, required ratio)
BARS = [
    (DECODE, BFLOAT16, [BF16], 1.1),
    (DECODE, INT8, [Q8_0], 1.3),
    (DECODE, INT4, [Q4_0], 1.1),
    (DECODE, INT4, [Q4_K_M], 1.5),
    (DECODE_16, BFLOAT16, [BF16], None),
    (DECODE_16, INT8, [Q8_0], 2.5),
    (DECODE_16, INT8, [Q8_0, BF16], 2.0),
    (DECODE_16, INT4, [Q4_0], 1.5),
    (DECODE_32, BFLOAT16, [BF16], None),
    (DECODE_32, INT8, [Q8_0], 2.5),
    (DECODE_32, INT8, [Q8_0, BF16], 2.0),
    (DECODE_32, INT4, [Q4_0], 1.5),
    (PREFILL, BFLOAT16, [BF16, Q8_0, Q4_0], 1.8),
    (PREFILL, INT8, [BF16, Q8_0, Q4_0], 1.8),
    (ANSWERS, BFLOAT16, [BF16], None),
    (ANSWERS, INT8, [BF16, Q8_0], 2.2),
]


def make_prompts(rows, count: int, tokens: int) -> list:
    """Texts of exactly so many tokens, from a file of e-mails, no two with the same beginning."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(programs.PEERS / "smollm2-bfloat16")
    ids = []
    for row in map(json.loads, rows.read_text(encoding="utf-8").splitlines()):
        ids += tokenizer(row["email"] + "\n")["input_ids"]
    prompts = []
    for begin in range(0, len(ids) - tokens, tokens):
        text = tokenizer.decode(ids[begin:begin + tokens])
        # A cut inside a character or a word gives another number of tokens.
        if len(tokenizer(text)["input_ids"]) == tokens:
            prompts.append(text)
        if len(prompts) == count:
            return prompts
    raise SystemExit(f"error: only {len(prompts)} of {count} prompts in the e-mails")


def measure(port: int, dialect: load.Dialect, long_prompts, prompts) -> dict:
    """Tokens a second."""

    def timed(requests, new_tokens, streams, source=prompts):
        return load.seconds(port, dialect, list(itertools.islice(source, requests)), new_tokens, streams)

    def decode_speed(streams, requests):
        prefill = timed(requests, 1, streams)
        whole = timed(requests, DECODE_TOKENS, streams)
        return requests * (DECODE_TOKENS - 1) / (whole - prefill)

    return {
        PREFILL: FEW * PREFILL_TOKENS / timed(FEW, 1, 1, long_prompts),
        DECODE: decode_speed(1, FEW),
        DECODE_16: decode_speed(16, 16),
        DECODE_32: decode_speed(32, 32),
        ANSWERS: 2 * CLIENTS * ANSWER_TOKENS / timed(2 * CLIENTS, ANSWER_TOKENS, CLIENTS),
    }


def graft_command(port: int, dtype: str) -> list:
    return [programs.GRAFT, "serve", "--model", programs.MODEL, "--port", port, "--dtype", dtype,
            "--threads", machine.threads()]


def llama_command(port: int, weights: str) -> list:
    threads = machine.threads()
    slots = 32
    context = slots * (max(PREFILL_TOKENS, PROMPT_TOKENS + DECODE_TOKENS) + 64)
    return [programs.PEERS / "llama.cpp" / "build" / "bin" / "llama-server", "-m",
            programs.PEERS / f"smollm2-{weights}.gguf", "--host", "127.0.0.1", "--port", port, "-t", threads,
            "-tb", threads, "-np", slots, "-c", context, "-cram", 0]


def measure_server(name: str, command, dialect, prompts, repetitions: int, force: bool) -> list:
    port = programs.free_port()
    with programs.server(command(port), port, programs.WORK / f"{name}-serve.log") as process:
        once = lambda: measure(port, dialect, *prompts)  # noqa: E731
        print(f"  {name}: warm-up, then {repetitions} repetitions", file=sys.stderr)
        load.seconds(port, dialect, list(itertools.islice(prompts[1], CLIENTS)), ANSWER_TOKENS, CLIENTS)
        return machine.repeat(repetitions, once, force, [process.pid])


def median_of(results: list, name: str) -> float:
    return statistics.median(one[name] for one in results)


def run(repetitions: int, force: bool) -> list:
    programs.require(programs.PEERS / "llama.cpp" / ".graft-setup", "bench/setup serve")
    programs.import_model()
    # Enough that a prompt comes round again only after more tokens than any cache here holds on to usefully.
    # Long ones come from other e-mails than short ones: none is the beginning of another.
    train, test = emails.write_files(programs.WORK)
    prompts = [itertools.cycle(make_prompts(test, 64, PREFILL_TOKENS)),
               itertools.cycle(make_prompts(train, 512, PROMPT_TOKENS))]
    machine.require_idle(force)

    def measure_all(name, command, dialect, kinds):
        return {kind: measure_server(f"{name} {kind}", functools.partial(command, kind), dialect, prompts, repetitions,
                                     force) for kind in kinds}

    graft = measure_all("graft", lambda kind, port: graft_command(port, kind), load.GRAFT, [BFLOAT16, INT8, INT4])
    peers = measure_all("llama.cpp", lambda kind, port: llama_command(port, kind), load.LLAMA_CPP,
                        [BF16, Q8_0, Q4_0, Q4_K_M])
    rows = []
    for name, dtype, kinds, required in BARS:
        best = max(kinds, key=lambda kind: median_of(peers[kind], name))
        rows.append(Row(f"{name}: {dtype}", "tokens/s", [one[name] for one in graft[dtype]],
                        [one[name] for one in peers[best]], f"llama.cpp v0.5.0 (llama-server, {best})", required))
    return rows
