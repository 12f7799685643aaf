"""What a training run wrote into its job directory."""

import json
import pathlib


def tokens_per_second(job: pathlib.Path, warm_up: int = 0) -> float:
    """Over all steps but the first `warm_up`. Only a step's own tokens and seconds count, not what lies between steps
    (evaluations, checkpoints)."""
    with open(job / "events.jsonl", encoding="utf-8") as lines:
        steps = [event for event in map(json.loads, lines) if event["event"] == "step"][warm_up:]
    if not steps:
        raise SystemExit(f"error: {job} has no more than {warm_up} training steps to measure")
    return sum(step["tokens"] for step in steps) / sum(step["seconds"] for step in steps)
