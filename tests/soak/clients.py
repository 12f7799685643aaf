"""What clients do. Each function is one visit to the server: it returns what came of it in a word or two, which is
counted, or raises Wrong. Whatever was answered in full is compared with the same request's answer on an idle server,
tokens and logprobs, bit for bit."""

import json
import random
import time

from tests.soak import adapters
from tests.soak.endpoint import Endpoint, Wrong, error_of, http_bytes, reset

PROMPTS = ("The three primary colours are", "Once upon a time there was a small engine that " * 6,
           "List of things to pack for a long walk in the mountains in autumn:\n1." + " a warm hat," * 40)
TOKENS = 24


def native_body(prompt: str, adapter: str = "", tokens: int = TOKENS) -> dict:
    return {"inputs": prompt, "parameters": {"max_new_tokens": tokens, "adapter_id": adapter or None, "temperature": 0,
                                             "details": True, "ignore_eos_token": True}}


def generate(endpoint: Endpoint, prompt: str, adapter: str):
    """(tokens with their logprobs, None) or (None, "429 overloaded")."""
    status, headers, body = endpoint.send("/generate", native_body(prompt, adapter))
    if status != 200:
        if status == 429 and not headers.get("Retry-After"):
            raise Wrong("429 without Retry-After")
        return None, error_of("/generate", status, body)
    details = json.loads(body)["details"]
    return [(token["id"], token["logprob"]) for token in details["tokens"]], None


