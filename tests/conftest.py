"""Fixtures of the end-to-end tests: the programs as they were built, a home of their own, the small model."""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from tests.support import smollm2

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("GRAFT_BUILD", ROOT / "build"))


class Graft:
    """The program `graft` with a GRAFT_HOME of its own."""

    def __init__(self, home: pathlib.Path):
        self.home = home
        self.program = BUILD / "bin" / "graft"
        if not self.program.exists():
            raise FileNotFoundError(f"{self.program} is not built: run `make build`")

    def environment(self, extra=None):
        return {**os.environ, "GRAFT_HOME": str(self.home), **(extra or {})}

    def run(self, *arguments, code=0, env=None, timeout=600, **options):
        """Runs a verb to its end and returns the finished process; a test fails here where the exit code differs."""
        done = subprocess.run([str(self.program), *map(str, arguments)], env=self.environment(env), text=True,
                              capture_output=True, timeout=timeout, **options)
        assert done.returncode == code, f"graft {arguments} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def json(self, *arguments, **options):
        """Runs a verb with --json and returns what it printed, parsed."""
        return json.loads(self.run(*arguments, "--json", **options).stdout)

    def start(self, *arguments, env=None, **options):
        return subprocess.Popen([str(self.program), *map(str, arguments)], env=self.environment(env), **options)


class Server:
    """A running `graft serve`."""

    def __init__(self, process: subprocess.Popen, url: str, log: pathlib.Path):
        self.process = process
        self.url = url
        self.log = log

    def wait_until_ready(self, seconds: float = 120):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"graft serve ended with {self.process.returncode}:\n{self.log.read_text()}")
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=5):
                    return self
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
        raise TimeoutError(f"graft serve was not ready after {seconds} s:\n{self.log.read_text()}")

    def stop(self):
        """Asks the server to end, and returns its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def graft(tmp_path):
    """`graft` with an empty home."""
    return Graft(tmp_path / "home")


@pytest.fixture(scope="session")
def smollm2_gguf():
    return smollm2.gguf_path()


@pytest.fixture(scope="session")
def smollm2_hf():
    """SmolLM2-135M-Instruct as a float32 Hugging Face directory; kept between runs."""
    return smollm2.hf_dir(ROOT / ".cache" / "models" / "smollm2-135m-instruct-float32")


@pytest.fixture(scope="session")
def graft_with_model(tmp_path_factory, smollm2_gguf):
    """`graft` with a home that holds the model under the name smollm2; shared by all tests, so only to be read."""
    program = Graft(tmp_path_factory.mktemp("home"))
    program.run("import", smollm2_gguf, "--name", "smollm2")
    return program


@pytest.fixture(scope="session")
def serve(graft_with_model, tmp_path_factory):
    """serve(*options): starts `graft serve --model smollm2 ...` on a free port and returns the running Server. All are
    stopped after the last test."""
    running = []

    def start(*options, env=None) -> Server:
        port = free_port()
        log = tmp_path_factory.mktemp("serve") / "log"
        with open(log, "w") as output:
            process = graft_with_model.start("serve", "--model", "smollm2", "--port", port, *options, env=env,
                                             stdout=output, stderr=subprocess.STDOUT)
        running.append(Server(process, f"http://127.0.0.1:{port}", log))
        return running[-1].wait_until_ready()

    yield start
    for server in running:
        if server.process.poll() is None:
            server.stop()
