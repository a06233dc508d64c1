"""Read and write photo files: JPEG, PNG, TIFF and WebP, with EXIF, ICC profile and alpha.

Tensors are in the file's own RGB encoding, 0..1, and upright: the EXIF orientation is applied on reading and
reset to 1 in the metadata. Every failure that a user can cause is a `PhotoError` that names the file.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .arrays import read_npy
from .decoding import decode_file, decode_stream
from .encoding import encode_lossy, encode_png, encode_tiff
from .files import PhotoError, atomic_path
from .metadata import EXIF_IFD, fit_exif, parse_exif

__all__ = ["Photo", "PhotoError", "atomic_path", "read_map", "read_photo", "write_photo"]

_PLUGINS = {".jpg": "Jpeg", ".jpeg": "Jpeg", ".png": "Png", ".tif": "Tiff", ".tiff": "Tiff", ".webp": "WebP"}
_MAX_PIXELS = 200_000_000
_BAND_PIXELS = 1 << 17


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo.

    Attributes:
        image: (1, 3, H, W) float32, 0..1, upright, in the file's own RGB encoding.
        bits: Bits per channel of the file, 8 or 16.
        exif: EXIF block from its TIFF header on (without ``Exif`` and two zeros), orientation 1, or None.
        icc: ICC profile of the RGB encoding, or None.
        alpha: (1, 1, H, W) float32, 0..1, 1 is opaque, not multiplied into `image`, or None.

    Example:
        >>> Photo(torch.zeros(1, 3, 4, 6), bits=8, exif=None, icc=None, alpha=None).exif_ifd()
        {}
    """

    image: Tensor
    bits: int
    exif: bytes | None
    icc: bytes | None
    alpha: Tensor | None

    def exif_ifd(self) -> dict[int, object]:
        """EXIF values by tag number, such as FNumber 33437; those of the Exif sub-IFD go over the base tags.

        Returns:
            Values as Pillow decodes them, {} without EXIF or if it is unreadable.
        """
        with suppress(Exception), warnings.catch_warnings():  # broken EXIF raises nearly anything
            warnings.simplefilter("ignore")
            exif = parse_exif(self.exif or b"")
            return {**exif, **exif.get_ifd(EXIF_IFD)}
        return {}


def read_photo(path: str | os.PathLike[str], *, max_pixels: int = _MAX_PIXELS, data: bytes | None = None) -> Photo:
    """Read a photo: JPEG, WebP, PNG and TIFF with 8 or 16 bits, whatever its extension.

    Grey, palette and CMYK become RGB, and their profile, which is for another space, is dropped. Of several
    pages or frames the first is read.

    Args:
        path: The file.
        max_pixels: Most pixels that a header may claim; more is refused before anything is decoded.
        data: The file's contents if they are here already; the path is for messages then.

    Returns:
        The photo, upright.

    Raises:
        PhotoError: If the file is missing, truncated, too large or not such a photo.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_photo(f"{folder}/red.png", torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(3, 4, 6))
        ...     photo = read_photo(f"{folder}/red.png")
        >>> photo.image.shape, photo.bits, photo.image[0, :, 0, 0].tolist()
        (torch.Size([1, 3, 4, 6]), 8, [1.0, 0.0, 0.0])
    """
    samples, exif, icc = _decode(Path(path), max_pixels, data)
    channels = samples.shape[2]
    image = _to_planes(samples, max(channels, 3))
    return Photo(image[:, :3], samples.itemsize * 8, exif, icc, image[:, 3:] if channels == 4 else None)


def read_map(path: str | os.PathLike[str], size: tuple[int, int] | None = None, *, data: bytes | None = None) -> Tensor:
    """Read a one-channel map, disparity or mask.

    Pictures and arrays of unsigned integers are scaled by their largest possible value to 0..1, other arrays
    are taken as they are. The alpha of a picture is ignored.

    Args:
        path: Grey JPEG, PNG, TIFF or WebP, or a ``.npy`` array (H, W) of real numbers, which may have further
            axes of length 1.
        size: (H, W) to resize to. The aspect ratio must be the same within 5 %: networks round the
            sides of what they see to multiples of 32 or so.
        data: The file's contents if they are here already; the path is for messages then.

    Returns:
        The map, (1, 1, H, W) float32, finite.

    Raises:
        PhotoError: If the file cannot be read, has colours, NaN or infinity, or another aspect ratio.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/near.npy", np.full((4, 6), 2.5))
        ...     read_map(f"{folder}/near.npy", size=(2, 3))
        tensor([[[[2.5000, 2.5000, 2.5000],
                  [2.5000, 2.5000, 2.5000]]]])
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        plane = _read_array(path, data)
    else:
        samples, _, _ = _decode(path, _MAX_PIXELS, data)
        if samples.shape[2] > 1:
            _refuse_colours(path, samples[..., :3])
        plane = _to_planes(samples[..., :1], 1)  # (1, 1, H, W)
    return plane if size is None else fit_map(path, plane, size)


def fit_map(path: Path, plane: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map ``(1, 1, H, W)`` that was read from a file to (height, width), see `read_map`."""
    height, width = plane.shape[-2:]
    if size == (height, width):
        return plane
    if abs((width * size[0]) / (height * size[1]) - 1) > 0.05:
        wanted = f"{size[1]} x {size[0]} or the same aspect ratio"
        raise PhotoError(f"{path}: the map is {width} x {height} pixels, expected {wanted}")
    return functional.interpolate(plane, size=size, mode="bilinear", antialias=True)


