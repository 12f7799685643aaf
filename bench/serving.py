"""What the benchmarks of serving share: prompts, commands of the servers, the machine's limits."""

import functools
import itertools
import json

from bench import machine, programs
from scripts.demo import emails

LLAMA = "llama.cpp v0.5.0, llama-server"
LONG_TOKENS = 256  # prompts longer than this come from other e-mails than short ones: none is another's beginning


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


def prompts(tokens: int, count: int):
    """Endless: each comes round again only after more tokens than any cache here holds on to usefully."""
    train, test = emails.write_files(programs.WORK)
    return itertools.cycle(make_prompts(test if tokens > LONG_TOKENS else train, count, tokens))


def graft_command(port: int, dtype: str, *options) -> list:
    return [programs.GRAFT, "serve", "--model", programs.MODEL, "--port", port, "--dtype", dtype,
            "--threads", machine.threads(), *options]


def llama_command(port: int, weights: str, *options, slots: int = 32, slot_tokens: int = 576) -> list:
    threads = machine.threads()
    return [programs.PEERS / "llama.cpp" / "build" / "bin" / "llama-server", "-m",
            programs.PEERS / f"smollm2-{weights}.gguf", "--host", "127.0.0.1", "--port", port, "-t", threads,
            "-tb", threads, "-np", slots, "-c", slots * slot_tokens, "-cram", 0, *options]


@functools.cache
def machine_limit() -> dict:
    """What these cores can do at best: bytes read from memory, multiply-adds of registers."""
    text, _ = programs.run([programs.BUILD / "bin" / "machine_limit", machine.threads()], programs.WORK / "limit.log")
    return json.loads(text)
