"""A hub of the tests' own: so much of the Hugging Face hub's API as fetching a model needs."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LATER_COMMIT = "d00d00" + "0" * 34
HUB_ID = "ships/tiny"
SUFFIX = ".safetensors"


class Hub(ThreadingHTTPServer):
    """One model, `HUB_ID`, whose files are those of a directory."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.directory = directory
        self.commit = COMMIT
        self.gated = False
        self.sizes: dict[str, int] = {}
        """What it says of files instead of their own sizes."""
        self.stall_after_bytes: int | None = None
        """Where the next download of weights stands still, once."""
        self.stalled = Event()
        self.asked: list[tuple[str, str, str]] = []
        """(method, path, Range) of every request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self) -> Iterator[tuple[str, bytes]]:
        for path in sorted(self.directory.rglob("*")):
            if path.is_file():
                yield path.relative_to(self.directory).as_posix(), path.read_bytes()

    def info(self) -> dict[str, Any]:
        siblings = []
        for name, content in self.files():
            entry: dict[str, Any] = {"rfilename": name, "size": self.sizes.get(name, len(content))}
            if name.endswith((".safetensors", ".bin")):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        card = {"license": "apache-2.0"}
        return {"id": HUB_ID, "sha": self.commit, "siblings": siblings, "cardData": card}

    def weights_ranges(self) -> list[str]:
        """The ranges that were asked for of the weights, in order."""
        return [r for method, path, r in self.asked if method == "GET" and path.endswith(SUFFIX)]


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        asked_range = self.headers.get("Range", "")
        self.server.asked.append((self.command, path, asked_range))
        known = {"main", COMMIT, LATER_COMMIT}
        api, resolve = f"/api/models/{HUB_ID}", f"/{HUB_ID}/resolve/"
        if self.server.gated:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body=body)
        elif path == api or path.startswith(f"{api}/revision/"):
            revision = path.removeprefix(api).removeprefix("/revision/") or "main"
            if revision not in known:
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
                return
            info = self.server.info()
            if revision != "main":
                info["sha"] = revision
            self._send(200, json.dumps(info).encode(), {}, body=body)
        elif path.startswith(resolve):
            commit, _, name = path.removeprefix(resolve).partition("/")
            self._send_file(commit, name, asked_range, body=body)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)

    def _send_file(self, commit: str, name: str, asked_range: str, *, body: bool) -> None:
        content = dict(self.server.files())[name]
        tag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        status, start = 200, 0
        if asked_range:
            start = int(asked_range.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status = 206
        stall = self.server.stall_after_bytes if body and name.endswith(SUFFIX) else None
        if stall is not None:
            self.server.stall_after_bytes = None
        self._send(status, content[start:], headers, body=body, stall=stall)

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str],
        *,
        body: bool,
        stall: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content[:stall])
        if stall is not None:
            self.wfile.flush()
            self.server.stalled.set()
            with suppress(OSError):
                self.rfile.read(1)  # until who asked has gone
            self.close_connection = True


@contextmanager
def hub_running(directory: Path) -> Iterator[Hub]:
    """A hub that serves this directory's files."""
    hub = Hub(directory)
    thread = Thread(target=hub.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
