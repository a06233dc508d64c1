"""What a malformed or hostile input is to the tests: a file, its reader, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Reader = Literal["photo", "map", "checkpoint"]

# What code in a checkpoint or an array would do; the tests look for the file that it makes.
PAYLOAD = "touch pwned"


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: Unlike all others; ends like the file, whose name it is.
        reader: Who is asked to read it.
        content: The file's bytes, or a function that makes the file at a path.
        bomb: Whether it must be read where memory and time are limited.
    """

    name: str
    reader: Reader
    content: bytes | Callable[[Path], object]
    bomb: bool = False

    def write(self, folder: Path) -> Path:
        """Makes the file; returns its path."""
        path = folder / self.name
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content)
        return path


def truncate(name: str, reader: Reader, content: bytes, kept: Iterable[float]) -> list[Case]:
    """The beginnings of a sound file."""
    stem, dot, suffix = name.rpartition(".")
    return [
        Case(f"{stem}_cut_at_{part:g}{dot}{suffix}", reader, content[: max(1, int(len(content) * part))])
        for part in kept
    ]
