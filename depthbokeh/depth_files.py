"""Read the values of a depth file, whatever they mean: pictures, npy, PFM, OpenEXR and false colours."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .arrays import read_exr, read_npy, read_pfm
from .colormaps import invert_colormap
from .decoding import decode_file
from .files import PhotoError, open_stream

_MAX_PIXELS = 200_000_000


def read_depth_values(path: str | os.PathLike[str], *, max_pixels: int = _MAX_PIXELS) -> Tensor:
    r"""Read the values of a depth file as they are.

    The content chooses the reader, whatever the name ends in. Pictures and unsigned integers are scaled by their
    largest possible value to 0..1. A picture in the false colours of Spectral_r (as Depth Anything writes), inferno,
    magma, plasma, viridis or turbo is turned back to 0..1.

    Args:
        path: Grey or false-coloured PNG, TIFF (8 or 16 bits), WebP or JPEG, ``.npy`` (H, W), PFM, or OpenEXR.
        max_pixels: Most pixels that a header may claim.

    Returns:
        ``(1, 1, H, W)`` float32; may hold infinity, which in a file of depths is the sky.

    Raises:
        PhotoError: If the file cannot be read, holds NaN or the colours are no map's.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "two.pfm").write_bytes(b"Pf\n1 2\n-1\n" + np.array([5, 3], "<f4").tobytes())
        ...     read_depth_values(f"{folder}/two.pfm").flatten()
        tensor([3., 5.])
    """
    path = Path(path)
    with open_stream(path) as stream:
        head = stream.read(6)
    if head.startswith(b"\x93NUMPY") or path.suffix.lower() == ".npy":
        values = read_npy(path)
    elif head[:2] in (b"Pf", b"PF"):
        values = read_pfm(path, max_pixels)
    elif head.startswith(b"\x76\x2f\x31\x01"):
        values = read_exr(path, max_pixels)
    else:
        samples, _, _ = decode_file(path, max_pixels)
        values = samples[..., 0].astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
        colours = samples[..., :3]
        if (colours != colours[..., :1]).any():
            try:
                _, values = invert_colormap(colours)
            except ValueError as error:
                raise PhotoError(f"{path}: {error}") from error
    odd = int(np.isnan(values).sum())
    if odd:
        raise PhotoError(f"{path}: {odd} of {values.size} values are NaN, expected numbers")
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))[None, None]
