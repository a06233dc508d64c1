"""Maps of a photo, read from files: disparity and mask, checked for what they are to tell."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .models.depth import DepthKind, read_disparity_file
from .photo import PhotoError, read_map


def read_disparity(path: Path, size: tuple[int, int], kind: DepthKind | None = None) -> Tensor:
    """A disparity map, from a depth file of any kind; of an undeclared kind it is stretched if it reaches beyond 0..1.

    Raises:
        PhotoError: If the file cannot be read, does not fit the size or tells nothing apart.
    """
    disparity = read_disparity_file(path, kind, size)
    low, high = disparity.aminmax()
    if disparity.numel() > 1 and low == high:
        raise PhotoError(f"{path}: the disparity is {float(low):g} everywhere; expected near and far")
    return disparity


def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """A mask of the subject, 0..1.

    Raises:
        PhotoError: If the file cannot be read, does not fit the size, is empty or full.
    """
    mask = read_map(path, size)
    if mask.min() < 0 or mask.max() > 1:
        raise PhotoError(f"{path}: the mask reaches from {mask.min():g} to {mask.max():g}; expected 0 to 1")
    if mask.max() < 0.5:
        raise PhotoError(f"{path}: the mask is empty; expected the subject in white")
    if mask.min() > 0.5 and mask.numel() > 1:
        raise PhotoError(f"{path}: the mask is full; expected something beside the subject")
    return mask


def resize(map_or_image: Tensor, size: tuple[int, int]) -> Tensor:
    """To (height, width), by averaging where it becomes smaller."""
    return torch.nn.functional.interpolate(map_or_image, size, mode="bilinear", antialias=True)
