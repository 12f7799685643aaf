"""Proves that a data file of 1 GB is processed within 512 MB of memory: `make test-memory` (some minutes).

Writes a JSONL file (DATA_MEMORY_GB, by default 1) into a temporary directory, then lets `graft data inspect` read it,
and `graft train` up to its first step, and compares the most that each process was resident in (VmHWM) with the bound.
Of training, what counts is the peak when the data is ready, before the first step: what follows depends on the model.
The file and everything made of it are removed at the end.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support import smollm2  # noqa: E402

GRAFT = pathlib.Path(os.environ.get("GRAFT_BUILD", ROOT / "build")) / "bin" / "graft"
BOUND = 512 * 10**6
WORDS = ("the of and to in is that for it as was with be by on not he his but at are this have from or had an they "
         "which one you were all her she there would their we him been has when who will no more if out so said what "
         "up its about than into them can only other time new some could these two may first then do any like my now "
         "over such our man me even most made after also did many off before must well back through years").split()


def write_rows(path: pathlib.Path, size: int) -> int:
    """Rows of 30 to 1000 words, one in a hundred a copy of an earlier one."""
    generator = random.Random(1)
    rows = []
    for number in range(2000):
        prompt = " ".join(generator.choices(WORDS, k=generator.randint(30, 250)))
        rows.append((prompt, " ".join(generator.choices(WORDS, k=generator.randint(1, 60)))))
    count = written = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < size:
            prompt, completion = rows[count % len(rows)]
            head = "" if count % 100 == 0 else f"{count} "
            line = json.dumps({"prompt": head + prompt, "completion": " " + completion}) + "\n"
            file.write(line)
            written += len(line)
            count += 1
    return count


def peak(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def inspect(data: pathlib.Path, model: pathlib.Path):
    """The seconds, the peak and the report."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([GRAFT, "data", "inspect", data, "--model", model, "--json", "--samples", "0"],
                                   stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise SystemExit("error: graft data inspect failed")
    return time.monotonic() - start, usage.ru_maxrss * 1024, json.loads(text)


def train(config: pathlib.Path, data: pathlib.Path, job: pathlib.Path):
    """Seconds until the data is ready, the peak then, and the peak after the first step."""
    start = time.monotonic()
    process = subprocess.Popen([GRAFT, "train", config, "--dataset", data, "--output", job], stdout=subprocess.PIPE,
                               text=True)
    ready = None
    for line in process.stdout:
        if line.startswith("Memory"):
            ready = time.monotonic() - start, peak(process.pid)
            break
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        events = job / "events.jsonl"
        if events.exists() and '"step"' in events.read_text(encoding="utf-8") and peak_after_step(events):
            break
        time.sleep(0.2)
    after = peak(process.pid) if process.poll() is None else 0
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    process.wait()
    if ready is None:
        raise SystemExit("error: graft train failed")
    return *ready, after


def peak_after_step(events: pathlib.Path) -> bool:
    return any(json.loads(line).get("event") == "step" for line in events.read_text(encoding="utf-8").splitlines()
               if line.endswith("}"))


def main() -> int:
    size = int(float(os.environ.get("DATA_MEMORY_GB", "1")) * 1e9)
    work = pathlib.Path(tempfile.mkdtemp(prefix="graft-data-memory-"))
    os.environ["GRAFT_HOME"] = str(work / "home")
    failed = False

    def judge(what: str, seconds: float, memory: int, bound=BOUND):
        nonlocal failed
        failed |= memory > bound
        print(f"{what:<48} {seconds:6.1f} s  {memory / 1e6:6.0f} MB  {'ok' if memory <= bound else 'TOO MUCH'}",
              flush=True)

    try:
        rows = write_rows(work / "data.jsonl", size)
        print(f"{rows} rows, {(work / 'data.jsonl').stat().st_size / 1e9:.2f} GB", flush=True)
        subprocess.run([GRAFT, "import", smollm2.gguf_path(), "--name", "small"], check=True, stdout=subprocess.DEVNULL)
        config = work / "run.yaml"
        config.write_text("model_type: llm\nbase_model: small\nadapter: {type: lora}\n"
                          "trainer: {epochs: 1, max_batch_tokens: 512}\n"
                          "preprocessing: {split: {type: random, probabilities: [0.95, 0.0, 0.05]}}\n", encoding="utf-8")
        seconds, memory, report = inspect(work / "data.jsonl", "small")
        judge("graft data inspect", seconds, memory)
        print(f"  {report['tokens']}"[:200] + f"\n  duplicates {report['duplicates']}, leaks {report['leaks']}")
        seconds, memory, _ = inspect(work / "data.jsonl", "small")
        judge("graft data inspect, prepared before", seconds, memory)
        seconds, memory, after = train(config, work / "data.jsonl", work / "job")
        judge("graft train, until the data is ready", seconds, memory)
        seconds, memory, after = train(config, work / "data.jsonl", work / "job2")
        judge("graft train, prepared before", seconds, memory)
        print(f"  after the first step, model and training included: {after / 1e6:.0f} MB")
        return 1 if failed else 0
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
