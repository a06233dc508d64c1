"""What may be uploaded, and what is said of the rest. Messages name the file as its owner does, never a path."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from ..files import PhotoError
from ..maps import read_disparity, read_mask
from ..photo import Photo, read_photo

MAX_MEGABYTES = 100
MAX_MEGAPIXELS = 64
MIN_SIDE = 32
_LONGEST_NAME = 60


def clean_name(name: str) -> str:
    r"""The last part of a file's name, without what is not printable, and not too long to be told.

    Example:
        >>> clean_name("../../etc/pass\x1bwd.jpg"), clean_name("C:\\photos\\cat.png"), clean_name("..")
        ('passwd.jpg', 'cat.png', 'photo')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    last = "".join(sign for sign in last if sign.isprintable()).strip().lstrip(".")
    stem, suffix = Path(last).stem, Path(last).suffix
    return f"{stem[:_LONGEST_NAME]}{suffix[:10]}" if last else "photo"


def open_photo(path: Path, name: str) -> Photo:
    """Reads an uploaded photo.

    Args:
        path: Where it lies.
        name: What its owner calls it.

    Raises:
        PhotoError: It is no photo, or larger or smaller than what is taken.
    """
    data = _read(path, name)
    if _is_animated(data):
        raise PhotoError(f"{name}: an animation, expected a photo")
    photo = read_photo(Path(name), max_pixels=MAX_MEGAPIXELS * 1_000_000, data=data)
    height, width = photo.image.shape[2:]
    if min(height, width) < MIN_SIDE:
        raise PhotoError(f"{name}: {width} x {height} pixels, expected at least {MIN_SIDE} on each side")
    return photo


def open_mask(path: Path, name: str, size: tuple[int, int]) -> Tensor:
    """Reads an uploaded mask at a size ``(height, width)``; raises like :func:`open_photo`."""
    return _rename(lambda: read_mask(path, size), path, name)


def open_disparity(path: Path, name: str, size: tuple[int, int]) -> Tensor:
    """Reads an uploaded disparity map at a size ``(height, width)``; raises like :func:`open_photo`."""
    return _rename(lambda: read_disparity(path, size), path, name)


def _read(path: Path, name: str) -> bytes:
    size = path.stat().st_size
    if size > MAX_MEGABYTES * 1_000_000:
        raise PhotoError(f"{name}: {size / 1e6:.0f} megabytes, expected at most {MAX_MEGABYTES}")
    return path.read_bytes()


def _rename(read: Callable[[], Tensor], path: Path, name: str) -> Tensor:
    """Reads a map, whose errors then name it as its owner does."""
    _check_pixels(_read(path, name), name)
    try:
        return read()
    except PhotoError as error:
        raise PhotoError(str(error).replace(str(path), name)) from error


def _check_pixels(data: bytes, name: str) -> None:
    """Refuses a picture whose header claims too many pixels; other kinds of maps are no larger than their files."""
    from PIL import Image

    with warnings.catch_warnings(), suppress(OSError, SyntaxError):  # the reader tells what is wrong with it
        warnings.simplefilter("ignore")
        try:
            width, height = Image.open(io.BytesIO(data)).size
        except Image.DecompressionBombError as error:
            raise PhotoError(f"{name}: far too many pixels, expected at most {MAX_MEGAPIXELS} million") from error
        if width * height > MAX_MEGAPIXELS * 1_000_000:
            raise PhotoError(f"{name}: {width} x {height} pixels, expected at most {MAX_MEGAPIXELS} million")


def _is_animated(data: bytes) -> bool:
    """Whether a WebP or PNG says that it moves."""
    if data[:4] == b"RIFF" and data[12:16] == b"VP8X":
        return bool(data[20:21] and data[20] & 2)
    return data[:4] == b"\x89PNG" and b"acTL" in data[: max(0, data.find(b"IDAT"))]
