"""Downloading one file: interrupted downloads go on where they stopped, and the file appears whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
# Seconds before the next attempt; counted anew when an attempt has brought something.
_PAUSES_S = (1.0, 2.0, 4.0)
_PASSING = (408, 429, 500, 502, 503, 504)


class DownloadError(Exception):
    """Why a file could not be downloaded, for a message."""


@dataclass(frozen=True)
class _Reply:
    stream: http.client.HTTPResponse
    start: int  # where in the file the data begin
    total: int | None
    version: str  # changes with the file on the server


def download_file(
    url: str, path: Path, accept: Callable[[Path], None], *, report: Callable[[int, int | None], None] | None = None
) -> None:
    """Downloads a file, going on where an earlier attempt stopped.

    What has come lies beside `path` with the ending ``.partial`` until it is whole. Two processes must not download
    to the same path at once.

    Args:
        url: An HTTP or HTTPS address.
        path: Where the file is to lie; an existing file is replaced. Its folder is made.
        accept: Called with the whole file before it gets its name; if it raises, the file is deleted.
        report: Called with the bytes that are there and the file's size, if the server states it.

    Raises:
        DownloadError: The server cannot be reached, refuses, or sends less than it announces.
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pauses = iter(_PAUSES_S)
    while True:
        before = _partial_size(path)
        try:
            partial = _fetch(url, path, report)
            break
        except (URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            if _partial_size(path) > before:
                pauses = iter(_PAUSES_S)
            pause = next(pauses, None) if _may_pass(error) else None
            if pause is None:
                raise DownloadError(_describe(error)) from error
            time.sleep(pause)
    try:
        accept(partial)
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()


def hash_file(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "empty").write_bytes(b"")
        ...     hash_file(Path(folder, "empty"))[:16]
        'e3b0c44298fc1c14'
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def find_partials(path: Path) -> list[Path]:
    """Return what earlier attempts to download to `path` have left."""
    return sorted(path.parent.glob(f"{path.name}.*.partial"))


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keeps the hub's library from telling of every attempt at a connection: what fails is raised in the end."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _fetch(url: str, path: Path, report: Callable[[int, int | None], None] | None) -> Path:
    """Makes one attempt; returns the partial file once it is whole."""
    partials = find_partials(path)
    old = partials[0] if len(partials) == 1 else None
    reply = _ask(url, old.stat().st_size if old else 0)
    partial = path.with_name(f"{path.name}.{reply.version}.partial")
    if reply.start and partial != old:  # the file on the server is another one by now
        reply.stream.close()
        reply = _ask(url, 0)
    for other in find_partials(path):
        if other != partial:
            other.unlink()
    with reply.stream, partial.open("ab" if reply.start else "wb") as target:
        _copy(reply, target, report)
    return partial


def _copy(reply: _Reply, target: IO[bytes], report: Callable[[int, int | None], None] | None) -> None:
    size = reply.start
    while chunk := reply.stream.read(_CHUNK):
        target.write(chunk)
        size += len(chunk)
        if report:
            report(size, reply.total)
    if reply.total is not None and size != reply.total:
        raise http.client.IncompleteRead(b"", reply.total - size)


def _ask(url: str, start: int) -> _Reply:
    """Asks for a file from `start` on; the server may answer with all of it."""
    headers = {"User-Agent": "depthbokeh", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        stream: http.client.HTTPResponse = urlopen(Request(url, headers=headers), timeout=_TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if start and error.code == 416:  # there is no more, or the file has become shorter
            return _ask(url, 0)
        raise
    length = stream.headers.get("Content-Length")
    start = start if stream.status == 206 else 0
    if start and not stream.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        stream.close()
        return _ask(url, 0)
    total = start + int(length) if length and length.isdigit() else None
    stamp = f"{stream.headers.get('ETag')} {stream.headers.get('Last-Modified')} {total}"
    return _Reply(stream, start, total, hashlib.sha256(stamp.encode()).hexdigest()[:8])


def _partial_size(path: Path) -> int:
    return sum(partial.stat().st_size for partial in find_partials(path))


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may do better; without a network or with a wrong address none does."""
    if isinstance(error, HTTPError):
        return error.code in _PASSING
    return not (isinstance(error, URLError) and isinstance(error.reason, (socket.gaierror, ssl.SSLError)))


def _describe(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server answers {error.code} ({error.reason})"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection was cut"
    reason = error.reason if isinstance(error, URLError) else error
    return str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
