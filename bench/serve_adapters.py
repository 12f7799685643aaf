"""`bench/run serve --only adapters`: many adapters on one base, beside llama-server and beside the base alone."""

import dataclasses
import itertools
import sys

from bench import adapters, load, machine, programs, serving, turns
from bench.rows import Row

PROMPT_TOKENS, DECODE_TOKENS, ANSWER_TOKENS = 128, 128, 64
STREAMS, ADAPTERS = 16, 16
MANY, FEW, IN_FLIGHT = 1000, 5, 32
LARGE, SMALL = "r = 16 on all linear layers", "r = 8 on q and v"


def dialect_of(paths) -> load.Dialect:
    """Request i asks for adapter i modulo their number."""
    turn = itertools.cycle(paths)

    def body(prompt, count):
        made = load.GRAFT.body(prompt, count)
        made["parameters"] |= {"adapter_id": str(next(turn)), "adapter_source": "local"}
        return made

    return dataclasses.replace(load.GRAFT, body=body)


def llama_dialect(count: int) -> load.Dialect:
    turn = itertools.cycle(range(count))
    return dataclasses.replace(
        load.LLAMA_CPP, body=lambda prompt, tokens: load.LLAMA_CPP.body(prompt, tokens) | {
            "lora": [{"id": next(turn), "scale": 1.0}]})


def take(prompts, count):
    return list(itertools.islice(prompts, count))


def answers(port, dialect, prompts) -> float:
    seconds = load.seconds(port, dialect, take(prompts, 2 * STREAMS), ANSWER_TOKENS, STREAMS)
    return 2 * STREAMS * ANSWER_TOKENS / seconds


def decode(port, dialect, prompts, streams=STREAMS, requests=STREAMS) -> float:
    prefill = load.seconds(port, dialect, take(prompts, requests), 1, streams)
    whole = load.seconds(port, dialect, take(prompts, requests), DECODE_TOKENS, streams)
    return requests * (DECODE_TOKENS - 1) / (whole - prefill)


def measure(name, command, repetitions, force, warm, once) -> list:
    """`once(port)` gives a dictionary of measures."""
    port = programs.free_port()
    with programs.server(command(port), port, programs.WORK / f"{name.replace(' ', '-')}.log") as process:
        print(f"  {name}: warm-up, then {repetitions} repetitions", file=sys.stderr)
        warm(port)
        return machine.repeat(repetitions, lambda: once(port), force, [process.pid])


def run(repetitions: int, force: bool):
    model = programs.PEERS / "smollm2-bfloat16"
    folder = programs.WORK / "adapters"
    large = [adapters.write_peft(folder / f"large-{i}", model, 16, adapters.ALL_LINEAR, i) for i in range(ADAPTERS)]
    small = [adapters.write_peft(folder / f"small-{i}", model, 8, adapters.QUERY_VALUE, i) for i in range(MANY)]
    ggufs = [adapters.write_gguf(folder / f"large-{i}.gguf", model, 16, adapters.ALL_LINEAR, i)
             for i in range(ADAPTERS)]
    prompts = serving.prompts(PROMPT_TOKENS, 512)
    base = load.GRAFT
    dialects = {"none": base, "large": dialect_of(large), "small": dialect_of(small[:ADAPTERS]),
                "few": dialect_of(small[:FEW]), "many": dialect_of(small)}

    def warm(port):
        for name in ("none", "large", "small"):
            load.seconds(port, dialects[name], take(prompts, STREAMS), 8, STREAMS)

    ours = turns.Server("graft int8 adapters", lambda port: serving.graft_command(port, "int8"), warm,
                        {"answers": lambda port: answers(port, dialects["large"], prompts)})
    dialect = llama_dialect(ADAPTERS)
    options = ["--lora", ",".join(map(str, ggufs)), "--lora-init-without-apply"]
    peers = [turns.Server(f"llama.cpp {weights} adapters",
                          lambda port, weights=weights: serving.llama_command(port, weights, *options, slots=STREAMS),
                          lambda port: load.seconds(port, dialect, take(prompts, 2), 8, 2),
                          {"answers": lambda port: answers(port, dialect, prompts)}) for weights in ("bf16", "q8_0")]
    results = turns.measure([ours, *peers], repetitions, force)
    best = turns.fastest(results, [peer.name for peer in peers], "answers")
    yield Row(f"{STREAMS} clients, {ADAPTERS} adapters of {LARGE}, 128 + 64: int8", "tokens/s",
              [one["answers"] for one in results[ours.name]], [one["answers"] for one in results[best]],
              f"{serving.LLAMA} ({best.split()[1]})", 8.0)

    kinds = ("none", "small", "large")
    beside = measure("graft bfloat16 adapters", lambda port: serving.graft_command(port, "bfloat16"), repetitions, force,
                     warm, lambda port: {kind: decode(port, dialects[kind], prompts) for kind in kinds})
    for kind, name, required in (("small", SMALL, 0.9), ("large", LARGE, 0.7)):
        yield Row(f"{STREAMS} streams over {ADAPTERS} adapters of {name}: bfloat16", "tokens/s",
                        [one[kind] for one in beside], [one["none"] for one in beside], "graft, the base alone",
                        required)

    def warm_many(port):
        for name in ("few", "many"):
            load.seconds(port, dialects[name], take(prompts, MANY), 1, IN_FLIGHT)  # all are resident from now on

    many = measure("graft bfloat16 1000 adapters", lambda port: serving.graft_command(port, "bfloat16"), repetitions,
                   force, warm_many,
                   lambda port: {kind: decode(port, dialects[kind], prompts, IN_FLIGHT, 4 * IN_FLIGHT)
                                 for kind in ("few", "many")})
    yield Row(f"{IN_FLIGHT} in flight over {MANY} resident adapters of {SMALL}: bfloat16", "tokens/s",
                    [one["many"] for one in many], [one["few"] for one in many], f"graft, {FEW} adapters", 0.95)