def write_photo(
    path: str | os.PathLike[str],
    image: Tensor,
    *,
    bits: int = 8,
    quality: int = 95,
    exif: bytes | None = None,
    icc: bytes | None = None,
    alpha: Tensor | None = None,
    overwrite: bool = False,
) -> None:
    """Write a photo or map, completely or not at all. The extension of `path` chooses the format.

    Args:
        path: File ending in .jpg, .jpeg, .png, .tif, .tiff or .webp.
        image: (1, 3, H, W) or (3, H, W) RGB or (1, 1, H, W) or (1, H, W) grey, floating, 0..1 in the encoding
            that `icc` describes. Values outside are clipped, then rounded half up.
        bits: Bits per channel, 8 or 16; JPEG and WebP have 8 in any case.
        quality: 1..100 for JPEG (colour not subsampled) and WebP.
        exif: EXIF block as in `Photo`; orientation becomes 1 and the pixel dimensions those of `image`.
        icc: ICC profile of the RGB encoding; left out of a grey file.
        alpha: (1, 1, H, W), 0..1, with an RGB image; left out of a JPEG.
        overwrite: Whether an existing file is replaced.

    Raises:
        PhotoError: If the extension, an argument or the place is unfit, a value is NaN or the file exists.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_photo(f"{folder}/grey.tif", torch.full((1, 1, 4, 6), 0.25), bits=16)
        ...     round(float(read_map(f"{folder}/grey.tif").mean()) * 65535)
        16384
    """
    path = Path(path)
    plugin = _PLUGINS.get(path.suffix.lower())
    if plugin is None:
        raise PhotoError(f"{path}: unknown extension {path.suffix!r}, expected one of {', '.join(_PLUGINS)}")
    if bits not in (8, 16) or not 1 <= quality <= 100:
        raise PhotoError(f"{path}: {bits} bits at quality {quality}, expected 8 or 16 bits and quality 1 to 100")
    deep = bits == 16 and plugin in ("Png", "Tiff")
    samples = _quantize(path, image, None if plugin == "Jpeg" else alpha, np.uint16 if deep else np.uint8)
    height, width, channels = samples.shape
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            block = fit_exif(parse_exif(exif), width, height) if exif else b""
            profile = icc if icc and channels > 1 else b""  # decoders reject an RGB profile on a grey picture
            if plugin == "Tiff":
                encode_tiff(temporary, samples, block, profile)
            elif plugin == "Png":
                encode_png(temporary, samples, block, profile)
            else:
                encode_lossy(temporary, plugin, quality, samples, block, profile)
        except Exception as error:  # each encoder has its own kinds
            raise PhotoError(f"{path}: {width} x {height} pixels cannot be written: {error}") from error


def _decode(path: Path, max_pixels: int, data: bytes | None) -> tuple[NDArray[Any], bytes | None, bytes | None]:
    return decode_file(path, max_pixels) if data is None else decode_stream(io.BytesIO(data), path, max_pixels)


def _read_array(path: Path, data: bytes | None) -> Tensor:
    plane = torch.from_numpy(read_npy(path, data))[None, None]
    odd = plane.numel() - int(torch.isfinite(plane).sum())
    if odd:
        raise PhotoError(f"{path}: {odd} of {plane.numel()} values are NaN or infinite, expected finite numbers")
    return plane


def _refuse_colours(path: Path, samples: NDArray[Any]) -> None:
    grey = samples[..., :1]
    if (samples != grey).any():
        low, high = samples.min(2).astype(np.float32), samples.max(2).astype(np.float32)
        spread = float((high - low).max()) / np.iinfo(samples.dtype).max
        raise PhotoError(f"{path}: a colour picture (channels differ by {spread:.3g}), expected a grey map")


def _bands(height: int, width: int) -> Iterator[slice]:
    """Rows of a picture, few enough at a time that what is computed of them stays in the cache."""
    rows = max(1, _BAND_PIXELS // width)
    return (slice(top, top + rows) for top in range(0, height, rows))


def _to_planes(samples: NDArray[Any], channels: int) -> Tensor:
    """Samples (H, W, C) as floats (1, channels, H, W), 0..1; a single channel stands for all."""
    height, width, _ = samples.shape
    planes = torch.empty(1, channels, height, width)
    interleaved = torch.from_numpy(np.require(samples, requirements=["C", "W"]))  # (H, W, C)
    for rows in _bands(height, width):
        planes[0, :, rows].copy_(interleaved[rows].permute(2, 0, 1)).div_(int(np.iinfo(samples.dtype).max))
    return planes


def _quantize(path: Path, image: Tensor, alpha: Tensor | None, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Samples (H, W, C), clipped and rounded half up."""
    shape, cover = tuple(image.shape), None if alpha is None else tuple(alpha.shape)
    image = image.squeeze(0) if image.ndim == 4 else image
    if image.ndim != 3 or len(image) not in (1, 3) or 0 in shape or not image.is_floating_point():
        raise PhotoError(f"{path}: {image.dtype} image {shape}, expected floats (1, 3, H, W) or (1, 1, H, W)")
    if cover not in (None, (1, 1, *shape[-2:])) or (cover and len(image) == 1):
        raise PhotoError(f"{path}: alpha {cover} with image {shape}, expected RGB and alpha (1, 1, H, W)")
    planes = [*image.detach(), *([] if alpha is None else alpha.detach()[0])]
    samples = np.empty((*shape[-2:], len(planes)), dtype)
    interleaved = torch.from_numpy(samples)
    for channel, plane in enumerate(planes):
        plane = plane.cpu()
        for rows in _bands(*shape[-2:]):
            band = plane[rows].float()
            if band.isnan().any():
                odd = int(plane.isnan().sum())
                raise PhotoError(f"{path}: {odd} values of channel {channel} are NaN, expected numbers 0 to 1")
            scaled = band.clamp(0, 1).mul_(int(np.iinfo(dtype).max)).add_(0.5)
            interleaved[rows, :, channel].copy_(scaled)
    return samples
