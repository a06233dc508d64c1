"""Arrays of numbers from files without an image codec: npy, PFM and OpenEXR; needs no torch."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import PhotoError, describe_error, open_stream

_PFM_LINE = 64  # the longest line of a header that is read
_EXR_DEPTHS = ("Z", "depth", "disparity")  # names, or their last parts, by which renderers call the channel


def read_npy(path: Path, data: bytes | None = None) -> NDArray[np.float32]:
    """Read a ``.npy`` array (H, W) of real numbers; unsigned integers become 0..1.

    Args:
        path: The file.
        data: Its contents if they are here already; the path is for messages then.

    Raises:
        PhotoError: If it cannot be read or has another shape or type.
    """
    with open_stream(path) if data is None else io.BytesIO(data) as stream:
        try:
            with np.errstate(invalid="ignore"):  # of a shape beyond all bounds, which is refused
                array = np.lib.format.read_array(stream, allow_pickle=False)
        except Exception as error:
            raise PhotoError(f"{path}: cannot be read as a .npy array: {describe_error(error)}") from error
    shape = array.shape
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "buif":
        raise PhotoError(f"{path}: {array.dtype} array of shape {shape}, expected real numbers (H, W)")
    scale = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    with np.errstate(over="ignore"):  # becomes infinite, for the caller to report
        numbers: NDArray[np.float32] = array.astype(np.float32) / np.float32(scale)
    return numbers


def read_pfm(path: Path, max_pixels: int) -> NDArray[np.float32]:
    """Read a portable float map (H, W): grey, or RGB with equal channels.

    Of the third line, the scale, the sign says the byte order and the amount is ignored, as is common.

    Raises:
        PhotoError: If the header is no such file's, claims more than `max_pixels` or another size than the file has.
    """
    with open_stream(path) as stream:
        header = [stream.readline(_PFM_LINE) for _ in range(3)]
        start = stream.tell()
        size = re.fullmatch(rb"\s*(\d{1,9})\s+(\d{1,9})\s*", header[1])
        try:
            scale = float(header[2])
        except ValueError:
            scale = 0.0
        channels = {b"Pf": 1, b"PF": 3}.get(header[0].strip())
        if channels is None or size is None or not 0 < abs(scale) < float("inf"):
            told = " / ".join(line.decode("ascii", "replace").strip() for line in header)
            raise PhotoError(f"{path}: the PFM header is {told!r}, expected 'Pf', 'WIDTH HEIGHT' and a scale")
        width, height = int(size[1]), int(size[2])
        if not 0 < width * height <= max_pixels:
            raise PhotoError(f"{path}: the header claims {width} x {height} pixels, at most {max_pixels} are read")
        there, expected = os.fstat(stream.fileno()).st_size - start, width * height * channels * 4
        if there != expected:
            raise PhotoError(f"{path}: {there} bytes of pixels, expected {expected} for {width} x {height}")
        samples = np.frombuffer(stream.read(expected), "<f4" if scale < 0 else ">f4")
    planes = samples.reshape(height, width, channels)[::-1].astype(np.float32)  # rows go from the bottom up
    if channels == 3 and not np.array_equal(planes[..., :1].repeat(3, 2), planes, equal_nan=True):
        raise PhotoError(f"{path}: a colour picture, expected a grey map")
    return np.ascontiguousarray(planes[..., 0])


def read_exr(path: Path, max_pixels: int) -> NDArray[np.float32]:
    """Read a channel (H, W) of an OpenEXR file: its only one, the one called Z, depth or disparity, or grey RGB.

    Raises:
        PhotoError: If the package OpenEXR is not installed, or the file cannot be read, is larger, or has no such
            channel.
    """
    try:
        import OpenEXR
    except ImportError as error:
        raise PhotoError(f"{path}: OpenEXR files need the package OpenEXR: pip install 'depthbokeh[exr]'") from error
    with open_stream(path):
        pass  # the file is there; the library does not say what is wrong
    try:
        # The header first: the library allocates whatever it claims.
        header = OpenEXR.File(str(path), header_only=True).header()
        (left, top), (right, bottom) = (corner.tolist() for corner in header["dataWindow"])
        shape = (bottom - top + 1, right - left + 1)
        if shape[0] * shape[1] > max_pixels:
            raise ValueError(f"the header claims {shape[1]} x {shape[0]} pixels, at most {max_pixels} are read")
        if any((a != b).any() for a, b in zip(header["dataWindow"], header["displayWindow"], strict=True)):
            raise ValueError("the data do not cover the picture exactly, expected dataWindow as displayWindow")
        channels = OpenEXR.File(str(path), separate_channels=True).channels()
        plane = _choose_channel({name: channel.pixels for name, channel in channels.items()}, shape)
    except Exception as error:  # the library raises RuntimeError and others
        raise PhotoError(f"{path}: cannot be read as OpenEXR: {describe_error(error)}") from error
    return plane


def _choose_channel(channels: dict[str, Any], shape: tuple[int, int]) -> NDArray[np.float32]:
    named = [name for name in channels if name.rpartition(".")[2].lower() in [n.lower() for n in _EXR_DEPTHS]]
    colours = [name for name in channels if name in ("R", "G", "B")]
    if len(channels) == 1 or len(named) == 1:
        chosen = channels[(named or list(channels))[0]]
    elif len(colours) == 3 and all(np.array_equal(channels["R"], channels[name]) for name in colours):
        chosen = channels["R"]
    else:
        raise ValueError(f"channels {', '.join(channels)}, expected one, or one called {', '.join(_EXR_DEPTHS)}")
    if chosen.shape != shape:
        raise ValueError(f"a channel of shape {chosen.shape}, expected {shape}")
    plane: NDArray[np.float32] = np.ascontiguousarray(chosen, np.float32)
    return plane
