"""`bench/run serve`: everything that is promised of serving, beside its peers, in one run."""

from bench import groups, machine, perplexity, programs, serve_adapters, serve_features, serve_weights

GROUPS = {"weights": serve_weights.run, "adapters": serve_adapters.run, "features": serve_features.run,
          "perplexity": perplexity.run}


def run(repetitions: int, force: bool, only=()) -> list:
    programs.require(programs.PEERS / "llama.cpp" / ".graft-setup", "bench/setup serve")
    programs.import_model()
    machine.require_idle(force)
    return groups.run(GROUPS, repetitions, force, only)
