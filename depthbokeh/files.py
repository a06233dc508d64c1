"""Files that users name: errors told in words, and writing completely or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
MAP_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".pfm", ".exr", ".jpg", ".jpeg", ".webp")
"""Those that lose nothing come first."""


class PhotoError(ValueError):
    """A photo, map or output file that cannot be used, told in words for the user.

    Example:
        >>> from depthbokeh.photo import read_photo
        >>> read_photo("nothing.jpg")
        Traceback (most recent call last):
        depthbokeh.files.PhotoError: nothing.jpg: cannot be read: No such file or directory
    """


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


def find_map(folder: Path, photo: str | os.PathLike[str]) -> Path:
    """Return the file of a photo's name, with an ending of its own, in a folder of disparity maps or masks.

    Args:
        folder: Where to look.
        photo: The photo's path or name.

    Raises:
        PhotoError: If there is none.
    """
    stem = Path(photo).stem
    for suffix in MAP_SUFFIXES:
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            return path
    raise PhotoError(f"{folder}: holds no map for {Path(photo).name} ({stem} with {', '.join(MAP_SUFFIXES)})")


def open_stream(path: Path) -> IO[bytes]:
    """Open a file for reading; a failure names it, and a pipe, whose writer may never come, is one."""
    try:
        mode = path.stat().st_mode
        stream = path.open("rb") if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise PhotoError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error
    if stream is None:
        raise PhotoError(f"{path}: a pipe or a device, expected a file")
    return stream


def describe_error(error: Exception) -> str:
    r"""What a decoder says of a file it cannot read, in one line.

    Example:
        >>> describe_error(ValueError("too short\nsee the manual")), describe_error(KeyError(7))
        ('too short', 'broken (KeyError)')
    """
    lines = str(error).splitlines()
    if not lines or isinstance(error, LookupError | TypeError | AttributeError | struct.error):
        return f"broken ({type(error).__name__})"  # its own words are for its authors
    return lines[0]


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise PhotoError(f"{path}: is a folder, expected a file name")
    if not path.parent.is_dir():
        raise PhotoError(f"{path}: cannot be written, the folder {path.parent} does not exist")
    if os.path.lexists(path) and not overwrite:
        raise PhotoError(f"{path}: exists already and overwriting was not asked for")
