"""The app in a process of its own, as a user starts it, and a browser for it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

# A processor may be shared by many.
PATIENCE_S = 120
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class AppServer:
    """A running app: its address, its process, the folder for its temporary files, and what it says."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path
    log: Path


@contextmanager
def run_app(folder: Path) -> Iterator[AppServer]:
    """Starts the app on a free port with a folder of its own for temporary files, and ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log, temporary = folder / "app.log", folder / "temporary"
    temporary.mkdir()
    # A closed page is noticed at the next heartbeat.
    settings = {"TMPDIR": str(temporary), "GRADIO_HEARTBEAT_INTERVAL": "0.5"}
    command = [sys.executable, "-m", "depthbokeh.cli", "--offline", "app", "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, **settings})
    try:
        wait_until(lambda: b"Ctrl-C" in log.read_bytes() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield AppServer(f"http://127.0.0.1:{port}/", process, temporary, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()


class Program:
    """Somebody who uses the app by a program, over HTTP, as its pages do."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._key = secrets.token_hex(8)
        endpoints = json.loads(self._ask("config"))["dependencies"]
        self._numbers = {endpoint["api_name"]: endpoint["id"] for endpoint in endpoints}

    def upload(self, name: str, content: bytes) -> dict[str, object]:
        """Uploads a file; returns what stands for it."""
        border = secrets.token_hex(16)
        head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = b"".join([head.encode(), content, f"\r\n--{border}--\r\n".encode()])
        (path,) = json.loads(self._ask("gradio_api/upload", body, f"multipart/form-data; boundary={border}"))
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def call(self, endpoint: str, *values: object) -> list[object]:
        """Has an event done; returns the new values."""
        event = {"data": values, "fn_index": self._numbers[endpoint], "session_hash": self._key}
        self._ask("gradio_api/queue/join", json.dumps(event).encode(), "application/json")
        with self._open(f"gradio_api/queue/data?session_hash={self._key}") as stream:
            # To its end, lest the next call's messages go to this stream.
            messages = [json.loads(line.removeprefix(b"data: ")) for line in stream if line.startswith(b"data: ")]
        (done,) = (message for message in messages if message["msg"] == "process_completed")
        assert done["success"], done
        return done["output"]["data"]

    def fetch(self, file: dict[str, str]) -> bytes:
        """The content of a file that an event made."""
        return self._ask(f"gradio_api/file={file['path']}")

    def _ask(self, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        with self._open(path, body, kind) as answer:
            return answer.read()

    def _open(self, path: str, body: bytes | None = None, kind: str = ""):
        headers = {"Content-Type": kind} if body is not None else {}
        return _DIRECT.open(urllib.request.Request(self._url + path, body, headers), timeout=PATIENCE_S)


def wait_until(is_so, patience_s: float = PATIENCE_S) -> None:
    """Waits for something to become so; fails if it does not."""
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def require(what: str, has: bool) -> None:
    """Skips the module where something is missing; fails in continuous integration, which must have it."""
    if not has:
        if os.environ.get("CI"):
            pytest.fail(f"{what} is missing, which continuous integration must have")
        pytest.skip(f"{what} is missing")


def find_browser() -> str | None:
    """The browser that is installed; playwright's own cannot be had everywhere."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
