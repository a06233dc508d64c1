"""A web server for tests, on this machine, that misbehaves on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server serves, how it fails, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # the next replies end after so many bytes
    statuses: list[int] = field(default_factory=list)  # of the next replies, before it serves again
    ranges: bool = True
    wrong_ranges: bool = False
    states_length: bool = True
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Range
    url: str = ""


@contextmanager
def serve() -> Iterator[Site]:
    """Serves until the block ends."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    server.daemon_threads = False  # closing waits for them, and nothing is left open
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_HEAD(self) -> None:
        self._reply(body=False)

    def do_GET(self) -> None:
        self._reply(body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _reply(self, body: bool) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.requests.append((self.command, self.path, wanted))
        if site.statuses:
            self.send_error(site.statuses.pop(0))
            return
        if self.path not in site.files:
            self.send_error(404)
            return
        content = site.files[self.path]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.ranges else 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            shown = start // 2 if site.wrong_ranges else start
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        if site.states_length:
            self.send_header("Content-Length", str(len(content) - start))
        for header in site.headers.items():
            self.send_header(*header)
        self.end_headers()
        if body:
            self.wfile.write(content[start : start + site.cuts.pop(0)] if site.cuts else content[start:])
