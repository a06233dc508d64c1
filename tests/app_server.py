"""The app in a process of its own, as a user starts it, and a browser for it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

# A processor may be shared by many.
PATIENCE_S = 12


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
