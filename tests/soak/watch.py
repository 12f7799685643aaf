"""Watches a server from outside: memory and health."""

import threading
import time

from tests.soak.endpoint import Endpoint


def resident_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def slope(points) -> float:
    """Of the line that fits (x, y) best, in the sense of least squares."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


class Watch(threading.Thread):
    """Samples until stop(): .memory holds (seconds, MiB), .unhealthy what /health said wrong."""

    def __init__(self, pid: int, endpoint: Endpoint, interval: float = 1.0):
        super().__init__(daemon=True)
        self.pid, self.endpoint, self.interval = pid, endpoint, interval
        self.memory, self.unhealthy, self.checks = [], [], 0
        self._stop_event = threading.Event()

    def run(self):
        start = time.monotonic()
        while not self._stop_event.wait(self.interval):
            at = time.monotonic() - start
            try:
                self.memory.append((at, resident_mib(self.pid)))
                status, _, _ = self.endpoint.send("/health")
                self.checks += 1
                if status != 200:
                    self.unhealthy.append(f"after {at:.0f} s: status {status}")
            except OSError as problem:
                self.unhealthy.append(f"after {at:.0f} s: {problem!r}")

    def stop(self):
        self._stop_event.set()
        self.join()

    def growth_per_minute(self) -> float:
        """MiB a minute over the second half of the run."""
        return 60 * slope(self.memory[len(self.memory) // 2:])
