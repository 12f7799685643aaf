"""`bench/run serve --only weights`: graft's weight formats beside llama.cpp's, one server after another.

Every prompt is different, so that no prefix cache helps; generation is greedy and runs past any end of sequence.
Prefill is measured by requests of one new token; decoding is what longer requests take beyond that.
"""

import functools
import itertools
import statistics
import sys

from bench import load, machine, programs, serving
from bench.rows import Row

PREFILL_TOKENS = 512
PROMPT_TOKENS = 128
FEW = 4  # requests of one stream
PARAMETERS = 134515008
BYTES_PER_WEIGHT = {"bfloat16": 2, "int8": 8.5 / 8, "int4": (5 * 106168320 + 8.5 * 28346688) / 8 / 134515008}
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


def measure_server(name: str, command, dialect, prompts, repetitions: int, force: bool) -> list:
    port = programs.free_port()
    with programs.server(command(port), port, programs.WORK / f"{name}-serve.log") as process:
        once = lambda: measure(port, dialect, *prompts)  # noqa: E731
        print(f"  {name}: warm-up, then {repetitions} repetitions", file=sys.stderr)
        load.seconds(port, dialect, list(itertools.islice(prompts[1], CLIENTS)), ANSWER_TOKENS, CLIENTS)
        return machine.repeat(repetitions, once, force, [process.pid])


def median_of(results: list, name: str) -> float:
    return statistics.median(one[name] for one in results)


def share_of_limit(name: str, dtype: str, speed: float, limit: dict) -> float | None:
    """Decoding alone reads all weights for each token; many streams multiply with all of them for each token."""
    if name == DECODE:
        return speed * PARAMETERS * BYTES_PER_WEIGHT[dtype] / limit["read_bytes_per_s"]
    if name == DECODE_32:
        peak = limit["bf16_flops"] if dtype == BFLOAT16 else limit["int8_ops"]
        return speed * 2 * PARAMETERS / peak
    return None


def run(repetitions: int, force: bool) -> list:
    prompts = [serving.prompts(PREFILL_TOKENS, 64), serving.prompts(PROMPT_TOKENS, 512)]
    limit = serving.machine_limit()

    def measure_all(name, command, dialect, kinds):
        return {kind: measure_server(f"{name} {kind}", functools.partial(command, kind), dialect, prompts, repetitions,
                                     force) for kind in kinds}

    graft = measure_all("graft", lambda kind, port: serving.graft_command(port, kind), load.GRAFT,
                        [BFLOAT16, INT8, INT4])
    peers = measure_all("llama.cpp", lambda kind, port: serving.llama_command(port, kind), load.LLAMA_CPP,
                        [BF16, Q8_0, Q4_0, Q4_K_M])
    rows = []
    for name, dtype, kinds, required in BARS:
        best = max(kinds, key=lambda kind: median_of(peers[kind], name))
        rows.append(Row(f"{name}: {dtype}", "tokens/s", [one[name] for one in graft[dtype]],
                        [one[name] for one in peers[best]], f"{serving.LLAMA} ({best})", required,
                        share=share_of_limit(name, dtype, median_of(graft[dtype], name), limit)))
    return rows
