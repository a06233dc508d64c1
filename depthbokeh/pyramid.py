"""The definitions of what :mod:`depthbokeh.fill` does, in pure PyTorch.

Differentiable any number of times: the kernels, which compute the same, take second derivatives from here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .enlarging import enlarge
from .steps import smoothstep

# A weight below this counts as nothing known.
_LEAST = 1e-6


def push_pull(values: Tensor, weight: Tensor) -> Tensor:
    """Fills in values ``(B, C, H, W)`` where ``weight``, ``(B, 1, H, W)``, is below 1."""
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


def fill_behind(values: Tensor, defocus: Tensor, reach: int) -> Tensor:
    """Carries values ``(B, C, H, W)`` and ``defocus``, ``(B, 1, H, W)``, on beneath what is nearer."""
    lowest = find_lowest(defocus)
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


def find_lowest(defocus: Tensor) -> Tensor:
    """The least defocus of every picture, ``(B, 1, 1, 1)``, which counts most in its means.

    It is where weights begin and cancels in the means, so it has no gradient.
    """
    return defocus.detach().amin((1, 2, 3), keepdim=True)


def _favour_far(values: Tensor, lowest: Tensor) -> Tensor:
    # Far surfaces weigh more by e for every pixel of defocus; float32 holds about 80 of these steps.
    weight = torch.exp((lowest - values[:, -1:]).clamp(min=-80))
    return torch.cat([values * weight, weight], 1)


def _take_mean(totals: Tensor) -> Tensor:
    return totals[:, :-1] / totals[:, -1:]
