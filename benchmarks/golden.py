"""Holds our transcription of BokehMe's classical renderer against a picture which that project's own code made."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from baselines import bokehme
from PIL import Image
from quality_scenes import psnr
from torch import Tensor

from depthbokeh.color import decode, encode
from depthbokeh.photo import read_map, read_photo

LIMIT_DB = 45.0
# They are in the picture's name: blur in pixels per unit of disparity, disparity in focus, exponent.
_STRENGTH, _FOCUS, _GAMMA = 60.0, 90 / 255, 4.0


def golden_psnr(data: Path) -> float:
    """PSNR in dB of our picture and theirs, after the same JPEG encoding."""
    folder = data / "photos"
    image = read_photo(folder / "21.jpg").image
    # Their program reads the 16-bit map as 8 bits, the lower byte cut off, and stretches it to 0..1.
    disparity = (read_map(folder / "21.png") * 65535 / 256).floor()
    disparity = (disparity - disparity.min()) / (disparity.max() - disparity.min())
    with torch.no_grad():
        picture = encode(bokehme(decode(image, _GAMMA), _STRENGTH * (disparity - _FOCUS)), _GAMMA)
    return psnr(_through_jpeg(picture), read_photo(folder / "21_bokehme_classical_K60_f90_gamma4.jpg").image)


def _through_jpeg(picture: Tensor) -> Tensor:
    """Encoded and decoded as their file is: quality 95, colour at half the resolution."""
    samples = (picture[0].clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, 2).numpy()
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "JPEG", quality=95, subsampling="4:2:0")
    return torch.from_numpy(np.array(Image.open(file))).movedim(2, 0)[None] / 255
