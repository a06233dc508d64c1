"""Filling in what is not known from what is known around it, smoothly and differentiably."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import ops, pyramid
from .edges import smoothstep
from .enlarging import enlarge

_DTYPES = torch.float16, torch.bfloat16, torch.float32, torch.float64  # of the kernels


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
    # Far surfaces weigh more by e for every pixel of defocus; float32 holds about 80 of these steps.
    lowest = defocus.detach().amin((1, 2, 3), keepdim=True)
    height, width = values.shape[2:]
    finest = torch.cat([values, defocus], 1)
    favoured = _favour_far(finest, lowest)
    filled, left = torch.zeros_like(finest), torch.ones_like(defocus)
    size = 1
    while size <= reach and max(favoured.shape[2:]) > 1:
        size *= 2
        odd = (0, favoured.shape[3] % 2, 0, favoured.shape[2] % 2)
        means = _take_mean(F.avg_pool2d(F.pad(favoured, odd, mode="replicate"), 2))
        favoured = _favour_far(means, lowest)
        around = _take_mean(enlarge(favoured, size, height, width))
        kept = smoothstep((3 - (defocus - around[:, -1:])) / 2)
        filled, left = filled + left * (1 - kept) * around, left * kept
    return filled + left * finest


def _favour_far(values: Tensor, lowest: Tensor) -> Tensor:
    weight = torch.exp((lowest - values[:, -1:]).clamp(min=-80))
    return torch.cat([values * weight, weight], 1)


def _take_mean(totals: Tensor) -> Tensor:
    return totals[:, :-1] / totals[:, -1:]
