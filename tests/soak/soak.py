"""The soak itself: a server under mixed load for a while, and the verdict.

    python3 -m tests.soak.soak --seconds 600 [--graft PROGRAM] [--model NAME] [--json FILE]
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from tests import conftest
from tests.soak import adapters, clients
from tests.soak.endpoint import Endpoint, Wrong
from tests.soak.watch import Watch

THREADS = 20
# A cache that holds a few requests of the twenty, a queue that overflows, and places for half of the adapters.
SERVE_OPTIONS = ("--max-total-tokens", "512", "--max-batch-total-tokens", "768", "--max-concurrent-requests", "18",
                 "--max-batch-size", "12", "--max-active-adapters", "6", "--adapter-cycle-time-s", "0.2")
MAX_GROWTH_MIB_PER_MINUTE = 1.0  # over the second half of a run of at least LONG seconds
LONG = 300


@dataclasses.dataclass
class Verdict:
    seconds: float = 0
    outcomes: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # (visit, outcome) -> count
    wrong: list = dataclasses.field(default_factory=list)
    preemptions: float = 0
    growth: float = 0  # MiB a minute
    memory: tuple = (0, 0, 0)  # MiB: at the start, at half time, at the end
    health_checks: int = 0
    exit_code: int | None = None

    def text(self) -> str:
        lines = [f"{self.seconds:.0f} s, {sum(self.outcomes.values())} visits, {self.preemptions:.0f} preemptions, "
                 f"{self.health_checks} health checks"]
        visits = collections.defaultdict(list)
        for (visit, outcome), count in sorted(self.outcomes.items()):
            visits[visit].append(f"{outcome}: {count}")
        lines += [f"  {visit:<18} {', '.join(outcomes)}" for visit, outcomes in visits.items()]
        start, middle, end = self.memory
        lines.append(f"resident memory {start:.1f}, {middle:.1f}, {end:.1f} MiB at start, half time, end; "
                     f"{self.growth:+.2f} MiB a minute over the second half")
        lines += [f"WRONG: {problem}" for problem in self.wrong[:20]]
        lines.append(f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong")
        return "\n".join(lines)


def ask_references(endpoint: Endpoint, names) -> dict:
    references = {}
    for prompt in clients.PROMPTS:
        for name in names:
            tokens, refused = clients.generate(endpoint, prompt, name)
            if tokens is None:
                raise Wrong(f"an idle server refused {name or 'the base model'}: {refused}")
            references[prompt, name] = tokens
    return references


def visit_until(end: float, number: int, crowd: clients.Clients, verdict: Verdict, lock: threading.Lock, alive):
    rng = random.Random(number)
    visits, weights = zip(*crowd.visits().items())
    while time.monotonic() < end and alive():
        visit = rng.choices(visits, weights)[0]
        try:
            outcome, problem = visit(rng), None
        except Wrong as wrong:
            outcome, problem = "wrong", str(wrong)
        except Exception:  # a polite client's connection that breaks is the server's fault
            outcome, problem = "wrong", traceback.format_exc(limit=-2)
        with lock:
            verdict.outcomes[visit.__name__, outcome] += 1
            if problem:
                verdict.wrong.append(f"{visit.__name__}: {problem}")
        if "429" in outcome or "overloaded" in outcome:
            time.sleep(rng.random())  # less than Retry-After asks for: the queue is to stay full


def vandalise(end: float, files: adapters.Adapters):
    rng = random.Random(99)
    while time.monotonic() < end:
        files.change(rng.choice(adapters.VERSIONS))
        files.vanish() if rng.random() < 0.5 else files.come_back()
        time.sleep(0.2 + rng.random())


def wait_until_idle(endpoint: Endpoint, seconds: float = 60):
    """Every sequence is gone, and its blocks are free again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if endpoint.metric("lorax_queue_length") == 0 and endpoint.metric("lorax_batch_current_size") == 0:
            return
        time.sleep(0.1)
    raise Wrong("the server is not idle a minute after its last client left")


def load(server, files: adapters.Adapters, seconds: float) -> Verdict:
    endpoint = Endpoint(int(server.url.rsplit(":", 1)[1]))
    verdict, lock = Verdict(seconds=seconds), threading.Lock()
    references = ask_references(endpoint, ["", *files.good(), *adapters.VERSIONS])
    crowd = clients.Clients(endpoint, references)
    watch = Watch(server.process.pid, endpoint)
    watch.start()
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=vandalise, args=(end, files))]
    threads += [threading.Thread(target=visit_until, args=(end, number, crowd, verdict, lock, watch.is_alive))
                for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watch.stop()
    conclude(endpoint, references, watch, verdict, seconds)
    return verdict


def conclude(endpoint: Endpoint, references: dict, watch: Watch, verdict: Verdict, seconds: float):
    verdict.wrong += [f"/health {problem}" for problem in watch.unhealthy]
    verdict.health_checks, verdict.growth = watch.checks, watch.growth_per_minute()
    memory = [mib for _, mib in watch.memory]
    verdict.memory = memory[0], memory[len(memory) // 2], memory[-1]
    try:
        wait_until_idle(endpoint)
        verdict.preemptions = endpoint.metric("graft_preemptions")
        names = sorted({name for _, name in references})
        if ask_references(endpoint, names) != references:
            verdict.wrong.append("after the load the same requests have other answers than before it")
    except (OSError, Wrong) as problem:
        verdict.wrong.append(f"after the load: {problem!r}")
    if seconds >= LONG and verdict.growth > MAX_GROWTH_MIB_PER_MINUTE:
        verdict.wrong.append(f"resident memory grows by {verdict.growth:.2f} MiB a minute")


def start_server(program, model: str, folder: pathlib.Path, log: pathlib.Path) -> conftest.Server:
    port = conftest.free_port()
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen([str(program), "serve", "--model", model, "--port", str(port), "--adapter-directory",
                                    str(folder), *SERVE_OPTIONS], stdout=output, stderr=subprocess.STDOUT)
    return conftest.Server(process, f"http://127.0.0.1:{port}", log)


def soak(program, model: str, seconds: float, scratch: pathlib.Path) -> Verdict:
    files = adapters.Adapters(scratch / "adapters")
    server = start_server(program, model, scratch / "adapters", scratch / "log")
    try:
        server.wait_until_ready()
        verdict = load(server, files, seconds)
    finally:
        code = server.stop() if server.process.poll() is None else server.process.returncode
    verdict.exit_code = code
    if code != 0:
        verdict.wrong.append(f"the server ended with {code}: {server.log.read_text()[-2000:]}")
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description="A real engine under mixed load; exit code 1 where anything was wrong.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--graft", default=str(conftest.BUILD / "bin" / "graft"), help="the program")
    parser.add_argument("--model", help="an imported model; without: SmolLM2, imported into a home of its own")
    parser.add_argument("--json", metavar="FILE", help="write the verdict there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graft-soak-") as scratch:
        model = arguments.model
        if model is None:
            from tests.support import smollm2

            os.environ["GRAFT_HOME"] = scratch + "/home"
            subprocess.run([arguments.graft, "import", smollm2.gguf_path(), "--name", "smollm2"], check=True)
            model = "smollm2"
        verdict = soak(arguments.graft, model, arguments.seconds, pathlib.Path(scratch))
    print(verdict.text())
    if arguments.json:
        answer = dataclasses.asdict(verdict) | {
            "outcomes": [[*key, count] for key, count in sorted(verdict.outcomes.items())]}
        pathlib.Path(arguments.json).write_text(json.dumps(answer), encoding="utf-8")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
