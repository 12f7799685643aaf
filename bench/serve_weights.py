"""`bench/run serve --only weights`: graft's weight formats beside llama.cpp's, in turn.

Every prompt is different, so that no prefix cache helps; generation is greedy and runs past any end of sequence.
Prefill is measured by requests of one new token; decoding is what longer requests take beyond that.
"""

import functools
import itertools
import statistics

from bench import load, serving, turns
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


def measures(dialect: load.Dialect, long_prompts, prompts) -> dict:
    """Functions of a server's port that give tokens a second."""

    def timed(port, requests, new_tokens, streams, source=prompts):
        return load.seconds(port, dialect, list(itertools.islice(source, requests)), new_tokens, streams)

    def decode_speed(port, streams, requests):
        prefill = timed(port, requests, 1, streams)
        whole = timed(port, requests, DECODE_TOKENS, streams)
        return requests * (DECODE_TOKENS - 1) / (whole - prefill)

    return {
        PREFILL: lambda port: FEW * PREFILL_TOKENS / timed(port, FEW, 1, 1, long_prompts),
        DECODE: lambda port: decode_speed(port, 1, FEW),
        DECODE_16: lambda port: decode_speed(port, 16, 16),
        DECODE_32: lambda port: decode_speed(port, 32, 32),
        ANSWERS: lambda port: 2 * CLIENTS * ANSWER_TOKENS / timed(port, 2 * CLIENTS, ANSWER_TOKENS, CLIENTS),
    }


def server(name: str, command, dialect, prompts) -> turns.Server:
    def warm(port):
        load.seconds(port, dialect, list(itertools.islice(prompts[1], CLIENTS)), ANSWER_TOKENS, CLIENTS)

    return turns.Server(name, command, warm, measures(dialect, *prompts))


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
    graft = [server(f"graft {kind}", functools.partial(serving.graft_command, dtype=kind), load.GRAFT, prompts)
             for kind in (BFLOAT16, INT8, INT4)]
    peers = [server(f"llama.cpp {kind}", functools.partial(serving.llama_command, weights=kind), load.LLAMA_CPP, prompts)
             for kind in (BF16, Q8_0, Q4_0, Q4_K_M)]
    results = turns.measure(graft + peers, repetitions, force)
    rows = []
    for name, dtype, kinds, required in BARS:
        best = turns.fastest(results, [f"llama.cpp {kind}" for kind in kinds], name)
        ours = [one[name] for one in results[f"graft {dtype}"]]
        rows.append(Row(f"{name}: {dtype}", "tokens/s", ours, [one[name] for one in results[best]],
                        f"{serving.LLAMA} ({best.split()[-1]})", required,
                        share=share_of_limit(name, dtype, statistics.median(ours), limit)))
    return rows
