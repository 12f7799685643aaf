"""Requests to a server, polite and rude, and what may be answered to them."""

import contextlib
import http.client
import json
import socket
import struct


class Wrong(AssertionError):
    """The server did what its documentation does not allow."""


# docs/http-api.md: status -> error types, of LoRAX's routes and of OpenAI's.
LORAX_ERRORS = {400: {"validation"}, 404: {"not_found"}, 413: {"validation"}, 422: {"validation", "template_error"},
                424: {"generation"}, 429: {"overloaded"}, 504: {"timeout"}}
OPENAI_ERRORS = {400: {"invalid_request_error"}, 404: {"invalid_request_error"}, 413: {"invalid_request_error"},
                 429: {"rate_limit_error"}, 504: {"server_error"}}


def error_of(path: str, status: int, body: bytes) -> str:
    """"429 overloaded" of a documented refusal; anything else is Wrong."""
    allowed = OPENAI_ERRORS if path.startswith("/v1/") else LORAX_ERRORS
    try:
        answer = json.loads(body)
        kind = answer["error"]["type"] if path.startswith("/v1/") else answer["error_type"]
    except (ValueError, KeyError, TypeError) as problem:
        raise Wrong(f"{path} answered {status} without an error object: {body[:200]!r}") from problem
    if kind not in allowed.get(status, ()):
        raise Wrong(f"{path} answered {status} {kind}, which is not documented: {body[:200]!r}")
    return f"{status} {kind}"


class Endpoint:
    def __init__(self, port: int, timeout: float = 120):
        self.port = port
        self.timeout = timeout

    def send(self, path: str, body=None, headers=None):
        """(status, headers, body) of one exchange on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)) as connection:
            if body is None:
                connection.request("GET", path, headers=headers or {})
            else:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                connection.request("POST", path, data, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def events(self, path: str, body):
        """Payloads of a stream; a refusal with a status of its own is given as the one string "429 overloaded"."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)) as connection:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                return error_of(path, response.status, response.read())
            return [line[len(b"data: "):].decode() for line in response.read().split(b"\n") if line.startswith(b"data: ")]

    def raw(self, receive_buffer: int = 0) -> socket.socket:
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(self.timeout)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def metric(self, name: str) -> float:
        _, _, text = self.send("/metrics")
        for line in text.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise Wrong(f"/metrics has no {name}")


def reset(connection: socket.socket):
    """Ends a connection with a RST, as a killed client's kernel does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def http_bytes(path: str, body: bytes, length=None) -> bytes:
    return (f"POST {path} HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body) if length is None else length}\r\n\r\n").encode() + body
