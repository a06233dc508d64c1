"""From a picture file to its samples, upright; needs no torch."""

from __future__ import annotations

import importlib
import os
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .files import PhotoError, describe_error, open_stream
from .metadata import ORIENTATION, fit_exif

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# Pillow's plugins are called directly: Image.open would apply a process-wide size limit of its own.
_MAGIC = {b"\xff\xd8\xff": "Jpeg", b"\x89PNG": "Png", b"RIFF": "WebP"}
_MAGIC |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "Tiff")

# Adam7: first column, first row and distance of columns and rows of each pass.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # per pixel, by colour type


def decode_file(path: Path, max_pixels: int) -> tuple[NDArray[Any], bytes | None, bytes | None]:
    """Read upright samples (H, W, C), 1, 3 or 4 channels in uint8 or uint16, the EXIF block and the ICC profile."""
    with open_stream(path) as stream:
        return decode_stream(stream, path, max_pixels)


def decode_stream(stream: IO[bytes], name: Path, max_pixels: int) -> tuple[NDArray[Any], bytes | None, bytes | None]:
    """The same from a stream, whose name is for messages."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    # Pillow warns of odd metadata, which is no news to the user of a photo that can be read.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = stream.read(32)
        stream.seek(0)
        plugin = next((plugin for magic, plugin in _MAGIC.items() if head.startswith(magic)), None)
        if plugin is None:
            came = "a file of another kind" if head else "an empty file"
            raise PhotoError(f"{name}: {came}, expected a JPEG, PNG, TIFF or WebP picture")
        try:
            module = importlib.import_module(f"PIL.{plugin}ImagePlugin")
            picture: ImageFile = getattr(module, f"{plugin}ImageFile")(stream)
            width, height = picture.size
            if width * height > max_pixels:
                raise ValueError(f"the header claims {width} x {height} pixels, at most {max_pixels} are read")
            # libjpeg fills missing blocks with grey if only an end marker follows; each of them takes a bit.
            if plugin == "Jpeg" and size * 512 < width * height:
                raise ValueError(f"truncated, too short for {width} x {height} pixels")
            deep = head[24] == 16 if plugin == "Png" else plugin == "Tiff" and _is_deep_tiff(picture)
            # OpenCV makes up what is missing of a truncated file, so Pillow decodes each file first.
            picture.load()
            if plugin == "Png" and head[28] == 1:
                _check_interlaced(stream, width, height, head[24] * _PNG_SAMPLES[head[25]])
            transparent = picture.has_transparency_data
            if picture.mode in ("L", "I;16") and not transparent:
                samples = np.asarray(picture)[..., None]
            elif deep:
                samples = _deep_samples(stream)
            else:
                mode = "RGBA" if transparent else "RGB"
                samples = np.asarray(picture if picture.mode == mode else picture.convert(mode))
        except Exception as error:  # a broken file raises nearly anything
            raise PhotoError(f"{name}: cannot be read as {plugin.upper()}: {describe_error(error)}") from error
        block = b""
        with suppress(Exception):  # a photo with broken EXIF is a photo
            exif = picture.getexif()
            # For TIFF, Pillow and OpenCV have turned the picture already and Pillow has deleted the tag.
            samples = _turn_upright(samples, exif.get(ORIENTATION, 1))
            block = fit_exif(exif, samples.shape[1], samples.shape[0])
    icc = picture.info.get("icc_profile") or b""
    return samples, block or None, icc if icc[16:20] == b"RGB " else None


def _check_interlaced(stream: IO[bytes], width: int, height: int, bits: int) -> None:
    """Raises if an interlaced PNG has less data than pixels, which Pillow overlooks."""
    expected = 0
    for left, top, right, down in _ADAM7:
        columns, rows = -((left - width) // right), -((top - height) // down)
        expected += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    unpacker, length = zlib.decompressobj(), 0
    stream.seek(8)
    while length < expected and len(head := stream.read(8)) == 8:
        data = stream.read(int.from_bytes(head[:4], "big"))
        stream.seek(4, os.SEEK_CUR)
        while head[4:] == b"IDAT" and data and length < expected:
            length += len(unpacker.decompress(data, 1 << 20))
            data = unpacker.unconsumed_tail
    if length < expected:
        raise ValueError("truncated, interlaced with too little data")


def _is_deep_tiff(picture: ImageFile) -> bool:
    tags: Mapping[int, Any] = getattr(picture, "tag_v2", {})
    bits, kinds = tags.get(258, (1,)), tags.get(339, (1,))
    if set(kinds) != {1} or (max(bits) > 8 and set(bits) != {16}):
        kind = {1: "unsigned", 2: "signed", 3: "float"}.get(kinds[0], "other")
        raise ValueError(f"{max(bits)} bit {kind} samples, expected 8 or 16 bit unsigned")
    deep = 16 in bits
    # OpenCV mixes up planes, leaves white-is-zero inverted and colours multiplied by their alpha.
    if deep and (tags.get(284, 1) != 1 or tags.get(262) not in (1, 2) or 1 in tags.get(338, ())):
        raise ValueError("16 bit samples in an unusual layout, expected interleaved RGB or grey, plain alpha")
    return deep


def _deep_samples(stream: IO[bytes]) -> NDArray[Any]:
    import cv2

    stream.seek(0)
    data = np.frombuffer(stream.read(), np.uint8)
    # Unknown TIFF tags would be logged to the terminal. The setter moved in OpenCV 5.
    set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    level = set_log_level(0)
    try:
        samples = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)  # (H, W) or (H, W, BGR or BGRA)
    finally:
        set_log_level(level)
    if samples is None or samples.dtype != np.uint16:
        raise ValueError("unusual layout of 16 bit samples")
    order = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return np.asarray(cv2.cvtColor(samples, order[1 if samples.ndim == 2 else samples.shape[2]]))


def _turn_upright(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    rows, columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return samples[:: -1 if rows else 1, :: -1 if columns else 1]
