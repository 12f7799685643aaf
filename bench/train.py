"""`bench/run train`: fine-tuning beside plain torch and PEFT, on the demo's e-mails.

All train SmolLM2-135M-Instruct, about 2048 tokens a step, loss on the completions only; LoRA has r = 16 on all linear
layers. Tokens are counted without padding; the first steps are left out. Memory is the most that the whole process was
resident in, start to end. Peers are plain loops (bench/peers/torch_lora.py) with tcmalloc preloaded; which of them is
the fastest and which the leanest is found out in the same run.
"""

import functools
import json
import sys

from bench import groups, machine, programs, serving, train_runs
from bench.rows import Row
from bench.train_runs import Peer, graft

LORA_PEERS = [Peer("lora", weights, compiled) for weights in ("bfloat16", "float32") for compiled in (False, True)]
EAGER = LORA_PEERS[0]
FULL_EAGER, FULL_COMPILED = Peer("full", "bfloat16", False), Peer("full", "bfloat16", True)
FULL_SETTINGS = ("adapter={type: full}", "trainer.gradient_clipping.clipglobalnorm=null",
                 "trainer.max_micro_batch_tokens=2048", "trainer.learning_rate=2e-5")
VARIANTS, VARIANT_STEPS = 4, 10
LONG_TOKENS, LONG_LIMIT = 8192, 4 * 2**30
GIB = 2**30


def in_turn(sides: dict, repetitions: int, force: bool) -> dict:
    """name -> its runs. In turn, so that all meet the same machine should its speed drift."""
    runs = {name: [] for name in sides}
    for number in range(repetitions):
        for name, once in sides.items():
            print(f"  repetition {number + 1} of {repetitions}: {name}", file=sys.stderr)
            runs[name] += machine.repeat(1, once, force)
    return runs


def speed_row(measure, mine, peers, name, required) -> Row:
    return Row(measure, "tokens/s", [run.speed for run in mine], [run.speed for run in peers], name, required)


def memory_row(measure, mine, peers, name, required) -> Row:
    return Row(measure, "GiB", [run.peak / GIB for run in mine], [run.peak / GIB for run in peers], name, required,
               higher_is_better=False)


@functools.cache
def probes(force: bool) -> dict:
    """Each way to run the LoRA peer, once."""
    found = {}
    for peer in LORA_PEERS:
        print(f"  probing: {peer.name}", file=sys.stderr)
        try:
            found[peer] = machine.repeat(1, peer.run, force)[0]
        except SystemExit as error:  # torch.compile needs a compiler, which may not be there
            print(f"  {peer.name}: {error}", file=sys.stderr)
            continue
        print(f"    {found[peer].speed:.0f} tokens/s, {found[peer].peak / GIB:.2f} GiB", file=sys.stderr)
    if EAGER not in found:
        raise SystemExit("error: the peer does not run")
    return found


def lora(repetitions: int, force: bool):
    known = probes(force)
    fastest = max(known, key=lambda peer: known[peer].speed)
    leanest = min(known, key=lambda peer: known[peer].peak)
    sides = {"graft": lambda: graft("lora")} | {peer.name: peer.run for peer in dict.fromkeys((fastest, EAGER))}
    runs = in_turn(sides, repetitions, force)
    mine = runs["graft"]
    yield speed_row("LoRA", mine, runs[fastest.name], f"fastest: {fastest.name}", 1.5)
    yield speed_row("LoRA", mine, runs[EAGER.name], EAGER.name, 1.8)
    yield memory_row("LoRA, peak memory", mine, [known[leanest]] + runs.get(leanest.name, []),
                     f"leanest: {leanest.name}", 0.5)
    yield share_row(mine)


def share_row(mine) -> Row:
    limit = serving.machine_limit()["bf16_flops"]
    if limit == 0:
        raise SystemExit("error: this machine multiplies no bfloat16: there is no peak to compare with")
    achieved = [run.speed * train_runs.useful_flops_per_token() / 1e9 for run in mine]
    row = Row("LoRA, useful operations", "GFLOP/s", achieved, [limit / 1e9], "bfloat16 multiply-adds on registers", 0.6)
    row.share = row.ratio
    return row


