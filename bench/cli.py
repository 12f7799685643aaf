"""The command line of the benchmarks: bench/run NAME [--json FILE]."""

import argparse
import sys

from bench import rows, serve, tokenizer, train

BENCHMARKS = {"train": train.run, "serve": serve.run, "tokenizer": tokenizer.run}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/run", description="Compares graft with a peer on this machine. Exit "
                                     "code 1 where a required ratio is not met.")
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", metavar="FILE", help="write the rows there, too")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="at least 3; 3 without")
    parser.add_argument("--only", metavar="GROUP", action="append", default=[], 
                        help="only this group of rows; of serve: " + ", ".join(serve.GROUPS) + "; of train: "
                        + ", ".join(train.GROUPS))
    parser.add_argument("--force", action="store_true", help="measure though the machine is not idle")
    arguments = parser.parse_args()
    if arguments.repetitions < 3:
        parser.error("--repetitions must be at least 3: medians of fewer say nothing")

    groups = {"serve": serve.GROUPS, "train": train.GROUPS}.get(arguments.name, {})
    for name in arguments.only:
        if name not in groups:
            parser.error(f"--only {name}: " + (f"groups of {arguments.name} are {', '.join(groups)}" if groups else
                                               f"{arguments.name} has no groups"))
    options = {"only": arguments.only} if groups else {}
    result = BENCHMARKS[arguments.name](arguments.repetitions, arguments.force, **options)
    print(rows.table(result))
    if arguments.json:
        rows.write_json(arguments.json, result)
    return 0 if all(row.met for row in result) else 1


if __name__ == "__main__":
    sys.exit(main())
