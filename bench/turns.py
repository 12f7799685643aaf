"""Servers measured in turn, so that all meet the same machine should its speed drift: each of a repetition's measures is
taken of every server before the next one is."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable

from bench import machine, programs


@dataclasses.dataclass
class Server:
    name: str
    command: Callable  # of the port: a command line
    warm: Callable  # of the port, once before the first measure
    measures: dict  # name: function of the port, gives a number


def measure(servers: list, repetitions: int, force: bool) -> dict:
    """{server: [{measure: number} of each repetition]}. All servers stand by from start to end."""
    results = {server.name: [{} for _ in range(repetitions)] for server in servers}
    with contextlib.ExitStack() as running:
        ports, pids = {}, []
        for server in servers:
            ports[server.name] = port = programs.free_port()
            log = programs.WORK / f"{server.name.replace(' ', '-')}.log"
            pids.append(running.enter_context(programs.server(server.command(port), port, log)).pid)
        for server in servers:
            print(f"  {server.name}: warm-up", file=sys.stderr)
            server.warm(ports[server.name])
        for number in range(repetitions):
            print(f"  repetition {number + 1} of {repetitions}", file=sys.stderr)
            for name in dict.fromkeys(name for server in servers for name in server.measures):
                for server in servers:
                    if name not in server.measures:
                        continue
                    once = lambda: server.measures[name](ports[server.name])  # noqa: B023, E731
                    results[server.name][number][name] = machine.repeat(1, once, force, pids)[0]
    return results


def fastest(results: dict, names: list, measure_name: str) -> str:
    return max(names, key=lambda name: sorted(one[measure_name] for one in results[name])[len(results[name]) // 2])
