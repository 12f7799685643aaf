"""What a measurement must know about the machine: its CPU, its threads, and who else is using them.

Another process on the same cores, even a nice one, slows OpenMP code several times over, because a team waits for its
slowest thread. So a repetition counts only where at most BUSY_LIMIT of the CPU time went elsewhere.
"""

import os
import sys
import time

BUSY_LIMIT = 0.03
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else os.uname().machine


def threads() -> int:
    return len(os.sched_getaffinity(0))


def busy_seconds() -> float:
    """CPU time that all processes and other guests of the host (steal) have had since boot."""
    with open("/proc/stat", encoding="ascii") as lines:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, lines.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def process_seconds(pid: int) -> float:
    """CPU time of a running process and of its children that have ended."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICKS


class Watch:
    """Measures the share of the CPU that went to processes other than this one, its ended children and `pids`."""

    def __init__(self, pids=()):
        self.pids = list(pids)
        self.start = self._now()

    def _now(self):
        own = process_seconds(os.getpid()) + sum(process_seconds(pid) for pid in self.pids)
        return time.monotonic(), busy_seconds(), own

    def elsewhere(self) -> float:
        wall, busy, own = (now - then for now, then in zip(self._now(), self.start))
        return max(0.0, busy - own) / (wall * (os.cpu_count() or 1))


def is_idle(seconds: float = 2.0) -> bool:
    watch = Watch()
    time.sleep(seconds)
    return watch.elsewhere() <= BUSY_LIMIT


def require_idle(force: bool, patience: float = 60.0) -> None:
    """Waits for the machine to fall idle; ends the program where it does not, unless forced."""
    deadline = time.monotonic() + patience
    while not is_idle():
        if time.monotonic() < deadline:
            continue
        if force:
            print("warning: the machine is not idle; these numbers mean little", file=sys.stderr)
            return
        raise SystemExit("error: the machine is not idle (over 3 % of the CPU in use): stop what else runs, or measure "
                         "all the same with --force")


def repeat(count: int, once, force: bool, pids=(), attempts: int = 3) -> list:
    """`count` results of once() during which the machine was idle. Others are thrown away, at most `attempts` in all."""
    kept, thrown = [], 0
    while len(kept) < count:
        watch = Watch(pids)
        result = once()
        share = watch.elsewhere()
        if share <= BUSY_LIMIT or force:
            kept.append(result)
            continue
        thrown += 1
        print(f"  thrown away: {share:.0%} of the CPU went elsewhere", file=sys.stderr)
        if thrown > attempts:
            raise SystemExit("error: the machine would not stay idle: stop what else runs, or use --force")
    return kept
