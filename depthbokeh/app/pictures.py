"""Tensors as pictures that a browser shows."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

# What is not subject is laid under this colour, with this much of it.
_SHADE, _COVER = (16, 24, 48), 0.62
_QUALITY = 88


def to_bytes(image: Tensor) -> NDArray[np.uint8]:
    """Samples (H, W, C) of an image ``(1, C, H, W)``, 0..1."""
    samples: NDArray[np.uint8] = (
        image[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    )
    return samples


def save_preview(image: Tensor, path: Path, icc: bytes | None) -> None:
    """Writes an image ``(1, 3, H, W)``, whose colours a profile tells, as a JPEG for the screen."""
    Image.fromarray(to_bytes(image)).save(path, "JPEG", quality=_QUALITY, subsampling=0, icc_profile=icc)


def show_photo(image: Tensor, icc: bytes | None) -> str:
    """An image ``(1, 3, H, W)``, whose colours a profile tells, as a data URL."""
    return _to_url(Image.fromarray(to_bytes(image)), "JPEG", quality=_QUALITY, icc_profile=icc)


def show_mask(mask: Tensor | None) -> str:
    """A shade to lay over the photo, all but the subject's ``(1, 1, H, W)``, as a data URL; empty without a mask."""
    if mask is None:
        return ""
    shade = np.empty((*mask.shape[2:], 4), np.uint8)
    shade[..., :3] = _SHADE
    shade[..., 3:] = to_bytes((1 - mask) * _COVER)
    return _to_url(Image.fromarray(shade), "PNG", compress_level=1)


def show_disparity(disparity: Tensor) -> str:
    """Disparity ``(1, 1, H, W)`` in grey, bright is near, as a data URL."""
    return _to_url(Image.fromarray(to_bytes(disparity)[..., 0]), "JPEG", quality=_QUALITY)


def _to_url(picture: Image.Image, kind: str, **settings: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
