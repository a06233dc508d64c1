"""Which part of a mask is the subject that was meant."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from depthbokeh.models.inputs import Box, Point, check_boxes, check_points

# By how much of its sides a box fades out, so that a subject drawn too tightly is not cut off sharply.
_FADE = 0.1


def keep_subject(
    mask: Tensor,
    box: Tensor | Sequence[float] | None = None,
    point: Tensor | Sequence[float] | None = None,
) -> Tensor:
    """Takes what was not meant out of a mask.

    Args:
        mask: ``(B, 1, H, W)``, 0..1.
        box: ``(x, y, width, height)`` in pixels or ``(B, 4)``: outside, the mask fades to 0 over a tenth of the sides.
        point: ``(x, y)`` in pixels or ``(B, 2)``: of the regions above 0.5 the one that holds the point stays, or else
            the one nearest to it.

    Returns:
        ``(B, 1, H, W)``, differentiable in the mask: both choose by weights that are constant to the gradient.

    Raises:
        ValueError: Box or point have another shape, or miss the frame.

    Example:
        >>> mask = torch.tensor([[1.0, 1.0, 0.0, 1.0]]).view(1, 1, 1, 4)
        >>> keep_subject(mask, point=(3.5, 0.5)).flatten()
        tensor([0., 0., 0., 1.])
    """
    batch, _, height, width = mask.shape
    if box is not None:
        boxes = check_boxes(box, batch, height, width)
        mask = mask * _join([_draw_box(subject, mask) for subject in boxes], mask)
    if point is not None:
        points = check_points(point, batch, height, width)
        parts = [_find_region(plane[0], at) for plane, at in zip(mask.detach(), points, strict=True)]
        mask = mask * _join([part[None] for part in parts], mask)
    return mask


def _join(weights: list[Tensor], like: Tensor) -> Tensor:
    """Weights (1, H, W) of each photo, of which there may be none, as (B, 1, H, W)."""
    return torch.stack(weights).to(like) if weights else torch.ones_like(like)


def _draw_box(box: Box, like: Tensor) -> Tensor:
    """1 in the box, falling to 0 round it, (1, H, W)."""
    x, y, across, down = box
    rows = torch.arange(like.shape[2], device=like.device, dtype=torch.float32) + 0.5
    columns = torch.arange(like.shape[3], device=like.device, dtype=torch.float32) + 0.5
    away = [
        ((at - start - side / 2).abs() - side / 2) / max(_FADE * side, 1.0)
        for at, start, side in ((rows, y, down), (columns, x, across))
    ]
    inside = [(1 - distance.clamp(min=0)).clamp(min=0) for distance in away]
    return (inside[0][:, None] * inside[1])[None].to(like)


def _find_region(mask: Tensor, point: Point) -> Tensor:
    """Weights (H, W), 0 or 1: every pixel goes with the region nearest to it, and one region is kept."""
    import cv2
    import numpy as np

    found = (mask.float() > 0.5).cpu().numpy().astype(np.uint8)
    count, regions = cv2.connectedComponents(found)
    if count <= 2:
        return torch.ones_like(mask)
    # The soft edge round a region belongs to it: labels spread from the regions to the nearest pixels.
    _, nearest = cv2.distanceTransformWithLabels(1 - found, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    seeds = np.zeros(nearest.max() + 1, regions.dtype)
    seeds[nearest[found == 1]] = regions[found == 1]
    owner = seeds[nearest]  # (H, W)
    row = min(int(point[1]), mask.shape[0] - 1)
    column = min(int(point[0]), mask.shape[1] - 1)
    return torch.from_numpy(owner == owner[row, column]).to(mask.device)
