"""The main job, start to end, on a real small model and real e-mails; `make demo` runs it.

Everything that is not preparing rows and printing is done by the programs under build/bin. Leaves in build/demo:
train.jsonl and test.jsonl, home (the GRAFT_HOME), job (the job directory), adapter, summary.json.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import yaml

from scripts.demo import emails, events
from tests.support import smollm2

ROOT = emails.ROOT
DEMO = ROOT / "build" / "demo"
GRAFT = ROOT / "build" / "bin" / "graft"
CONFIG = ROOT / "examples" / "spam.yaml"
MODEL = "smollm2-135m-instruct"
STARTUP_SECONDS = 120
ENVIRONMENT = {**os.environ, "GRAFT_HOME": str(DEMO / "home")}


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def shown(arguments) -> str:
    """A command as the user would type it in the checkout."""
    words = [os.path.relpath(word, ROOT) if str(word).startswith(str(ROOT)) else str(word) for word in arguments]
    return " ".join(words)


def graft(*arguments) -> None:
    """Runs a verb whose output the user sees."""
    print(f"    $ {shown([GRAFT, *arguments])}", flush=True)
    done = subprocess.run([str(word) for word in (GRAFT, *arguments)], env=ENVIRONMENT, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(f"error: graft {arguments[0]} failed with exit code {done.returncode}")


def graft_json(*arguments) -> dict:
    """Runs a verb with --json and returns what it printed; its progress on stderr is shown."""
    print(f"    $ {shown([GRAFT, *arguments])}", flush=True)
    done = subprocess.run([str(word) for word in (GRAFT, *arguments, "--json")], env=ENVIRONMENT, cwd=ROOT,
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"error: graft {arguments[0]} failed with exit code {done.returncode}")
    return json.loads(done.stdout)


def import_model() -> None:
    """Does nothing where the model is there already."""
    say("Importing SmolLM2-135M-Instruct from its GGUF file")
    graft("import", smollm2.gguf_path(), "--name", MODEL)


def accuracy(test: pathlib.Path, *adapter) -> float:
    return graft_json("eval", CONFIG, "--dataset", test, *adapter)["accuracy"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


@contextlib.contextmanager
def engine():
    """A running `graft serve`; gives its URL."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [str(GRAFT), "serve", "--model", MODEL, "--port", str(port), "--adapter-source", "local"]
    print(f"    $ {shown(command)}", flush=True)
    log = DEMO / "serve.log"
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + STARTUP_SECONDS
        while True:
            if process.poll() is not None:
                raise SystemExit(f"error: graft serve ended with exit code {process.returncode}; see {log}")
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                with urllib.request.urlopen(url + "/health", timeout=5):
                    break
            if time.monotonic() > deadline:
                raise SystemExit(f"error: graft serve was not ready after {STARTUP_SECONDS} s; see {log}")
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def ask(url: str, row: dict, adapter: pathlib.Path | None) -> str:
    template = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["prompt"]["template"]
    parameters = {"max_new_tokens": 8}
    if adapter is not None:
        parameters |= {"adapter_id": str(adapter), "adapter_source": "local"}
    return post(url + "/generate", {"inputs": template.format(**row), "parameters": parameters})["generated_text"]


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def main() -> None:
    start = time.monotonic()
    say("Writing 800 train rows and 400 test rows from the SpamAssassin e-mails")
    train, test = emails.write_files(DEMO)
    import_model()

    say("Accuracy of the base model on the test rows")
    before = accuracy(test)
    print(f"    {before:.1%}")

    say("Fine-tuning a LoRA adapter")
    job, adapter = DEMO / "job", DEMO / "adapter"
    shutil.rmtree(job, ignore_errors=True)
    shutil.rmtree(adapter, ignore_errors=True)
    train_start = time.monotonic()
    graft("train", CONFIG, "--dataset", train, "--output", job)
    train_seconds = time.monotonic() - train_start
    speed = events.tokens_per_second(job)
    shutil.copytree(job / "adapter", adapter)

    say("Accuracy with the adapter on the same rows")
    after = accuracy(test, "--adapter", adapter)
    print(f"    {after:.1%}")

    say("Serving base and adapter from one engine, and asking both about a test e-mail")
    row = next(row for row in map(json.loads, test.read_text(encoding="utf-8").splitlines()) if row["label"] == "spam")
    with engine() as url:
        answers = ask(url, row, None), ask(url, row, adapter)
    print(f"    e-mail   {quoted(row['email'][:90])}...\n    base     {quoted(answers[0])}\n"
          f"    adapter  {quoted(answers[1])}")

    summary = {
        "accuracy_before": before,
        "accuracy_after": after,
        "rows": 400,
        "train_seconds": round(train_seconds, 1),
        "train_tokens_per_s": round(speed, 1),
        "seconds_total": round(time.monotonic() - start, 1),
    }
    (DEMO / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    report(summary, adapter)


def report(summary: dict, adapter: pathlib.Path) -> None:
    program, folder = os.path.relpath(GRAFT, ROOT), os.path.relpath(adapter, ROOT)
    print(f"""
Accuracy on {summary["rows"]} e-mails: {summary["accuracy_before"]:.1%} before, {summary["accuracy_after"]:.1%} after
Training: {summary["train_seconds"]:.0f} s, {summary["train_tokens_per_s"]:.0f} tokens/s
The whole demo: {summary["seconds_total"]:.0f} s

Next:
  export GRAFT_HOME={os.path.relpath(DEMO / "home", ROOT)}
  {program} prompt --model {MODEL} 'What is spam?'
  {program} eval {os.path.relpath(CONFIG, ROOT)} --dataset MORE.jsonl --adapter {folder}
  {program} serve --model {MODEL} --port 8080
  curl 127.0.0.1:8080/generate -H 'Content-Type: application/json' \\
    -d '{{"inputs": "...", "parameters": {{"adapter_id": "{adapter}", "adapter_source": "local"}}}}'
  xdg-open {os.path.relpath(DEMO / "job", ROOT)}/adapter/report.html
""")


if __name__ == "__main__":
    sys.exit(main())
