"""`graft predict` as a user runs it, on a tiny model: killed at random points and resumed, it writes the same file."""

import json
import random
import signal
import subprocess
import time

import pytest

from tests.support import byte_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return byte_llama.write_model(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"row {i}: "}) + "\n" for i in range(700)))
    return path


def arguments(rows, model, output, *more):
    return ["predict", rows, "--model", model, "--dtype", "float32", "--max-new-tokens", "12", "--temperature", "1",
            "--seed", "5", "--output", output, *more]


def test_killed_prediction_resumes_to_the_same_file(graft, rows, model, tmp_path):
    graft.run(*arguments(rows, model, tmp_path / "whole.jsonl"))
    whole = (tmp_path / "whole.jsonl").read_text()
    lines = [json.loads(line) for line in whole.splitlines()]
    assert [line["row"] for line in lines] == list(range(1, 701))
    assert all({"prompt", "prediction", "finish_reason", "tokens"} <= line.keys() for line in lines)

    cut = tmp_path / "cut.jsonl"
    chance = random.Random(4)
    resume = []
    for _ in range(3):
        with graft.start(*arguments(rows, model, cut, *resume), stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL) as process:
            time.sleep(chance.uniform(0.2, 1.5))
            process.send_signal(signal.SIGKILL)
            process.wait()
        resume = ["--resume"]
    graft.run(*arguments(rows, model, cut, "--resume"))
    assert cut.read_text() == whole
