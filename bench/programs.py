"""Running graft and its peers: where they are, their environment, what a process used."""

import contextlib
import http.client
import os
import pathlib
import socket
import subprocess
import tempfile
import time

from bench import machine
from tests.support import smollm2

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("GRAFT_BUILD", ROOT / "build"))
GRAFT = BUILD / "bin" / "graft"
WORK = BUILD / "bench"
PEERS = ROOT / ".cache" / "peers"
MODEL = "smollm2-135m-instruct"


def environment() -> dict:
    threads = str(machine.threads())
    return {**os.environ, "GRAFT_HOME": str(WORK / "home"), "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}


def require(path: pathlib.Path, remedy: str) -> None:
    if not path.exists():
        raise SystemExit(f"error: {os.path.relpath(path, ROOT)} is missing: run {remedy}")


def run(command, log: pathlib.Path, variables=None):
    """Runs a command to its end, with more environment variables; returns what it printed and the highest memory it was resident in, in bytes."""
    with open(log, "w", encoding="utf-8") as errors, tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen([str(word) for word in command], env=environment() | (variables or {}), cwd=ROOT,
                                   stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise SystemExit(f"error: {command[0]} failed with exit code {process.returncode}; see {log}")
    return text, usage.ru_maxrss * 1024


def import_model() -> None:
    """The demo's model in a home of the benchmarks' own; nothing is done where it is there."""
    require(GRAFT, "make build")
    WORK.mkdir(parents=True, exist_ok=True)
    run([GRAFT, "import", smollm2.gguf_path(), "--name", MODEL], WORK / "import.log")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def server(command, port: int, log: pathlib.Path, seconds: float = 180):
    """A running server; gives its process. Ended on leaving."""
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen([str(word) for word in command], env=environment(), cwd=ROOT, stdout=output,
                                   stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + seconds
        while not is_up(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"error: {command[0]} did not start; see {log}")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait()
