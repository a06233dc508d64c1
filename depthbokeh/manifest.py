"""What became of every photo of a long run, a line of JSON for each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .files import PhotoError

NAME = "manifest.jsonl"


class Manifest:
    """The file ``manifest.jsonl`` of a folder: first the settings, then what became of every photo.

    Lines are appended and written through at once, so that a run that is killed loses at most the last, torn line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        last = _read_last_byte(path)
        self._stream = path.open("a", encoding="utf-8")
        if last not in (b"", b"\n"):  # a torn line must not swallow the next
            self._stream.write("\n")

    @classmethod
    @contextmanager
    def open(cls, folder: Path, settings: Mapping[str, Any], *, overwrite: bool) -> Iterator[Manifest]:
        """Go on with the folder's manifest, or begin it.

        Args:
            folder: An existing folder.
            settings: What the photos are rendered with, as JSON can say it.
            overwrite: Whether a manifest of other settings is begun anew.

        Raises:
            PhotoError: If the folder holds photos rendered with other settings, or cannot be written.
        """
        path = folder / NAME
        settings = json.loads(json.dumps(settings))
        try:
            earlier = next(read_manifest(path), None)
            if earlier is not None and earlier != {"settings": settings}:
                if not overwrite:
                    raise PhotoError(
                        f"{path}: the folder was rendered with other settings ({_compare(earlier, settings)}); "
                        "expected another folder, the same settings, or --overwrite"
                    )
                earlier = None
                path.unlink()
            manifest = cls(path)
            if earlier is None:
                manifest.write({"settings": settings})
        except OSError as error:
            raise PhotoError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            yield manifest
        finally:
            with suppress(OSError):  # what could not be written is told of already
                manifest._stream.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            PhotoError: If it cannot be written, perhaps for want of space.
        """
        try:
            self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._stream.flush()
        except OSError as error:
            raise PhotoError(f"{self._path}: cannot be written: {error.strerror}") from error


def read_manifest(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a manifest; what a killed run left of a line is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for text in stream:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


def _read_last_byte(path: Path) -> bytes:
    if not path.exists() or path.stat().st_size == 0:
        return b""
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read()


def _compare(earlier: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    before = earlier.get("settings")
    before = before if isinstance(before, dict) else {}
    names = [name for name in settings if before.get(name) != settings[name]]
    return ", ".join(f"{name} {before.get(name)!r}, now {settings[name]!r}" for name in names[:3])
