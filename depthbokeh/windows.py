"""The largest and the smallest value around every pixel, and where they are."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def local_max(values: Tensor, reach: int) -> Tensor:
    """The largest value within the square of ``2 reach + 1`` pixels around each one; the window ends at the border.

    Windows are joined in pairs, log2(reach) times in either direction. Of equal values the first, row by row, has the
    derivative.

    Args:
        values: ``(B, C, H, W)``.
        reach: Pixels, at least 0.

    Example:
        >>> local_max(torch.tensor([[[[0.0, 3.0, 1.0, 2.0]]]]), 1)
        tensor([[[[3., 3., 3., 2.]]]])
    """
    return _join(_join(values, 3, reach), 2, reach)


def local_min(values: Tensor, reach: int) -> Tensor:
    """The smallest value around each pixel, see :func:`local_max`."""
    return -local_max(-values, reach)


@torch.no_grad()
def find_max(values: Tensor, reach: int) -> Tensor:
    """Where the largest value around every pixel is, of several the first.

    Args:
        values: ``(B, 1, H, W)``.
        reach: See :func:`local_max`.

    Returns:
        ``(B, 1, H, W)`` int64: pixels, numbered row by row through all pictures.

    Example:
        >>> find_max(torch.tensor([[[[0.0, 3.0, 1.0, 2.0]]]]), 1).flatten().tolist()
        [1, 1, 1, 3]
    """
    rows, in_row = F.max_pool2d(values, (1, 2 * reach + 1), 1, (0, reach), return_indices=True)
    _, in_column = F.max_pool2d(rows, (2 * reach + 1, 1), 1, (reach, 0), return_indices=True)
    found = in_row.flatten(1).gather(1, in_column.flatten(1)).view_as(in_row)
    return found + values[0].numel() * torch.arange(len(values), device=values.device).view(-1, 1, 1, 1)


def _join(values: Tensor, axis: int, reach: int) -> Tensor:
    """The largest values of longer and longer windows along one axis."""
    # Repeated beyond the border, values there are found within the window anyhow.
    values = F.pad(values, (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach), mode="replicate")
    window = 1
    while window < 2 * reach + 1:
        step = min(window, 2 * reach + 1 - window)
        length = values.shape[axis] - step
        larger: Tensor = _Larger.apply(  # type: ignore[no-untyped-call]
            values.narrow(axis, 0, length), values.narrow(axis, step, length)
        )
        values, window = larger, window + step
    return values


class _Larger(torch.autograd.Function):
    """The larger of two; autograd would share the derivative out where they are equal."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(first, second)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        first, second = ctx.saved_tensors
        is_first = first >= second
        return grad * is_first, grad * ~is_first
