"""Boxes ``(N, 4)``, left, top, right, bottom in pixels, and the features in them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import torch
import torch.nn.functional as F
from torch import Tensor

from depthbokeh.models.vision import has_torchvision_ops, import_torchvision

_STRIDES = (4, 8, 16, 32)  # of the pyramid's levels, pixels
_SAMPLES = 2  # per cell and axis


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Cut boxes (N, 4) at the frame."""
    return torch.stack([boxes[:, i].clamp(0, (width, height)[i % 2]) for i in range(4)], 1)


def measure_overlap(boxes: Tensor, box: Tensor) -> Tensor:
    """Return the area, in square pixels, that each of the boxes (N, 4) shares with one (4)."""
    sides = torch.minimum(boxes[:, 2:], box[2:]) - torch.maximum(boxes[:, :2], box[:2])
    return sides.clamp(min=0).prod(1)


def measure_area(boxes: Tensor) -> Tensor:
    """Return the areas of boxes (N, 4), in square pixels."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Drops what overlaps with something better of its group.

    Args:
        boxes: ``(N, 4)``, not degenerate.
        scores: ``(N,)``.
        groups: ``(N,)``, integers: different groups do not suppress each other.
        threshold: Intersection over union from which on boxes count as the same.

    Returns:
        Indices of what is kept, best first.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 9, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
        >>> suppress(boxes, torch.tensor([0.8, 0.9, 0.7]), torch.tensor([0, 0, 1]), 0.5)
        tensor([1, 2])
    """
    if not len(boxes):
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    # Each group is moved to a place of its own, so far away that only double precision keeps the boxes' sizes.
    apart = boxes.double() + (groups.double() * (boxes.max().double() + 1))[:, None]
    if has_torchvision_ops(boxes.device.type):
        kept: Tensor = import_torchvision().ops.nms(apart, scores.double(), threshold)
    else:
        kept = import_module("kornia.geometry.bbox").nms(apart, scores, threshold)
    return kept


def align(features: Sequence[Tensor], boxes: Sequence[Tensor], size: int) -> Tensor:
    """Averages the features in boxes over a grid of cells (RoIAlign), on the pyramid level that fits each box.

    K. He et al., "Mask R-CNN", ICCV 2017; the level: T. Lin et al., "Feature Pyramid Networks", CVPR 2017. As in
    torchvision without ``aligned``, from 2 x 2 samples per cell; samples off the map repeat its border.

    Args:
        features: The levels ``(B, C, h, w)``, strides 4, 8, 16 and 32.
        boxes: Of each photo ``(N, 4)``, pixels of the photo that the network sees.
        size: Cells along a side.

    Returns:
        ``(N of all photos, C, size, size)``, differentiable in the features.
    """
    # Coordinates need more than half precision, and sampling wants features to be the same.
    wide = torch.promote_types(features[0].dtype, torch.float32)
    index = torch.cat([torch.full((len(part),), i) for i, part in enumerate(boxes)]).to(features[0].device)
    every = torch.cat(list(boxes)).to(wide)
    levels = (4 + torch.log2(measure_area(every).sqrt() / 224) + 1e-6).floor().clamp(2, 5) - 2
    aligned = features[0].new_zeros(len(every), features[0].shape[1], size, size)
    for i in range(len(boxes)):
        for level, stride in enumerate(_STRIDES):
            here = ((index == i) & (levels == level)).nonzero()[:, 0]
            if len(here):
                part = _sample(features[level][i].to(wide), every[here] / stride, size)
                aligned = aligned.index_put((here,), part.to(aligned.dtype))
    return aligned


def _sample(features: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Average a map (C, h, w) in boxes (N, 4), in its pixels, to (N, C, size, size)."""
    count, (channels, height, width) = len(boxes), features.shape
    start = boxes[:, :2]
    extent = (boxes[:, 2:] - start).clamp(min=1)
    steps = (torch.arange(size * _SAMPLES, device=boxes.device, dtype=boxes.dtype) + 0.5) / (size * _SAMPLES)
    at = start[:, :, None] + extent[:, :, None] * steps  # (N, 2, S), whole numbers are the centres of pixels
    at = (2 * at + 1) / at.new_tensor([width, height])[:, None] - 1
    samples = at.shape[2]
    across, down = (at[:, i, None].expand(-1, samples, -1) for i in range(2))  # (N, S, S)
    grid = torch.stack([across, down.mT], 3)  # (N, S, S, 2)
    # All boxes in one picture, one below the other: the map is not repeated for each.
    sampled = F.grid_sample(features[None], grid.flatten(0, 1)[None], padding_mode="border", align_corners=False)
    cells = sampled.view(channels, count, size, _SAMPLES, size, _SAMPLES).mean((3, 5))  # keeps no samples for backward
    return cells.transpose(0, 1)
