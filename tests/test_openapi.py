"""The description at /openapi.json, held against the server by schemathesis: requests made from it, valid and invalid
ones, find no 5xx and no answer that it does not describe."""

import json
import pathlib
import subprocess
import sys
import urllib.request

import pytest

from tests.test_clients import fake_server

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def url():
    server = fake_server()
    yield next(server)
    server.close()


def test_description_is_json_with_every_route(url):
    with urllib.request.urlopen(url + "/openapi.json", timeout=30) as answer:
        description = json.load(answer)
    assert description["openapi"].startswith("3.1")
    assert {"/", "/generate", "/generate_stream", "/tokenize", "/info", "/metrics", "/v1/completions",
            "/v1/chat/completions", "/v1/models"} <= set(description["paths"])


def test_schemathesis_finds_no_server_error_and_no_schema_violation(url, tmp_path):
    schemathesis = [str(pathlib.Path(sys.executable).parent / "schemathesis")]
    done = subprocess.run(
        [*schemathesis, "--no-color", "run", url + "/openapi.json", "--checks", CHECKS, "--max-examples", "40",
         "--seed", "1", "--generation-deterministic", "--phases", "examples,coverage,fuzzing", "--request-timeout", "20",
         "--warnings", "off"],
        cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    with urllib.request.urlopen(url + "/health", timeout=30) as answer:
        assert answer.status == 200
