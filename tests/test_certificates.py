"""`graft serve --check-certificates`: what training certified is asked of the engine that loads the adapter."""

import hashlib
import json
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
import safetensors.numpy

from tests.conftest import Graft, Server, free_port
from tests.support import byte_llama
from tests.test_train import CONFIG


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Graft(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, home):
    """(base model, adapter directory)"""
    folder = tmp_path_factory.mktemp("job")
    model = byte_llama.write_model(tmp_path_factory.mktemp("tiny-llama"))
    (folder / "run.yaml").write_text(CONFIG.format(model=model))
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in
                                               [("apple", "sweet"), ("leek", "bitter")] * 30))
    home.run("train", folder / "run.yaml", "--dataset", folder / "rows.jsonl", "--output", folder / "out")
    return model, folder / "out" / "adapter"


def serve(home, model, log, *options):
    """A server that the caller stops, or the ended process where it did not start."""
    port = free_port()
    with open(log, "w") as output:
        process = home.start("serve", "--model", model, "--port", port, "--dtype", "float32", *options,
                             stdout=output, stderr=subprocess.STDOUT)
    return Server(process, f"http://127.0.0.1:{port}", log)


def ask(server, adapter):
    body = {"inputs": "apple is ", "parameters": {"max_new_tokens": 5, "adapter_id": str(adapter)}}
    request = urllib.request.Request(server.url + "/generate", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def damaged(adapter, directory):
    """A copy with other values in one factor, and a certificate that vouches for the file as it is now."""
    shutil.copytree(adapter, directory)
    file = directory / "adapter_model.safetensors"
    tensors = safetensors.numpy.load_file(file)
    name = next(name for name in sorted(tensors) if "lora_B" in name)
    tensors[name] = tensors[name] + 0.5
    safetensors.numpy.save_file(tensors, file)
    certificate = json.loads((directory / "certificate.json").read_text())
    certificate["adapter_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (directory / "certificate.json").write_text(json.dumps(certificate))
    return directory


def test_what_answers_as_certified_is_served_and_nothing_else(home, trained, tmp_path):
    model, adapter = trained
    bad = damaged(adapter, tmp_path / "bad")
    bare = shutil.copytree(adapter, tmp_path / "bare", ignore=shutil.ignore_patterns("certificate.json"))
    server = serve(home, model, tmp_path / "log", "--check-certificates", "require", "--preloaded-adapter-ids", adapter)
    try:
        server.wait_until_ready()
        status, answer = ask(server, adapter)
        assert status == 200 and answer["generated_text"]
        status, answer = ask(server, bad)
        assert status == 424 and "nats apart where 0.0001 are allowed" in answer["error"]
        status, answer = ask(server, bare)
        assert status == 424 and "has no certificate.json" in answer["error"]
        assert ask(server, adapter)[0] == 200
    finally:
        assert server.stop() == 0


def test_a_preloaded_adapter_that_fails_keeps_the_server_from_starting(home, trained, tmp_path):
    model, adapter = trained
    bad = damaged(adapter, tmp_path / "bad")
    server = serve(home, model, tmp_path / "log", "--check-certificates", "present", "--preloaded-adapter-ids", bad)
    assert server.process.wait(timeout=120) == 1
    assert "--preloaded-adapter-ids: " in server.log.read_text() and "nats apart" in server.log.read_text()


def test_without_the_option_nothing_is_asked(home, trained, tmp_path):
    model, adapter = trained
    bad = damaged(adapter, tmp_path / "bad")
    server = serve(home, model, tmp_path / "log")
    try:
        server.wait_until_ready()
        assert ask(server, bad)[0] == 200
    finally:
        server.stop()
