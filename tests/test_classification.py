"""A classifier as a user trains, evaluates, asks and serves it, on a tiny model: transformers and PEFT are the oracle."""

import json
import pathlib
import shutil
import subprocess
import urllib.request

import peft
import pytest
import torch
import transformers

from tests.conftest import Server
from tests.support import byte_llama
from tests.test_batch_invariance import listening_url
from tests.test_train import arguments, events, model, read_rows, weights, write_rows  # noqa: F401: a fixture too

CONFIG = """\
model_type: llm
base_model: {model}
input_features: [{{name: text, type: text}}]
output_features: [{{name: label, type: category}}]
preprocessing:
  split: {{type: stratify, probabilities: [0.8, 0.2, 0.0]}}
adapter: {{type: lora, r: 4, dropout: 0.1, target_modules: all-linear}}
trainer:
  dtype: float32
  epochs: 6
  learning_rate: 0.01
  max_batch_tokens: 256
  max_micro_batch_tokens: 128
  steps_per_checkpoint: 5
  early_stop: -1
  validation_metric: macro_f1
"""
LABELS = ["bitter", "sour", "sweet"]


@pytest.fixture
def job(tmp_path, model):  # noqa: F811
    (tmp_path / "run.yaml").write_text(CONFIG.format(model=model))
    write_rows(tmp_path / "rows.jsonl", 150,
               [("apple", "sweet"), ("pear", "sweet"), ("leek", "bitter"), ("lime", "sour")])
    return tmp_path


def classes_of_peft(model: pathlib.Path, adapter: pathlib.Path, texts: list) -> list:  # noqa: F811
    """Probabilities of each text's classes, by transformers and PEFT."""
    base = transformers.AutoModelForSequenceClassification.from_pretrained(model, num_labels=3, dtype=torch.float32)
    tuned = peft.PeftModel.from_pretrained(base, adapter).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    with torch.no_grad():
        return [torch.softmax(tuned(torch.tensor([tokenizer(text).input_ids])).logits[0], -1).tolist() for text in texts]


def test_a_classifier_is_trained_evaluated_and_served(graft, job, model):  # noqa: F811
    result = graft.json(*arguments(job, "out"))
    adapter = job / "out" / "adapter"
    assert result["state"] == "finished" and result["certificate_holds"]
    assert result["accuracy"] > 0.9 and result["macro_f1"] > 0.9, result
    evaluations = [event for event in events(job, "out") if event["event"] == "evaluation"]
    assert evaluations[-1]["metrics"]["accuracy"] >= result["accuracy"] - 1e-9
    report = (adapter / "report.html").read_text(encoding="utf-8")
    assert 'class="confusion"' in report and all(f"<th>{label}</th>" in report for label in LABELS)
    assert "text-classification" in (adapter / "README.md").read_text(encoding="utf-8")
    assert json.loads((adapter / "config.json").read_text())["id2label"] == dict(zip("012", LABELS))

    # Training, engine and PEFT agree.
    certificate = json.loads((adapter / "certificate.json").read_text())
    rows = read_rows(job)[:12]
    texts = [row["text"] for row in rows]
    expected = classes_of_peft(model, adapter, texts)
    assert len(certificate["classes"]) == 8 and certificate["largest_difference"] < 1e-4
    for one in certificate["classes"]:
        assert one["training_logits"] == pytest.approx(one["runtime_logits"], abs=1e-4)

    evaluated = graft.json("eval", job / "run.yaml", "--dataset", job / "rows.jsonl", "--adapter", adapter,
                           "--output", job / "answers.jsonl")
    assert evaluated["accuracy"] > 0.9 and evaluated["macro_f1"] > 0.9 and set(evaluated["labels"]) == set(LABELS)
    assert sum(sum(answers.values()) for answers in evaluated["confusion"].values()) == 150
    graft.run("predict", job / "rows.jsonl", "--config", job / "run.yaml", "--adapter", adapter, "--output",
              job / "predicted.jsonl", "--limit", 12)
    predicted = [json.loads(line) for line in (job / "predicted.jsonl").read_text().splitlines()]
    for line, row, probabilities in zip(predicted, rows, expected, strict=True):
        assert list(line["probabilities"]) == LABELS and line["reference"] == row["label"]
        assert list(line["probabilities"].values()) == pytest.approx(probabilities, abs=1e-4)
        assert line["prediction"] == LABELS[max(range(3), key=lambda i: probabilities[i])]

    with open(job / "log", "w") as log:
        process = graft.start("serve", "--model", model, "--dtype", "float32", "--port", "0",
                              "--check-certificates", "require", stdout=log, stderr=subprocess.STDOUT)
    try:
        server = Server(process, listening_url(process, job / "log"), job / "log").wait_until_ready()
        body = {"inputs": texts, "parameters": {"adapter_id": str(adapter)}}
        call = urllib.request.Request(server.url + "/classify_batch", json.dumps(body).encode(),
                                      {"Content-Type": "application/json"})
        with urllib.request.urlopen(call, timeout=120) as response:
            served = json.load(response)
    finally:
        process.terminate()
        process.wait(timeout=60)
    for answer, probabilities in zip(served, expected, strict=True):
        scores = {entity["entity_group"]: entity["score"] for entity in answer}
        assert [scores[label] for label in LABELS] == pytest.approx(probabilities, abs=1e-4)


