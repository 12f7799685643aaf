"""`graft train` and `graft eval` as a user runs them, on a tiny model: PEFT is the oracle for what comes out, and runs
that were killed are compared byte by byte with one that was left alone."""

import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest

from tests.support import byte_llama

CONFIG = """\
model_type: llm
base_model: {model}
input_features: [{{name: text, type: text}}]
output_features: [{{name: label, type: text}}]
prompt: {{template: "{{text}} is "}}
preprocessing:
  split: {{type: random, probabilities: [0.8, 0.2, 0.0]}}
adapter: {{type: lora, r: 4, dropout: 0.1, target_modules: all-linear}}
trainer:
  dtype: float32
  epochs: 6
  learning_rate: 0.01
  max_batch_tokens: 256
  max_micro_batch_tokens: 128
  steps_per_checkpoint: 5
  early_stop: -1
  learning_rate_scheduler: {{decay: cosine, warmup_fraction: 0.1}}
generation: {{max_new_tokens: 8}}
"""


def write_rows(path: pathlib.Path, count: int, tastes: list) -> None:
    """Rows with a word of `tastes` behind a letter, and what it tastes of."""
    chance = random.Random(3)
    with open(path, "w", encoding="utf-8") as rows:
        for _ in range(count):
            word, label = chance.choice(tastes)
            rows.write(json.dumps({"text": f"{chance.choice('abcdefgh')} {word}", "label": label}) + "\n")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return byte_llama.write_model(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture
def job(tmp_path, model):
    """A folder with run.yaml and rows.jsonl: fruit is sweet, vegetables are not."""
    (tmp_path / "run.yaml").write_text(CONFIG.format(model=model))
    write_rows(tmp_path / "rows.jsonl", 120,
               [("apple", "sweet"), ("pear", "sweet"), ("leek", "bitter"), ("kale", "bitter")])
    return tmp_path


def arguments(job: pathlib.Path, output: str, *more):
    return ["train", job / "run.yaml", "--dataset", job / "rows.jsonl", "--output", job / output, *more]


def weights(job: pathlib.Path, output: str) -> bytes:
    return (job / output / "adapter" / "adapter_model.safetensors").read_bytes()


def events(job: pathlib.Path, output: str) -> list:
    lines = (job / output / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def wait_for_step(process: subprocess.Popen, job: pathlib.Path, output: str, step: int):
    """Until the run has done `step` optimizer steps, or has ended."""
    path = job / output / "events.jsonl"
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b'"event":"step"') >= step:
            return
        time.sleep(0.002)


def test_peft_loads_the_adapter_with_equal_logprobs(graft, job, model):
    import peft
    import transformers

    result = graft.json(*arguments(job, "out"))
    assert result["state"] == "finished" and result["certificate_holds"]
    base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    certificate = json.loads((job / "out" / "adapter" / "certificate.json").read_text())
    tokens = [example["tokens"] for example in certificate["examples"]]
    before = [byte_llama.logprobs(base, row) for row in tokens]
    tuned = peft.PeftModel.from_pretrained(base, job / "out" / "adapter")
    assert tokens
    for row, example, untrained in zip(tokens, certificate["examples"], before):
        expected = byte_llama.logprobs(tuned, row).tolist()
        assert example["training_logprobs"] == pytest.approx(expected, abs=1e-3)
        assert example["runtime_logprobs"] == pytest.approx(expected, abs=1e-3)
        assert sum(expected) > sum(untrained.tolist()) + 1.0, "the adapter has learned nothing"


def loss_of_answers(model, tokenizer, rows: list):
    """Sum over the tokens of the answers, the end of the sequence included, and how many they are."""
    loss, count = 0.0, 0
    for row in rows:
        answer = tokenizer(row["label"], add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
        tokens = tokenizer(f"{row['text']} is ").input_ids + answer
        loss -= float(byte_llama.logprobs(model, tokens)[-len(answer):].sum())
        count += len(answer)
    return loss, count


def read_rows(job: pathlib.Path) -> list:
    return [json.loads(line) for line in (job / "rows.jsonl").read_text(encoding="utf-8").splitlines()]


def test_validation_loss_is_that_of_transformers_and_peft(graft, job, model):
    import peft
    import transformers

    rows = [{**row, "split": int(number % 5 == 0)} for number, row in enumerate(read_rows(job))]
    (job / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    graft.run(*arguments(job, "out", "--set", "preprocessing.split.type=fixed"))
    evaluations = [event for event in events(job, "out") if event["event"] == "evaluation"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    held_out = [row for row in rows if row["split"] == 1]
    loss, count = loss_of_answers(base, tokenizer, held_out)
    assert evaluations[0]["step"] == 0 and evaluations[0]["validation_tokens"] == count
    assert evaluations[0]["validation_loss"] == pytest.approx(loss / count, abs=1e-3)
    best = min(evaluations[1:], key=lambda event: event["validation_loss"])
    loss, count = loss_of_answers(peft.PeftModel.from_pretrained(base, job / "out" / "adapter"), tokenizer, held_out)
    assert best["validation_loss"] == pytest.approx(loss / count, abs=1e-3)


def test_killed_run_resumes_bit_for_bit(graft, job):
    graft.run(*arguments(job, "whole"))
    total = sum(event["event"] == "step" for event in events(job, "whole"))
    chance = random.Random(11)
    resumed_at = []
    for attempt in range(3):
        output = f"killed{attempt}"
        resume = []
        for _ in range(chance.randint(1, 3)):
            with graft.start(*arguments(job, output, *resume), stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) as process:
                wait_for_step(process, job, output, chance.randint(1, total - 1))
                time.sleep(chance.random() * 0.02)
                process.kill()
            resume = ["--resume"]
        graft.run(*arguments(job, output, "--resume"))
        assert weights(job, output) == weights(job, "whole")
        resumed_at += [event["step"] for event in events(job, output) if event.get("state") == "resumed"]
        # The history is that of one undisturbed run, once what the resumes undid is left out.
        steps = {event["step"]: event["loss"] for event in events(job, output) if event["event"] == "step"}
        assert steps == {event["step"]: event["loss"] for event in events(job, "whole") if event["event"] == "step"}
    assert any(0 < step < total for step in resumed_at), "no kill came in the middle of a run"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_signal_writes_a_checkpoint_and_says_how_to_resume(graft, job, number):
    graft.run(*arguments(job, "whole"))
    with graft.start(*arguments(job, "out"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_step(process, job, "out", 3)
        process.send_signal(number)
        _, message = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "--resume" in message
    last = events(job, "out")[-1]
    assert last["event"] == "state" and last["state"] == "stopped"
    assert (job / "out" / "checkpoints" / str(last["step"])).is_dir()
    assert not (job / "out" / "adapter").exists()
    graft.run(*arguments(job, "out", "--resume"))
    assert weights(job, "out") == weights(job, "whole")


def test_full_disk_while_checkpointing_is_one_line_and_resumable(graft, job):
    graft.run(*arguments(job, "whole"))

    def small_files():  # stands in for a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))

    done = graft.run(*arguments(job, "out", "--json"), code=1, preexec_fn=small_files)
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "checkpoint" in done.stderr
    left = job / "out" / "checkpoints"
    assert not left.exists() or not list(left.iterdir())
    graft.run(*arguments(job, "out", "--resume"))
    assert weights(job, "out") == weights(job, "whole")


def test_early_stopping_keeps_the_best(graft, job):
    # A learning rate that ruins the model: validation gets worse after the first evaluations.
    result = graft.json(*arguments(job, "out", "--set", "trainer.early_stop=2", "--set", "trainer.evaluate_every=2",
                                   "--set", "trainer.epochs=60", "--set", "trainer.learning_rate=0.1"))
    assert result["stopped_early"]
    evaluations = {event["step"]: event["validation_loss"] for event in events(job, "out")
                   if event["event"] == "evaluation" and event["step"] > 0}
    best = min(evaluations, key=evaluations.get)
    assert result["kept_step"] == best
    assert weights(job, "out") == (job / "out" / "checkpoints" / str(best) / "adapter" /
                                   "adapter_model.safetensors").read_bytes()


def test_eval_scores_base_and_adapter(graft, job, model):
    graft.run(*arguments(job, "out"))
    scored = graft.json("eval", job / "run.yaml", "--data", job / "rows.jsonl", "--adapter", job / "out" / "adapter",
                        "--output", job / "predictions.jsonl")
    assert scored["rows"] == 120
    assert scored["accuracy"] > 0.95
    assert graft.json("eval", job / "run.yaml", "--data", job / "rows.jsonl")["accuracy"] == 0
    lines = [json.loads(line) for line in (job / "predictions.jsonl").read_text().splitlines()]
    assert sum(line["correct"] for line in lines) == scored["correct"]
    by_flags = graft.json("eval", "--model", model, "--dtype", "float32", "--data", job / "rows.jsonl", "--adapter",
                          job / "out" / "adapter", "--prompt-template", "{text} is ", "--label-column", "label",
                          "--max-new-tokens", 8)
    assert by_flags["correct"] == scored["correct"]


def test_eval_of_a_peft_adapter_has_the_loss_of_transformers(graft, job, model):
    import peft
    import torch
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    settings = peft.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"], use_rslora=True,
                               rank_pattern={"down_proj": 7}, init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(5)
    tuned = peft.get_peft_model(base, settings)
    tuned.save_pretrained(job / "from-peft")
    scored = graft.json("eval", job / "run.yaml", "--data", job / "rows.jsonl", "--adapter", job / "from-peft",
                        "--limit", 20, "--loss")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loss, count = loss_of_answers(tuned, tokenizer, read_rows(job)[:20])
    assert scored["loss_tokens"] == count
    assert scored["loss"] == pytest.approx(loss / count, abs=1e-3)


def test_chats_train(graft, job):
    with open(job / "rows.jsonl", "w", encoding="utf-8") as rows:
        for number in range(40):
            word, answer = [("up", "down"), ("hot", "cold")][number % 2]
            rows.write(json.dumps({"messages": [{"role": "user", "content": word},
                                                {"role": "assistant", "content": answer}]}) + "\n")
    config = (job / "run.yaml").read_text()
    kept = [line for line in config.splitlines() if not line.startswith(("input_", "output_", "prompt:"))]
    (job / "run.yaml").write_text("\n".join(kept) + "\n")
    printed = graft.run(*arguments(job, "out")).stdout
    assert "[[" in printed and "<|assistant|>" in printed
    scored = graft.json("eval", job / "run.yaml", "--data", job / "rows.jsonl", "--adapter", job / "out" / "adapter")
    assert scored["accuracy"] == 1.0


@pytest.mark.parametrize("change, code, parts", [
    (["--set", "trainer.learning_rat=1"], 2, ["learning_rat", "did you mean"]),
    (["--set", "adapter.target_modules=[no_such_proj]"], 1, ["no_such_proj"]),
    (["--set", "adapter.target_modules=.*no_such_proj"], 1, [".*no_such_proj"]),
    (["--dataset", "/no/such/file.jsonl"], 1, ["/no/such/file.jsonl"]),
    (["--model", "no-such-model"], 1, ["no-such-model"]),
    (["--dtype", "int3"], 2, ["int3"]),
])
def test_bad_use_is_one_line_and_leaves_nothing(graft, job, change, code, parts):
    words = arguments(job, "out", "--json", *change)
    if "--dataset" in change:
        del words[2:4]
    done = graft.run(*words, code=code)
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr
    assert not (job / "out").exists() or not set(os.listdir(job / "out")) - {"lock"}


def test_rows_are_checked(graft, job):
    (job / "rows.jsonl").write_text('{"text": "a", "label": "b"}\n{"text": "a", "lable": "b"}\n')
    done = graft.run(*arguments(job, "out", "--json"), code=1)
    assert "rows.jsonl" in done.stderr and "row 2" in done.stderr and "lable" in done.stderr
    (job / "rows.jsonl").write_text("")
    assert "no rows" in graft.run(*arguments(job, "out", "--json"), code=1).stderr


def test_prepared_rows_are_found_again_and_make_the_same_run(graft, job):
    steps = ["--set", "trainer.train_steps=4", "--set", "trainer.max_batch_tokens=128"]
    fresh = dict(GRAFT_DATASET_CACHE="0")
    graft.run(*arguments(job, "without", *steps), env=fresh)
    graft.run("data", "cache", "--clear")
    graft.run(*arguments(job, "first", *steps))
    graft.run(*arguments(job, "second", *steps))
    assert any(entry["file"] == str(job / "rows.jsonl") and entry["complete"]
               for entry in graft.json("data", "cache"))
    assert weights(job, "without") == weights(job, "first") == weights(job, "second")


def test_occupied_output_is_refused(graft, job):
    graft.run(*arguments(job, "out", "--set", "trainer.train_steps=2"))
    before = weights(job, "out")
    done = graft.run(*arguments(job, "out", "--json"), code=2)
    assert "--resume" in done.stderr
    again = graft.run(*arguments(job, "out", "--set", "trainer.train_steps=2", "--resume"))
    assert "finished already" in again.stdout
    assert weights(job, "out") == before
    shutil.rmtree(job / "out")