def qlora(repetitions: int, force: bool):
    runs = in_turn({"graft int4": lambda: graft("int4", "trainer.dtype=int4"), "graft bfloat16": lambda: graft("lora")},
                   repetitions, force)
    sides = (runs["graft int4"], runs["graft bfloat16"], "graft, bfloat16")
    yield speed_row("QLoRA on a 4-bit base", *sides, 0.85)
    yield memory_row("QLoRA on a 4-bit base, peak memory", *sides, 0.75)


def full(repetitions: int, force: bool):
    runs = in_turn({"graft": lambda: graft("full", *FULL_SETTINGS), FULL_COMPILED.name: FULL_COMPILED.run},
                   repetitions, force)
    sides = (runs["graft"], runs[FULL_COMPILED.name], FULL_COMPILED.name)
    yield speed_row("all weights, Turbo", *sides, 1.2)
    yield memory_row("all weights, Turbo, peak memory", *sides, 0.45)
    eager = machine.repeat(1, FULL_EAGER.run, force)
    yield speed_row("all weights, Turbo", runs["graft"], eager, FULL_EAGER.name, None)


def side_by_side() -> train_runs.Run:
    """The tokens of all variants, in the time that the slowest took."""
    job = train_runs.new_job("train-sweep")
    rates = ",".join(f"{n + 1}e-4" for n in range(VARIANTS))
    command = [*train_runs.train_command("sweep", job, (), steps=VARIANT_STEPS), "--grid",
               f"trainer.learning_rate={rates}", "--side-by-side", VARIANTS]
    _, peak = programs.run(command, programs.WORK / "train-sweep.log")
    variants = [train_runs.steps_of(events.parent) for events in job.glob("*/events.jsonl")
                if not events.parent.is_symlink()]
    if len(variants) != VARIANTS:
        raise SystemExit(f"error: {len(variants)} of {VARIANTS} variants in {job}")
    return train_runs.Run(sum(step["tokens"] for steps in variants for step in steps),
                          max(sum(step["seconds"] for step in steps) for steps in variants), peak)


def one_after_another() -> train_runs.Run:
    runs = [graft("variant", f"trainer.learning_rate={n + 1}e-4", steps=VARIANT_STEPS) for n in range(VARIANTS)]
    return train_runs.Run(sum(run.tokens for run in runs), sum(run.seconds for run in runs),
                          max(run.peak for run in runs))


def several(repetitions: int, force: bool):
    runs = in_turn({"side by side": side_by_side, "one after another": one_after_another}, repetitions, force)
    sides = (runs["side by side"], runs["one after another"], "graft, one after another")
    yield speed_row(f"{VARIANTS} LoRA variants side by side", *sides, 1.3)
    yield memory_row(f"{VARIANTS} LoRA variants side by side, peak memory", *sides, None)


def long(repetitions: int, force: bool):
    """E-mails without end as one document, cut into pieces of 8192 tokens."""
    texts = [json.loads(line)["email"] for line in train_runs.data().read_text(encoding="utf-8").splitlines()]
    document, config = programs.WORK / "long.jsonl", programs.WORK / "long.yaml"
    document.write_text(json.dumps({"text": "\n".join(texts)[:6 * LONG_TOKENS]}) + "\n", encoding="utf-8")
    config.write_text(f"model_type: llm\nbase_model: {programs.MODEL}\n"
                      "adapter: {type: lora, r: 16, dropout: 0.0, target_modules: all-linear}\n"
                      "preprocessing: {split: {type: random, probabilities: [1.0, 0.0, 0.0]}}\n"
                      f"trainer: {{epochs: 1, max_batch_tokens: {LONG_TOKENS}, "
                      f"max_micro_batch_tokens: {LONG_TOKENS}, steps_per_checkpoint: 1000}}\n", encoding="utf-8")
    run = graft("long", warm_up=0, steps=1, dataset=document, file=config)
    if run.tokens != LONG_TOKENS:
        raise SystemExit(f"error: the step had {run.tokens} tokens, not {LONG_TOKENS}")
    yield Row(f"one sequence of {LONG_TOKENS} tokens, peak memory", "GiB", [run.peak / GIB], [LONG_LIMIT / GIB],
              "what is allowed", 1.0, higher_is_better=False)


GROUPS = {"lora": lora, "qlora": qlora, "full": full, "several": several, "long": long}


def run(repetitions: int, force: bool, only=()) -> list:
    programs.require(train_runs.MODEL, "bench/setup train")
    programs.require(train_runs.TCMALLOC, "bench/setup train")
    programs.import_model()
    machine.require_idle(force)
    return groups.run(GROUPS, repetitions, force, only)
