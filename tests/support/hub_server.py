"""A hub in miniature that speaks the parts of Hugging Face's protocol that clients of models use.

    python hub_server.py FOLDER

FOLDER/org/name/REVISION/... are repositories; the commit of a revision is a digest of its files. Prints one line,
{"url": ..., "cdn": ...}, and ends when its standard input does. Large files (.safetensors, .bin, .gguf) are served by
the second address, under another host name, as the real hub does.

Beside the protocol:
    GET  /_log                                     the requests so far, as JSON; empties the list
    POST /_fault  {"path": regex, "times": n, ...}  what to do to requests that match, n times:
         "status": 503, "headers": {...}, "message"  answer so
         "cut_after": bytes                          end the connection within the body
         "flip": true                                change a byte of the body
         "extra": bytes                              send more than the file has
         "no_ranges": true                           ignore Range
         "size": n                                   claim this size
         "location": url                             redirect there
    POST /_fault  {"clear": true}                    nothing more
"""

import hashlib
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

ROOT = Path(sys.argv[1])
TOKEN = "hf_secret"
LARGE = (".safetensors", ".bin", ".gguf")
lock = threading.Lock()
log: list[dict] = []
faults: list[dict] = []
addresses: dict[str, str] = {}


def files_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def commit_of(folder: Path) -> str:
    digest = hashlib.sha1()
    for name in files_of(folder):
        digest.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def etag_of(path: Path) -> str:
    data = path.read_bytes()
    if path.name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def find_revision(repo: Path, revision: str) -> Path | None:
    for folder in sorted(repo.iterdir()):
        if revision in (folder.name, commit_of(folder)):
            return folder
    return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with lock:
            fault = json.loads(body)
            faults[:] = [] if fault.get("clear") else faults + [fault]
        self.answer(200, b"{}")

    def do_HEAD(self):
        self.handle_request()

    def do_GET(self):
        if self.path == "/_log":
            with lock:
                seen, log[:] = list(log), []
            return self.answer(200, json.dumps(seen).encode())
        self.handle_request()

    def handle_request(self):
        self.url = urlparse(self.path)
        path = unquote(self.url.path)
        cdn = self.server.is_cdn
        fault = self.take_fault(path)
        with lock:
            log.append({"method": self.command, "path": path, "cdn": cdn, "range": self.headers.get("Range"),
                        "authorization": self.headers.get("Authorization")})
        if "status" in fault:
            message = fault.get("message", "")
            return self.answer(fault["status"], json.dumps({"error": message}).encode(), fault.get("headers", {}))
        if "location" in fault:
            return self.answer(302, b"", {"Location": fault["location"]})
        if cdn:
            if self.headers.get("Authorization") is not None:
                return self.answer(400, b"a token does not belong here")
            return self.send_file(ROOT / path.removeprefix("/cdn/"), {}, fault)
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        if match:
            return self.with_repo(match[1], match[2] or "main", self.list_files)
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if match:
            return self.with_repo(match[1], match[2], lambda folder: self.resolve(folder, match[3], fault))
        self.answer(404, b"")

    def take_fault(self, path: str) -> dict:
        with lock:
            for fault in faults:
                if fault["times"] > 0 and re.search(fault["path"], path) and fault.get("method", self.command) == self.command:
                    fault["times"] -= 1
                    return fault
        return {}

    def with_repo(self, repo: str, revision: str, act):
        authorization = self.headers.get("Authorization")
        if authorization not in (None, "Bearer " + TOKEN):
            return self.answer(401, b'{"error": "Invalid credentials in Authorization header"}',
                               {"X-Error-Message": "Invalid credentials in Authorization header"})
        private = repo.endswith("-private") and authorization is None
        if private or not (ROOT / repo).is_dir():
            return self.answer(401 if authorization is None else 404, b'{"error": "Repository not found"}',
                               {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        if repo.endswith("-gated") and authorization is None:
            return self.answer(401, b"", {"X-Error-Code": "GatedRepo",
                                          "X-Error-Message": f"Access to model {repo} is restricted."})
        folder = find_revision(ROOT / repo, revision)
        if folder is None:
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound",
                                          "X-Error-Message": f"Invalid rev id: {revision}"})
        act(folder)

    def list_files(self, folder: Path):
        siblings = [{"rfilename": name} for name in files_of(folder)]
        repo = str(folder.parent.relative_to(ROOT))
        self.answer(200, json.dumps({"id": repo, "sha": commit_of(folder), "siblings": siblings}).encode())

    def resolve(self, folder: Path, name: str, fault: dict):
        path = folder / name
        commit = {"X-Repo-Commit": commit_of(folder)}
        if not path.is_file():
            return self.answer(404, b"", commit | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        etag = f'"{etag_of(path)}"'
        if not name.endswith(LARGE):
            return self.send_file(path, commit | {"ETag": etag}, fault)
        size = fault.get("size", path.stat().st_size)
        self.answer(302, b"", commit | {"X-Linked-Etag": etag, "X-Linked-Size": str(size), "ETag": '"of-the-redirect"',
                                        "Location": f"{addresses['cdn']}/cdn/{path.relative_to(ROOT)}?signature=1"})

    def send_file(self, path: Path, headers: dict, fault: dict):
        data = path.read_bytes()
        wanted = None if fault.get("no_ranges") else re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        status = 200
        if wanted:
            begin, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
            if begin >= len(data):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            headers |= {"Content-Range": f"bytes {begin}-{min(last, len(data) - 1)}/{len(data)}"}
            data, status = data[begin:last + 1], 206
        if fault.get("flip"):
            data = data[:-1] + bytes([data[-1] ^ 1])
        data += b"x" * fault.get("extra", 0)
        self.answer(status, data, headers | {"Accept-Ranges": "bytes"}, fault.get("cut_after"))

    def answer(self, status: int, body: bytes, headers: dict | None = None, cut_after: int | None = None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body if cut_after is None else body[:cut_after])
        if cut_after is not None:
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    is_cdn = False


def main():
    hub, cdn = Server(("127.0.0.1", 0), Handler), Server(("127.0.0.1", 0), Handler)
    cdn.is_cdn = True
    addresses.update(url=f"http://127.0.0.1:{hub.server_port}", cdn=f"http://localhost:{cdn.server_port}")
    for server in (hub, cdn):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps(addresses), flush=True)
    sys.stdin.read()


main()
