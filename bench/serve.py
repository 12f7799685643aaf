"""`bench/run serve`: one stream and 16 streams in bfloat16, beside llama.cpp's server.

Prompts of 128 tokens, every one different so that no prefix cache helps, and 64 new tokens, greedy, past any end of
sequence. Prefill is measured by requests of one new token; decoding is what a request of 64 takes beyond that.
"""

import itertools
import json
import sys

from bench import load, machine, programs
from bench.rows import Row
from scripts.demo import emails

PEER = "llama.cpp v0.5.0 (llama-server, bf16)"
PROMPT_TOKENS = 128
NEW_TOKENS = 64
MANY = 16
ONE_STREAM_REQUESTS = 8


def make_prompts(count: int) -> list:
    """Texts of exactly PROMPT_TOKENS tokens, from the e-mails."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(programs.PEERS / "smollm2-bfloat16")
    train, _ = emails.write_files(programs.WORK)
    prompts = []
    for row in map(json.loads, train.read_text(encoding="utf-8").splitlines()):
        text = tokenizer.decode(tokenizer(row["email"])["input_ids"][:PROMPT_TOKENS])
        # A cut inside a character, or a text too short, gives another number of tokens.
        if len(tokenizer(text)["input_ids"]) == PROMPT_TOKENS:
            prompts.append(text)
        if len(prompts) == count:
            return prompts
    raise SystemExit(f"error: only {len(prompts)} of {count} prompts in the e-mails")


def measure(port: int, dialect: load.Dialect, prompts) -> dict:
    def timed(requests, new_tokens, streams):
        return load.seconds(port, dialect, list(itertools.islice(prompts, requests)), new_tokens, streams)

    one_prefill = timed(ONE_STREAM_REQUESTS, 1, 1)
    one_whole = timed(ONE_STREAM_REQUESTS, NEW_TOKENS, 1)
    many_prefill = timed(MANY, 1, MANY)
    many_whole = timed(2 * MANY, NEW_TOKENS, MANY)
    return {
        "1 stream, prefill": ONE_STREAM_REQUESTS * PROMPT_TOKENS / one_prefill,
        "1 stream, decode": ONE_STREAM_REQUESTS * (NEW_TOKENS - 1) / (one_whole - one_prefill),
        f"{MANY} streams, prefill": MANY * PROMPT_TOKENS / many_prefill,
        f"{MANY} streams, generated, prefill included": 2 * MANY * NEW_TOKENS / many_whole,
    }


def graft_command(port: int) -> list:
    return [programs.GRAFT, "serve", "--model", programs.MODEL, "--port", port, "--dtype", "bfloat16",
            "--threads", machine.threads()]


def llama_command(port: int) -> list:
    threads = machine.threads()
    context = MANY * (PROMPT_TOKENS + NEW_TOKENS + 64)
    return [programs.PEERS / "llama.cpp" / "build" / "bin" / "llama-server", "-m", programs.PEERS / "smollm2-bf16.gguf",
            "--host", "127.0.0.1", "--port", port, "-t", threads, "-tb", threads, "-np", MANY, "-c", context,
            "-cram", 0]


def measure_server(name: str, command, dialect, prompts, repetitions: int, force: bool) -> list:
    port = programs.free_port()
    with programs.server(command(port), port, programs.WORK / f"{name}-serve.log") as process:
        stream = itertools.cycle(prompts)
        print(f"  {name}: warm-up", file=sys.stderr)
        measure(port, dialect, stream)
        print(f"  {name}: {repetitions} repetitions", file=sys.stderr)
        return machine.repeat(repetitions, lambda: measure(port, dialect, stream), force, [process.pid])


def run(repetitions: int, force: bool) -> list:
    programs.require(programs.PEERS / "llama.cpp" / ".graft-setup", "bench/setup serve")
    programs.import_model()
    # Enough that a prompt comes round again only after more tokens than any cache here holds on to usefully.
    prompts = make_prompts(256)
    machine.require_idle(force)
    graft = measure_server("graft", graft_command, load.GRAFT, prompts, repetitions, force)
    peer = measure_server("llama.cpp", llama_command, load.LLAMA_CPP, prompts, repetitions, force)
    return [Row(measure, "tokens/s", [one[measure] for one in graft], [one[measure] for one in peer], PEER)
            for measure in graft[0]]
