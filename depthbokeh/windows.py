"""The largest and the smallest value around every pixel, at a cost that hardly grows with the window."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from . import ops


def local_max(values: Tensor, reach: int) -> Tensor:
    """The largest value within the square of ``2 reach + 1`` pixels around each one; the window ends at the border.

    Windows are joined in pairs, log2(reach) times in either direction.

    Args:
        values: ``(B, C, H, W)``.
        reach: Pixels, at least 0.

    Example:
        >>> local_max(torch.tensor([[[[0.0, 3.0, 1.0, 2.0]]]]), 1)
        tensor([[[[3., 3., 3., 2.]]]])
    """
    return _join(_join(values, 3, reach)[-1], 2, reach)[-1]


def local_min(values: Tensor, reach: int) -> Tensor:
    """The smallest value around each pixel, see :func:`local_max`."""
    return -local_max(-values, reach)


@torch.no_grad()
def local_extremes(values: Tensor, reach: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The largest and the smallest value around every pixel, and those twice as far around; without derivatives.

    Args:
        values: ``(B, C, H, W)``.
        reach: See :func:`local_max`.

    Example:
        >>> highest, lowest, higher, lower = local_extremes(torch.tensor([[[[0.0, 3.0, 1.0, 2.0]]]]), 1)
        >>> lowest.flatten().tolist(), lower.flatten().tolist()
        ([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0])
    """
    if ops.takes(values):
        return ops.local_extremes(values, reach)
    highest, lowest = local_max(values, reach), local_min(values, reach)
    # A window of twice the reach holds those of all that lie within the reach.
    return highest, lowest, local_max(highest, reach), local_min(lowest, reach)


@torch.no_grad()
def find_max(values: Tensor, reach: int, at: Tensor) -> Tensor:
    """Where the largest value around some pixels is, of several the first.

    Derivatives of :func:`local_max` at all pixels are dear; at a few of them, values that are looked up where they come
    from have the same at the cost of an index.

    Args:
        values: ``(B, 1, H, W)``.
        reach: See :func:`local_max`.
        at: ``(N,)`` int64: pixels, numbered row by row through all pictures.

    Returns:
        ``(N,)`` int64: pixels, numbered alike.

    Example:
        >>> find_max(torch.tensor([[[[0.0, 3.0, 1.0, 2.0]]]]), 1, torch.tensor([2, 3])).tolist()
        [1, 3]
    """
    if ops.takes(values):
        return ops.find_max(values, reach, at)
    height, width = values.shape[2:]
    rows = _join(values, 3, reach)
    columns = _join(rows[-1], 2, reach)
    line, column = at // width, at % width
    picture = line // height
    line = _trace(columns, at, picture, width) // width  # in padded pictures
    line = picture * height + (line % (height + 2 * reach) - reach).clamp(0, height - 1)
    column = _trace(rows, line * width + column, line, 1) % (width + 2 * reach)
    return line * width + (column - reach).clamp(0, width - 1)


def _trace(windows: list[Tensor], at: Tensor, before: Tensor, stride: int) -> Tensor:
    """From the longest windows back to where in the shortest their largest values come from.

    Indices are flat, the pixels of a window lie ``stride`` apart; ``before`` says how many rows or pictures, along
    which windows are, come before each pixel's own.
    """
    largest = windows[-1].flatten()[at]
    for halves, joined in reversed(list(pairwise(windows))):
        step = stride * (sum(halves.shape) - sum(joined.shape))  # they differ along one axis
        at = torch.add(at, before, alpha=step)
        at = torch.add(at, halves.flatten()[at] != largest, alpha=step)
    return at


def _join(values: Tensor, axis: int, reach: int) -> list[Tensor]:
    """The values and the largest ones of longer and longer windows, the last of the full length, along one axis."""
    # Repeated beyond the border, values there are found within the window anyhow.
    windows = [F.pad(values, (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach), mode="replicate")]
    window = 1
    while window < 2 * reach + 1:
        step = min(window, 2 * reach + 1 - window)
        length = windows[-1].shape[axis] - step
        windows.append(torch.maximum(windows[-1].narrow(axis, 0, length), windows[-1].narrow(axis, step, length)))
        window += step
    return windows
