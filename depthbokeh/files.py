"""Files that users name: errors told in words, and writing completely or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


class PhotoError(ValueError):
    """A photo, map or output file that cannot be used, told in words for the user."""


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Give a file beside `path` to write to, which takes its place on success and is removed on failure.

    Args:
        path: The file to create.
        overwrite: Whether an existing file is replaced.

    Yields:
        Path of an empty file in the same folder with the same suffix.

    Raises:
        PhotoError: If the file exists and is not to be replaced, or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_path(f"{folder}/note.txt", overwrite=False) as temporary:
        ...         _ = temporary.write_text("whole")
        ...     Path(folder, "note.txt").read_text()
        'whole'
    """
    path = Path(path)
    _check_target(path, overwrite)
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        _check_target(path, overwrite)  # somebody else may have been quicker
        os.replace(temporary, path)
    except OSError as error:
        raise PhotoError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def open_stream(path: Path) -> IO[bytes]:
    """Open a file for reading; a failure names it."""
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise PhotoError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise PhotoError(f"{path}: is a folder, expected a file name")
    if not path.parent.is_dir():
        raise PhotoError(f"{path}: cannot be written, the folder {path.parent} does not exist")
    if os.path.lexists(path) and not overwrite:
        raise PhotoError(f"{path}: exists already and overwriting was not asked for")
