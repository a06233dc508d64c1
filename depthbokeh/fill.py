"""Filling in what is not known from what is known around it, and enlarging, smoothly and differentiably."""

from __future__ import annotations

import torch
from torch import Tensor

from . import enlarging, ops, pyramid

_DTYPES = torch.float16, torch.bfloat16, torch.float32, torch.float64  # of push_pull's kernels


def push_pull(values: Tensor, weight: Tensor) -> Tensor:
    """Keeps values of weight 1 and fills in the others from coarser and coarser means of what is known around them.

    The pull averages known values over 2 x 2 pixels until one is left; the push hands every mean down to where less
    than a whole pixel is known (Gortler et al., The Lumigraph, 1996).

    Args:
        values: ``(B, C, H, W)``.
        weight: ``(B, 1, H, W)``, 0..1: how far each value is known.

    Returns:
        ``(B, C, H, W)``, differentiable in values and weight. Where nothing at all is known: zeros.

    Example:
        >>> import torch
        >>> values, weight = torch.tensor([[[[3.0, 7.0, 9.0]]]]), torch.tensor([[[[1.0, 0.0, 0.0]]]])
        >>> push_pull(values, weight)
        tensor([[[[3., 3., 3.]]]])
    """
    same = values.dtype == weight.dtype and values.dtype in _DTYPES
    if same and ops.has_kernels(values.device.type):
        return ops.push_pull(values, weight)
    return pyramid.push_pull(values, weight)


def fill_behind(values: Tensor, defocus: Tensor, reach: int) -> Tensor:
    """Carries surfaces on beneath what is nearer, as far as about ``reach`` pixels.

    Every pixel is replaced by the mean around it, of the least size at which that is farther than the pixel: behind a
    bar before somebody are their clothes, behind them what is beside them. Of every mean the farthest surface takes by
    far the most.

    Args:
        values: ``(B, C, H, W)``.
        defocus: ``(B, 1, H, W)``, signed, pixels, positive in front: 3 px apart are two surfaces.
        reach: Pixels.

    Returns:
        ``(B, C + 1, H, W)``: values and, last, defocus. Differentiable in both.
    """
    if values.is_cuda and ops.takes(values, defocus):
        return ops.fill_behind(values, defocus, reach)
    return pyramid.fill_behind(values, defocus, reach)


def enlarge(values: Tensor, factor: int, height: int, width: int) -> Tensor:
    """Bilinear interpolation between the middles of squares of pixels: see :func:`depthbokeh.enlarging.enlarge`."""
    if values.is_cuda and ops.takes(values):
        return ops.enlarge(values, factor, height, width)
    return enlarging.enlarge(values, factor, height, width)
