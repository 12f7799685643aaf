"""Running a benchmark of several groups of rows: each is printed as it is done, and a failure costs its own rows only."""

import sys

from bench import rows


def run(groups: dict, repetitions: int, force: bool, only=()) -> list:
    result = []
    for name, group in groups.items():
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
