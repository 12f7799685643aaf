"""What the rows of `bench/run train` are made of: a run of graft, a run of a peer, and the arithmetic of a step."""

import dataclasses
import functools
import json
import pathlib
import shutil
import sys

import yaml

from bench import machine, programs
from bench.peers import torch_lora
from scripts.demo import emails

CONFIG = programs.ROOT / "examples" / "spam.yaml"
MODEL = programs.PEERS / "smollm2-bfloat16"
TCMALLOC = programs.PEERS / "tcmalloc" / "libtcmalloc_minimal.so.4"
WARM_UP_STEPS = 4
STEPS = 16
PEER_SECONDS = 45.0  # a peer stops early after so long, but for its warm-up and three steps


@dataclasses.dataclass
class Run:
    tokens: int
    seconds: float
    peak: int  # bytes, of the whole process from its start to its end

    @property
    def speed(self) -> float:
        return self.tokens / self.seconds


@functools.cache
def data() -> pathlib.Path:
    train, _ = emails.write_files(programs.WORK)
    return train


@functools.cache
def config() -> dict:
    return yaml.safe_load(CONFIG.read_text(encoding="utf-8"))


def steps_of(job: pathlib.Path, warm_up: int = WARM_UP_STEPS) -> list:
    """Only a step's own tokens and seconds count, not what lies between steps (evaluations, checkpoints)."""
    with open(job / "events.jsonl", encoding="utf-8") as lines:
        steps = [event for event in map(json.loads, lines) if event["event"] == "step"][warm_up:]
    if not steps:
        raise SystemExit(f"error: {job} has no more than {warm_up} training steps to measure")
    return steps


def new_job(name: str) -> pathlib.Path:
    job = programs.WORK / name
    shutil.rmtree(job, ignore_errors=True)
    return job


def train_command(verb: str, job: pathlib.Path, settings, steps: int = STEPS, dataset=None, file=CONFIG) -> list:
    command = [programs.GRAFT, verb, file, "--dataset", dataset or data(), "--output", job, "--threads",
               machine.threads()]
    for setting in (f"trainer.train_steps={steps}", *settings):
        command += ["--set", setting]
    return command


def graft(name: str, *settings, warm_up: int = WARM_UP_STEPS, **options) -> Run:
    job = new_job(f"train-{name}")
    _, peak = programs.run(train_command("train", job, settings, **options), programs.WORK / f"train-{name}.log")
    steps = steps_of(job, warm_up)
    return Run(sum(step["tokens"] for step in steps), sum(step["seconds"] for step in steps), peak)


@dataclasses.dataclass(frozen=True)
class Peer:
    """A plain torch loop; see bench/peers/torch_lora.py."""

    method: str  # lora | full
    weights: str  # bfloat16 | float32
    compiled: bool

    @property
    def name(self) -> str:
        way = "compiled per layer" if self.compiled else "eager"
        what = "torch + PEFT" if self.method == "lora" else "torch, all weights"
        return f"{what}, {self.weights} weights, bfloat16 autocast, {way}, tcmalloc"

    def run(self) -> Run:
        adapter = config()["adapter"]
        command = [sys.executable, programs.ROOT / "bench" / "peers" / "torch_lora.py", "--model", MODEL, "--data",
                   data(), "--template", config()["prompt"]["template"], "--rank", adapter["r"], "--learning-rate",
                   config()["trainer"]["learning_rate"], "--tokens-per-step", config()["trainer"]["max_batch_tokens"],
                   "--steps", WARM_UP_STEPS + STEPS, "--threads", machine.threads(), "--method", self.method,
                   "--weights", self.weights, "--least-steps", WARM_UP_STEPS + 3, "--most-seconds", PEER_SECONDS]
        if self.compiled:
            command.append("--compile")
        log = programs.WORK / f"peer-{self.method}-{self.weights}-{'compiled' if self.compiled else 'eager'}.log"
        text, peak = programs.run(command, log, {"LD_PRELOAD": str(TCMALLOC)})
        # A step that compiled something says nothing of the speed.
        steps = [step for step in json.loads(text)["steps"][WARM_UP_STEPS:] if not step["compiled"]]
        if len(steps) < 3:
            raise SystemExit(f"error: {self.name}: only {len(steps)} steps to measure; see {log}")
        return Run(sum(step["tokens"] for step in steps), sum(step["seconds"] for step in steps), peak)


@functools.cache
def useful_flops_per_token() -> float:
    """Multiplications and additions that a token of LoRA training needs, over the whole data file: each frozen weight
    once forward and once for the gradient of its input, each weight of the adapter a third time for its own gradient,
    attention over the tokens before it (twice as much backward), the output layer for labelled tokens alone."""
    import transformers

    spec = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    examples = torch_lora.encode(torch_lora.read_rows(data()), tokenizer, config()["prompt"]["template"], "label")
    return flops_per_token(spec, [(len(tokens), len(tokens) - prompt) for tokens, prompt in examples],
                           config()["adapter"]["r"])


def flops_per_token(spec: dict, lengths: list, rank: int) -> float:
    """`lengths`: of each sequence, and how many of its tokens carry loss."""
    hidden, inner, layers = spec["hidden_size"], spec["intermediate_size"], spec["num_hidden_layers"]
    head = spec.get("head_dim") or hidden // spec["num_attention_heads"]
    queries, keys = spec["num_attention_heads"] * head, spec["num_key_value_heads"] * head
    shapes = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden), (hidden, inner), (hidden, inner),
              (inner, hidden)]
    frozen = layers * sum(m * n for m, n in shapes)
    adapter = layers * rank * sum(m + n for m, n in shapes)
    tokens = sum(length for length, _ in lengths)
    labelled = sum(count for _, count in lengths)
    pairs = sum(length * (length + 1) / 2 for length, _ in lengths)  # of a query and a key
    return (2 * 2 * frozen + 3 * 2 * adapter + 2 * 2 * spec["vocab_size"] * hidden * labelled / tokens
            + 3 * 2 * 2 * layers * queries * pairs / tokens)
