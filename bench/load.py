"""A load generator for engines: the same client, prompts and counts for graft and for its peers."""

import concurrent.futures
import dataclasses
import http.client
import json
import time


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How an engine wants a greedy completion of exactly `count` tokens asked for."""

    path: str
    body: object  # (prompt, count) -> dict
    generated: object  # parsed answer, headers -> number of generated tokens


GRAFT = Dialect(
    path="/generate",
    body=lambda prompt, count: {"inputs": prompt, "parameters": {
        "max_new_tokens": count, "ignore_eos_token": True, "temperature": 0}},
    generated=lambda answer, headers: int(headers["x-generated-tokens"]),
)
LLAMA_CPP = Dialect(
    path="/completion",
    body=lambda prompt, count: {"prompt": prompt, "n_predict": count, "ignore_eos": True, "temperature": 0,
                                "top_k": 1, "cache_prompt": False},
    generated=lambda answer, headers: answer["tokens_predicted"],
)


def completion(connection, dialect: Dialect, prompt: str, count: int) -> None:
    connection.request("POST", dialect.path, json.dumps(dialect.body(prompt, count)),
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise SystemExit(f"error: {dialect.path} answered {response.status}: {text[:300]!r}")
    if (got := dialect.generated(json.loads(text), response.headers)) != count:
        raise SystemExit(f"error: {dialect.path} generated {got} tokens where {count} were asked for")


def seconds(port: int, dialect: Dialect, prompts: list, count: int, streams: int) -> float:
    """Wall-clock time in which `streams` clients together complete all prompts, each one prompt after the other."""

    def client(mine):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        try:
            for prompt in mine:
                completion(connection, dialect, prompt, count)
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(streams) as pool:
        start = time.perf_counter()
        for done in [pool.submit(client, prompts[number::streams]) for number in range(streams)]:
            done.result()
        return time.perf_counter() - start
