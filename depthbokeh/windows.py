"""The largest and the smallest value around every pixel, at a cost that hardly grows with the window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
    return _along(_along(values, 3, reach), 2, reach)


def local_min(values: Tensor, reach: int) -> Tensor:
    """The smallest value around each pixel, see :func:`local_max`."""
    return -local_max(-values, reach)


def _along(values: Tensor, axis: int, reach: int) -> Tensor:
    # Repeated beyond the border, values there are found within the window anyhow.
    padded = F.pad(values, (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach), mode="replicate")
    length, window = padded.shape[axis], 1
    while window < 2 * reach + 1:
        step = min(window, 2 * reach + 1 - window)
        length -= step
        padded = torch.maximum(padded.narrow(axis, 0, length), padded.narrow(axis, step, length))
        window += step
    return padded