def test_a_stopped_classifier_run_resumes_to_the_same_bits(graft, job):
    graft.run(*arguments(job, "whole"))
    shutil.copytree(job / "whole", job / "cut")
    shutil.rmtree(job / "cut" / "adapter")
    shutil.rmtree(max((job / "cut" / "checkpoints").iterdir(), key=lambda path: int(path.name)))
    graft.run(*arguments(job, "cut", "--resume"))
    assert weights(job, "whole") == weights(job, "cut")


def test_a_run_goes_on_from_a_checkpoint_or_a_result(graft, job):
    graft.run(*arguments(job, "first", "--set", "trainer.epochs=2"))
    checkpoint = max((job / "first" / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for start in (job / "first", checkpoint):
        graft.run(*arguments(job, f"on-{start.name}", "--set", "trainer.epochs=1", "--set",
                             f"adapter.pretrained_adapter_weights={start}"))
        before = events(job, f"on-{start.name}")
        first = next(event for event in before if event["event"] == "evaluation")
        last = [event for event in events(job, "first") if event["event"] == "evaluation"][-1]
        assert first["validation_loss"] == pytest.approx(last["validation_loss"], abs=0.2)
    error = graft.run(*arguments(job, "other", "--set", "adapter.r=2", "--set",
                                 f"adapter.pretrained_adapter_weights={job / 'first'}"), code=1).stderr
    assert "the configuration's 2: set adapter.r" in error
    other = byte_llama.write_model(job / "other-model", seed=9)
    error = graft.run(*arguments(job, "foreign", "--model", other, "--set",
                                 f"adapter.pretrained_adapter_weights={job / 'first'}"), code=1).stderr
    assert "another base model" in error


def test_what_a_classifier_cannot_learn_from_is_refused(graft, job):
    rows = read_rows(job)
    one = [row for row in rows if row["label"] == "sweet"]
    (job / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in one))
    arguments_of = ["train", job / "run.yaml", "--output", job / "out", "--dataset"]
    assert "all training rows have the label 'sweet'" in graft.run(*arguments_of, job / "one.jsonl", code=1).stderr
    unseen = [{**row, "split": 0} for row in rows] + [{"text": "z", "label": "salty", "split": 1}]
    (job / "unseen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in unseen))
    error = graft.run(*arguments_of, job / "unseen.jsonl", "--set", "preprocessing.split.type=fixed", code=1).stderr
    assert "a label that no training row has ('salty')" in error
    error = graft.run(*arguments_of, job / "rows.jsonl", "--set", "adapter.modules_to_save=[lm_head]", code=2).stderr
    assert "modules_to_save" in error and "category" in error
    error = graft.run(*arguments_of, job / "rows.jsonl", "--set", "trainer.evaluation_metrics=[rouge_l]", code=2).stderr
    assert "evaluation_metrics" in error and "macro_f1" in error
