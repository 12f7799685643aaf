"""`graft import` from a hub and an S3 store of our own, to an answer of the model."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.support import byte_llama


@pytest.fixture
def server(request):
    """server(*arguments): starts a Python server that prints a line when it is ready, and returns that line."""
    running = []

    def start(*arguments):
        process = subprocess.Popen([sys.executable, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True)
        running.append(process)
        return process.stdout.readline().strip()

    yield start
    for process in running:
        process.stdin.close()
        process.terminate()
        process.wait(timeout=30)


def test_a_model_of_the_hub_is_imported_and_read_by_python_from_the_same_cache(graft, server, tmp_path):
    source = byte_llama.write_model(tmp_path / "repos" / "org" / "tiny" / "main")
    addresses = json.loads(server(ROOT / "tests" / "support" / "hub_server.py", tmp_path / "repos"))
    env = {"HF_ENDPOINT": addresses["url"], "HF_HOME": str(tmp_path / "hf"), "HF_HUB_CACHE": "", "HF_HUB_OFFLINE": "0"}
    done = graft.run("import", "org/tiny", "--dtype", "float32", env=env)
    assert "imported tiny" in done.stdout
    assert "fetching MiB" in done.stderr
    assert graft.json("import", "org/tiny", "--dtype", "float32", env=env)["already_there"]
    # The directory itself is the same model.
    assert graft.json("import", source, env=env)["already_there"]
    script = ("from transformers import AutoModelForCausalLM, AutoTokenizer\n"
              "AutoTokenizer.from_pretrained('org/tiny'); AutoModelForCausalLM.from_pretrained('org/tiny')")
    offline = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    offline.pop("HF_HUB_CACHE", None)
    subprocess.run([sys.executable, "-c", script], env=offline, check=True, capture_output=True)
    assert graft.run("prompt", "--model", "tiny", "--max-new-tokens", "4", "a", env=env).returncode == 0


def test_what_the_hub_refuses_is_one_line(graft, server, tmp_path):
    (tmp_path / "repos").mkdir()
    addresses = json.loads(server(ROOT / "tests" / "support" / "hub_server.py", tmp_path / "repos"))
    done = graft.run("import", "org/none", code=1, env={"HF_ENDPOINT": addresses["url"], "HF_HOME": str(tmp_path / "hf")})
    assert done.stderr.count("\n") == 1
    assert "Repository not found" in done.stderr and "HF_TOKEN" in done.stderr


def test_a_model_in_s3_is_imported(graft, server, tmp_path):
    import boto3

    source = byte_llama.write_model(tmp_path / "source")
    url = server("-c", "import logging, sys, threading\nlogging.getLogger('werkzeug').setLevel(logging.ERROR)\n"
                 "from werkzeug.serving import make_server\n"
                 "from moto.server import DomainDispatcherApplication, create_backend_app\n"
                 "server = make_server('127.0.0.1', 0, DomainDispatcherApplication(create_backend_app), threaded=True)\n"
                 "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
                 "print(f'http://127.0.0.1:{server.port}', flush=True)\nsys.stdin.read()")
    env = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
           "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    s3 = boto3.client("s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret",
                      region_name="us-east-1")
    s3.create_bucket(Bucket="models")
    for path in source.iterdir():
        s3.upload_file(str(path), "models", "prefix/tiny/" + path.name)
    assert graft.json("import", "s3://models/prefix/tiny", "--dtype", "float32", env=env)["name"] == "tiny"
    assert graft.json("import", "s3://models/prefix/tiny", "--dtype", "float32", env=env)["already_there"]
