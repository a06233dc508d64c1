"""From samples to a picture file."""

from __future__ import annotations

import importlib
import itertools
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metadata import EXIF_IFD, GPS_IFD, parse_exif


def encode_lossy(path: Path, plugin: str, quality: int, samples: NDArray[Any], exif: bytes, icc: bytes) -> None:
    """Write a JPEG or WebP by Pillow; the colour of a JPEG is not subsampled."""
    from PIL import Image

    importlib.import_module(f"PIL.{plugin}ImagePlugin")  # registers the encoder
    picture = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    block = b"Exif\0\0" + exif if exif else b""
    picture.save(path, plugin.upper(), quality=quality, subsampling=0, exif=block, icc_profile=icc)


def encode_png(path: Path, samples: NDArray[Any], exif: bytes, icc: bytes) -> None:
    """Write a PNG by OpenCV, which has 16 bit RGB."""
    import cv2

    blocks = {cv2.IMAGE_METADATA_EXIF: exif, cv2.IMAGE_METADATA_ICCP: icc}
    used = {kind: np.frombuffer(block, np.uint8) for kind, block in blocks.items() if block}
    if samples.shape[2] > 1:
        samples = cv2.cvtColor(samples, cv2.COLOR_RGB2BGR if samples.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    path.write_bytes(cv2.imencodeWithMetadata(".png", samples, list(used), list(used.values()))[1].tobytes())


def encode_tiff(path: Path, samples: NDArray[Any], exif: bytes, icc: bytes) -> None:
    """Write a TIFF, deflated strips behind Pillow's directory: Pillow has no 16 bit RGB, tifffile no EXIF directory."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    height, width, channels = samples.shape
    head = exif[:8] or b"II*\0\x08\0\0\0"
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]  # wraps round, as the format wants it
    data = differences.astype(samples.dtype.newbyteorder("<" if head[:1] == b"I" else ">"), copy=False)
    strips = [zlib.compress(data[row : row + 64].tobytes(), 4) for row in range(0, height, 64)]
    sizes = [len(strip) for strip in strips]
    directory = ImageFileDirectory_v2(head)
    tags = parse_exif(exif)
    for tag in tags:
        directory[tag] = tags.get_ifd(tag) if tag in (EXIF_IFD, GPS_IFD) else tags[tag]
    directory.update({256: width, 257: height, 258: (samples.itemsize * 8,) * channels, 259: 8, 317: 2})
    directory.update({262: 2 if channels > 1 else 1, 277: channels, 278: 64})
    # Offsets count from the end of the directory, which Pillow adds.
    directory.update({273: tuple(itertools.accumulate([0, *sizes[:-1]])), 279: tuple(sizes)})
    directory.update({34675: icc} if icc else {})
    directory.update({338: 2} if channels == 4 else {})  # alpha not multiplied in
    with path.open("wb") as stream:
        stream.writelines([head, directory.tobytes(8), *strips])
