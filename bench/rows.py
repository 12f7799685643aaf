"""The rows of a benchmark: one measure of graft beside the same measure of the peer, as medians."""

import dataclasses
import json
import math
import os
import statistics

from bench import machine


@dataclasses.dataclass
class Row:
    """`required` bounds the ratio graft / peer: from below where higher is better, else from above. None: no bar."""

    measure: str
    unit: str
    graft: list
    peer: list
    peer_name: str
    required: float | None = None
    higher_is_better: bool = True
    share: float | None = None  # of what the machine could do at best, where that is known

    @property
    def ratio(self) -> float:
        """The median of the repetitions' ratios: both sides of one met the same machine."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.graft, self.peer))

    @property
    def met(self) -> bool:
        if self.required is None:
            return True
        return self.ratio >= self.required if self.higher_is_better else self.ratio <= self.required

    def to_json(self) -> dict:
        return {
            "measure": self.measure,
            "unit": self.unit,
            "graft": statistics.median(self.graft),
            "graft_min": min(self.graft),
            "graft_max": max(self.graft),
            "peer": statistics.median(self.peer),
            "peer_min": min(self.peer),
            "peer_max": max(self.peer),
            "peer_name": self.peer_name,
            "ratio": self.ratio,
            "required": self.required,
            "better": "higher" if self.higher_is_better else "lower",
            "met": self.met,
            "share_of_limit": self.share,
            "repetitions": len(self.graft),
            "cpu": machine.cpu_model(),
            "threads": machine.threads(),
        }


def not_measured(why: str) -> Row:
    return Row(why, "not measured", [math.nan], [math.nan], "-", required=1.0)


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: list) -> str:
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def bar(row: Row) -> str:
    if row.required is None:
        return "no bar"
    return f"{'>=' if row.higher_is_better else '<='} {row.required:g}, {'met' if row.met else 'NOT MET'}"


def table(rows: list) -> str:
    cells = [["measure", "graft", "peer", "ratio", "required", "of the limit", "peer's name"]]
    for row in rows:
        share = "" if row.share is None else f"{row.share:.0%}"
        cells.append([f"{row.measure} [{row.unit}]", spread(row.graft), spread(row.peer), f"{row.ratio:.2f}", bar(row),
                      share, row.peer_name])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]
    lines.append("")
    lines.append(f"medians (min to max) of {len(rows[0].graft)} repetitions; {machine.cpu_model()}, {machine.threads()} threads")
    return "\n".join(lines)


def write_json(path: str, rows: list) -> None:
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump([row.to_json() for row in rows], file, indent=2)
        file.write("\n")
