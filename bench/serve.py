"""`bench/run serve`: everything that is promised of serving, beside its peers, in one run."""

import sys

from bench import machine, perplexity, programs, rows, serve_adapters, serve_features, serve_weights

GROUPS = {"weights": serve_weights.run, "adapters": serve_adapters.run, "features": serve_features.run,
          "perplexity": perplexity.run}


def run(repetitions: int, force: bool, only=()) -> list:
    programs.require(programs.PEERS / "llama.cpp" / ".graft-setup", "bench/setup serve")
    programs.import_model()
    machine.require_idle(force)
    result = []
    for name, group in GROUPS.items():
        if only and name not in only:
            continue
        measured = group_rows(name, group, repetitions, force)
        print(rows.table(measured), file=sys.stderr)  # a whole run takes long: what is known is not lost with the rest
        result += measured
    return result


def group_rows(name, group, repetitions: int, force: bool) -> list:
    """A measure that fails is a row that is not met, and keeps no other from being taken."""
    measured = []
    try:
        for row in group(repetitions, force):
            measured.append(row)
    except SystemExit as error:
        measured.append(rows.not_measured(f"{name}: {error}"))
    return measured
