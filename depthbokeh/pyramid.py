"""The definition of :func:`depthbokeh.fill.push_pull`, in pure PyTorch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .enlarging import enlarge

# A weight below this counts as nothing known.
_LEAST = 1e-6


def push_pull(values: Tensor, weight: Tensor) -> Tensor:
    """Fills in values ``(B, C, H, W)`` where ``weight``, ``(B, 1, H, W)``, is below 1.

    Differentiable any number of times: the kernels, which compute the same, take second derivatives from here.
    """
    height, width = values.shape[2:]
    if height == 1 and width == 1:
        return values * weight / weight.clamp(min=_LEAST)
    odd = (0, width % 2, 0, height % 2)  # beyond the border nothing is known
    known = F.avg_pool2d(F.pad(weight, odd), 2)
    means = F.avg_pool2d(F.pad(values * weight, odd), 2) / known.clamp(min=_LEAST)
    # Whoever knows one of four pixels knows their mean as well as it gets.
    coarse = push_pull(means, (4 * known).clamp(max=1))
    around = enlarge(coarse, 2, height, width)
    return values * weight + (1 - weight) * around
