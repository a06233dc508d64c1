"""From small masks over boxes to one mask over the photo."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_CERTAIN = 1 - 1e-6  # where a mask is 1, the logarithm of what it leaves must stay finite


def unite(masks: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Pastes instances and takes their soft union, ``1 - prod(1 - p)``.

    Every mask is interpolated bilinearly at the centres of the photo's pixels and fades to 0 within half a cell round
    its box. Boxes are not rounded to pixels, which torchvision does: a mask moves smoothly with its box. Memory does
    not grow with the number of instances, whose planes are computed again for the gradient.

    Args:
        masks: ``(N, h, w)``, 0..1, times the score.
        boxes: ``(N, 4)``, left, top, right, bottom in pixels of the photo; constants to the gradient.
        height: H.
        width: W.

    Returns:
        ``(H, W)``, 0..1.

    Example:
        >>> unite(torch.tensor([[[0.5]], [[0.5]]]), torch.tensor([[0.0, 0, 2, 1], [1, 0, 3, 1]]), 1, 3)
        tensor([[0.4531, 0.6094, 0.4531]])
    """
    rest = masks.new_zeros(height, width)  # logarithm of what all instances leave
    for mask, box in zip(masks, boxes.tolist(), strict=True):
        top, bottom = _reach(box[1], box[3], mask.shape[0], height)
        left, right = _reach(box[0], box[2], mask.shape[1], width)
        if top < bottom and left < right:
            window = top, bottom, left, right
            # An instance draws no random numbers, so their state need not be kept.
            rest[top:bottom, left:right] += checkpoint(
                _paste, mask, box, window, use_reentrant=False, preserve_rng_state=False
            )
    return 1 - rest.exp()


def sample(masks: Tensor, boxes: Tensor, x: float, y: float) -> Tensor:
    """Return what pasted masks (N, h, w) over boxes (N, 4) are at a point in pixels, (N,)."""
    place = masks.new_tensor([x]), masks.new_tensor([y])
    values = [
        _weigh(place[1], box[1], box[3], mask.shape[0]) @ mask @ _weigh(place[0], box[0], box[2], mask.shape[1]).T
        for mask, box in zip(masks, boxes.tolist(), strict=True)
    ]
    return torch.cat(values).flatten()


def _paste(mask: Tensor, box: list[float], window: tuple[int, int, int, int]) -> Tensor:
    """Logarithm of what an instance leaves of what is behind it, (bottom - top, right - left)."""
    top, bottom, left, right = window
    rows = torch.arange(top, bottom, device=mask.device, dtype=mask.dtype) + 0.5
    columns = torch.arange(left, right, device=mask.device, dtype=mask.dtype) + 0.5
    down = _weigh(rows, box[1], box[3], mask.shape[0])
    across = _weigh(columns, box[0], box[2], mask.shape[1])
    return torch.log1p(-(down @ mask @ across.T).clamp(max=_CERTAIN))


def _weigh(at: Tensor, start: float, end: float, cells: int) -> Tensor:
    """Weights (n, cells) that interpolate cells between start and end, zeros beyond, at n places."""
    place = (at - start) * (cells / (end - start)) - 0.5
    return (1 - (place[:, None] - torch.arange(cells, device=at.device)).abs()).clamp(min=0)


def _reach(start: float, end: float, cells: int, size: int) -> tuple[int, int]:
    """First pixel and the one after the last that a box with its margin touches."""
    margin = (end - start) / cells / 2
    return max(0, math.floor(start - margin)), min(size, math.ceil(end + margin))