class Clients:
    def __init__(self, endpoint: Endpoint, references: dict):
        self.endpoint = endpoint
        self.references = references  # (prompt, adapter) -> tokens with logprobs
        self.stable = sorted({adapter for _, adapter in references})

    def _pick(self, rng: random.Random):
        return rng.choice(PROMPTS), rng.choice(self.stable)

    def _same(self, got, prompt: str, *names: str):
        if not any(got == self.references[prompt, name] for name in names):
            raise Wrong(f"the answer of {'/'.join(names)} is not what it was on an idle server: {got[:4]}...")

    def native(self, rng):
        prompt, adapter = self._pick(rng)
        tokens, refused = generate(self.endpoint, prompt, adapter)
        if tokens is None:
            return self._only(refused, "429 overloaded")
        self._same(tokens, prompt, adapter)
        return "answered"

    @staticmethod
    def _only(refused: str, *allowed: str) -> str:
        if refused not in allowed:
            raise Wrong(f"refused with {refused} where only {allowed} may be")
        return refused

    def native_stream(self, rng):
        prompt, adapter = self._pick(rng)
        events = self.endpoint.events("/generate_stream", native_body(prompt, adapter))
        if isinstance(events, str):
            return self._only(events, "429 overloaded")
        parsed = [json.loads(event) for event in events]
        if "error_type" in parsed[-1]:
            return self._only("event " + parsed[-1]["error_type"], "event overloaded")
        if parsed[-1]["generated_text"] is None:
            raise Wrong("a native stream ended without generated_text")
        self._same([(event["token"]["id"], event["token"]["logprob"]) for event in parsed], prompt, adapter)
        return "answered"

    def openai_chat(self, rng):
        _, adapter = self._pick(rng)
        status, _, body = self.endpoint.send("/v1/chat/completions", {
            "model": adapter, "max_tokens": TOKENS, "seed": rng.randrange(1000), "temperature": 1.1,
            "messages": [{"role": "user", "content": rng.choice(PROMPTS)}]})
        if status != 200:
            return self._only(error_of("/v1/chat/completions", status, body), "429 rate_limit_error")
        if json.loads(body)["choices"][0]["finish_reason"] not in ("stop", "length"):
            raise Wrong(f"finish_reason of {body[:300]!r}")
        return "answered"

    def openai_stream(self, rng):
        prompt, adapter = self._pick(rng)
        events = self.endpoint.events("/v1/completions", {
            "model": adapter, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "stream": True,
            "n": 1 + rng.randrange(2)})
        if isinstance(events, str):
            return self._only(events, "429 rate_limit_error")
        if events[-1] != "[DONE]":
            raise Wrong(f"an OpenAI stream ended with {events[-1]}")
        return "answered"

    def hangs_up(self, rng):
        """Mid-stream, before the first byte, or while the prompt is computed."""
        prompt, adapter = self._pick(rng)
        connection = self.endpoint.raw()
        connection.sendall(http_bytes("/generate_stream", json.dumps(native_body(prompt, adapter, 200)).encode()))
        if rng.random() < 0.6:
            connection.recv(rng.choice((1, 300, 3000)))
        time.sleep(rng.random() * 0.3)
        (reset if rng.random() < 0.5 else type(connection).close)(connection)
        return "left"

    def stalls(self, rng):
        """Reads nothing for a while, then leaves or reads the rest."""
        prompt, adapter = self._pick(rng)
        connection = self.endpoint.raw(receive_buffer=4096)
        try:
            connection.sendall(http_bytes("/generate_stream", json.dumps(native_body(prompt, adapter, 120)).encode()))
            time.sleep(1 + 3 * rng.random())
            if rng.random() < 0.5:
                return "left"
            text = b""
            while b"\r\n0\r\n\r\n" not in text and b'"error_type"' not in text:
                piece = connection.recv(65536)
                if not piece:
                    raise Wrong(f"a stalled reader's stream was cut: {text[-200:]!r}")
                text += piece
            return "read on"
        finally:
            connection.close()

    def half_request(self, rng):
        body = json.dumps(native_body(PROMPTS[0])).encode()
        whole = http_bytes("/generate", body)
        connection = self.endpoint.raw()
        connection.sendall(whole[:rng.randrange(1, len(whole))])
        time.sleep(rng.random() * 0.5)
        connection.close()
        return "left"

    def garbage(self, rng):
        """Bytes that are no HTTP: an error or an end, at once or when we close our side."""
        connection = self.endpoint.raw()
        try:
            connection.sendall(rng.randbytes(rng.choice((1, 50, 5000))) + b"\r\n\r\n")
            connection.shutdown(1)
            answer = connection.recv(4096)
        except ConnectionError:
            return "cut"
        finally:
            connection.close()
        if answer and not answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")):
            raise Wrong(f"garbage was answered with {answer[:100]!r}")
        return "4xx" if answer else "cut"

    def bad_json(self, rng):
        path = rng.choice(("/generate", "/v1/completions", "/v1/chat/completions", "/", "/tokenize"))
        body = rng.choice((b"", b"{", b"[1,2", b"\xff\xfe", b'{"inputs": "\\ud800"}', b'{"inputs": 5, "model": 5}',
                           b'{"inputs": ""}', b"[" * 5000, b'{"model":"","messages":[],"prompt":[]}', b"null"))
        status, _, answer = self.endpoint.send(path, body)
        if (path, body) == ("/tokenize", b'{"inputs": ""}'):
            return self._only(str(status), "200")  # no text has no tokens
        return error_of(path, status, answer)

    def over_limits(self, rng):
        parameters = rng.choice(({"max_new_tokens": 100_000}, {"max_new_tokens": 0}, {"best_of": 9, "do_sample": True},
                                 {"stop": ["a"] * 9}, {"top_p": 7}, {"top_k": 0}, {"temperature": -1},
                                 {"return_k_alternatives": 10_000}, {"typical_p": 2}, {"seed": -1}))
        inputs = PROMPTS[0] if rng.random() < 0.8 else PROMPTS[0] * 2000
        status, _, answer = self.endpoint.send("/generate", {"inputs": inputs, "parameters": parameters})
        return self._only(error_of("/generate", status, answer), "422 validation", "400 validation", "429 overloaded")

    def over_size(self, rng):
        """A header or a body that the server does not read to its end."""
        connection = self.endpoint.raw()
        try:
            if rng.random() < 0.5:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: soak\r\nX-Long: " + b"x" * 40_000 + b"\r\n\r\n")
            else:
                connection.sendall(http_bytes("/generate", b"{", length=64 << 20))
            answer = connection.recv(4096)
        except ConnectionError:
            return "cut"
        finally:
            connection.close()
        if not answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 431", b"HTTP/1.1 400")):
            raise Wrong(f"an oversized request was answered with {answer[:100]!r}")
        return answer[9:12].decode()

    def corrupt_adapter(self, rng):
        name = rng.choice((*adapters.CORRUPT, "never-was"))
        if rng.random() < 0.5:
            tokens, refused = generate(self.endpoint, PROMPTS[0], name)
            if tokens is not None:
                raise Wrong(f"the adapter {name} was served")
            return self._only(refused, "424 generation", "429 overloaded")
        status, _, body = self.endpoint.send("/v1/completions", {"model": name, "prompt": "a", "max_tokens": 4})
        if status == 200:
            raise Wrong(f"the adapter {name} was served")
        return self._only(error_of("/v1/completions", status, body), "400 invalid_request_error",
                          "404 invalid_request_error", "429 rate_limit_error")

    def changing_adapter(self, rng):
        prompt = rng.choice(PROMPTS)
        tokens, refused = generate(self.endpoint, prompt, adapters.CHANGING)
        if tokens is None:
            return self._only(refused, "429 overloaded")
        self._same(tokens, prompt, *adapters.VERSIONS)
        return "answered"

    def vanishing_adapter(self, rng):
        prompt = rng.choice(PROMPTS)
        tokens, refused = generate(self.endpoint, prompt, adapters.VANISHING)
        if tokens is None:
            return self._only(refused, "424 generation", "429 overloaded")
        self._same(tokens, prompt, adapters.VERSIONS[0])
        return "answered"

    def deadline(self, rng):
        prompt, adapter = self._pick(rng)
        status, _, body = self.endpoint.send("/generate", native_body(prompt, adapter, 200),
                                             {"x-request-timeout-ms": str(rng.choice((1, 50, 500)))})
        if status == 200:
            return "answered in part"
        return self._only(error_of("/generate", status, body), "504 timeout", "429 overloaded")

    def visits(self) -> dict:
        """Visit -> how often, relatively."""
        return {self.native: 6, self.native_stream: 5, self.openai_chat: 3, self.openai_stream: 3, self.hangs_up: 4,
                self.stalls: 2, self.half_request: 2, self.garbage: 1, self.bad_json: 2, self.over_limits: 2,
                self.over_size: 1, self.corrupt_adapter: 2, self.changing_adapter: 3, self.vanishing_adapter: 2,
                self.deadline: 2}
