"""`graft train` with adapter.type full, on a tiny model: transformers is the oracle for the model that comes out, and a
run that was killed is compared byte by byte with one that was left alone."""

import json
import random
import subprocess
import time

import pytest
import transformers

from tests.support import byte_llama
from tests.test_train import arguments, events, job, model, wait_for_step  # noqa: F401: fixtures too


def full(job, output, *more, dtype="float32"):  # noqa: F811
    return arguments(job, output, "--set", "adapter={type: full}", "--set", "trainer.max_micro_batch_tokens=256",
                     "--set", "trainer.learning_rate=0.003", "--dtype", dtype, *more)


def weights(job, output: str) -> bytes:  # noqa: F811
    return (job / output / "model" / "model.safetensors").read_bytes()


def check_result(job, model, result, dtype: str, tolerance: float):  # noqa: F811
    assert result["state"] == "finished" and result["certificate_holds"]
    assert result["model"] == str(job / "out" / "model")
    base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    tuned = transformers.AutoModelForCausalLM.from_pretrained(job / "out" / "model", dtype="float32")
    certificate = json.loads((job / "out" / "model" / "certificate.json").read_text())
    assert certificate["examples"] and certificate["dtype"] == dtype
    for example in certificate["examples"]:
        expected = byte_llama.logprobs(tuned, example["tokens"]).tolist()
        assert example["training_logprobs"] == pytest.approx(expected, abs=tolerance)
        assert example["runtime_logprobs"] == pytest.approx(expected, abs=tolerance)
        untrained = byte_llama.logprobs(base, example["tokens"])
        assert sum(expected) > sum(untrained.tolist()) + 1.0, "the model has learned nothing"


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-3), ("bfloat16", 0.3)])
def test_result_is_a_model_that_transformers_and_graft_load(graft, job, model, dtype, tolerance):  # noqa: F811
    result = graft.json(*full(job, "out", dtype=dtype))
    check_result(job, model, result, dtype, tolerance)
    folder = job / "out" / "model"
    assert not (job / "out" / "adapter").exists()
    for name in ("config.json", "generation_config.json", "tokenizer.json", "README.md", "report.html", "config.yaml"):
        assert (folder / name).is_file(), name
    assert transformers.AutoTokenizer.from_pretrained(folder).chat_template == byte_llama.CHAT_TEMPLATE
    scored = graft.json("eval", job / "run.yaml", "--model", folder, "--dtype", dtype, "--data", job / "rows.jsonl")
    assert scored["accuracy"] > 0.9
    assert graft.run("prompt", "--model", folder, "--dtype", dtype, "--max-new-tokens", 6, "a leek is").stdout


@pytest.mark.parametrize("checkpointing", ["true", "false"])
def test_killed_run_resumes_bit_for_bit(graft, job, checkpointing):  # noqa: F811
    """With stochastic rounding and 8-bit moments; and checkpointing changes nothing."""
    more = ["--set", "trainer.gradient_clipping.clipnorm=0.5"]
    graft.run(*full(job, "whole", *more, dtype="bfloat16"))
    more += ["--set", f"trainer.enable_gradient_checkpointing={checkpointing}"]
    total = sum(event["event"] == "step" for event in events(job, "whole"))
    chance = random.Random(5)
    resume = []
    for _ in range(3):
        with graft.start(*full(job, "killed", *more, *resume, dtype="bfloat16"), stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL) as process:
            wait_for_step(process, job, "killed", chance.randint(1, total - 1))
            time.sleep(chance.random() * 0.02)
            process.kill()
        resume = ["--resume"]
    graft.run(*full(job, "killed", *more, "--resume", dtype="bfloat16"))
    assert weights(job, "killed") == weights(job, "whole")
    steps = {event["step"]: event["loss"] for event in events(job, "killed") if event["event"] == "step"}
    assert steps == {event["step"]: event["loss"] for event in events(job, "whole") if event["event"] == "step"}


@pytest.mark.parametrize("setting, alternative", [
    ("trainer.gradient_clipping.clipglobalnorm=1", "clipnorm"),
    ("trainer.max_micro_batch_tokens=128", "max_batch_tokens"),
    ("trainer.dtype=int8", "bfloat16 or float32"),
])
def test_what_cannot_be_is_refused_with_the_alternative(graft, job, setting, alternative):  # noqa: F811
    words = full(job, "out", "--set", setting)
    if "dtype" in setting:
        del words[words.index("--dtype"):words.index("--dtype") + 2]
    done = graft.run(*words, code=2)
    assert alternative in done.stderr
    assert not (job / "out").exists()
