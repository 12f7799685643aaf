"""`bench/run train`: LoRA fine-tuning beside plain torch + PEFT, on the demo's e-mails.

Both train SmolLM2-135M-Instruct with r = 16 on all linear layers, bfloat16, about 2048 tokens a step, loss on the
completions only. Tokens are counted without padding; the first steps are left out. Memory is the most that the whole
process was resident in, start to end.
"""

import json
import pathlib
import shutil
import sys

import yaml

from bench import machine, programs
from bench.rows import Row
from scripts.demo import emails, events

PEER = "torch + PEFT, bfloat16 autocast, length-bucketed, not compiled"
CONFIG = programs.ROOT / "examples" / "spam.yaml"
WARM_UP_STEPS = 4
STEPS = 24


def graft_once(data: pathlib.Path):
    job = programs.WORK / "job"
    shutil.rmtree(job, ignore_errors=True)
    _, memory = programs.run([programs.GRAFT, "train", CONFIG, "--dataset", data, "--output", job,
                              "--threads", machine.threads(), "--set", f"trainer.train_steps={STEPS}"], programs.WORK / "graft-train.log")
    return events.tokens_per_second(job, WARM_UP_STEPS), memory


def peer_once(data: pathlib.Path):
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    text, memory = programs.run(
        [sys.executable, programs.ROOT / "bench" / "peers" / "torch_lora.py",
         "--model", programs.PEERS / "smollm2-bfloat16", "--data", data,
         "--template", config["prompt"]["template"], "--rank", config["adapter"]["r"],
         "--learning-rate", config["trainer"]["learning_rate"],
         "--tokens-per-step", config["trainer"]["max_batch_tokens"],
         "--steps", STEPS, "--threads", machine.threads()], programs.WORK / "peer-train.log")
    steps = json.loads(text)["steps"][WARM_UP_STEPS:]
    return sum(step["tokens"] for step in steps) / sum(step["seconds"] for step in steps), memory


def run(repetitions: int, force: bool) -> list:
    programs.require(programs.PEERS / "smollm2-bfloat16", "bench/setup train")
    programs.import_model()
    data, _ = emails.write_files(programs.WORK)
    machine.require_idle(force)
    # In turn, so that both meet the same machine should its speed drift.
    graft, peer = [], []
    for number in range(repetitions):
        print(f"  repetition {number + 1} of {repetitions}: graft, then the peer", file=sys.stderr)
        graft += machine.repeat(1, lambda: graft_once(data), force)
        peer += machine.repeat(1, lambda: peer_once(data), force)

    def row(measure, unit, field, scale, **bar):
        return Row(measure, unit, [one[field] / scale for one in graft], [one[field] / scale for one in peer], PEER,
                   **bar)

    return [row("training speed", "tokens/s", 0, 1, required=1.2),
            row("peak memory", "GiB", 1, 2**30, required=0.6, higher_is_better=False)]
