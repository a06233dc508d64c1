"""Other ways to render shallow focus from one picture and its defocus, written from their formulas.

Every scheme takes ``linear`` (B, 3, H, W) in linear light and ``defocus`` (B, 1, H, W) in pixels, positive in front of
the focus plane, and returns (B, 3, H, W) in linear light. They are yardsticks: plain PyTorch, without gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from depthbokeh import gather_blur, scatter_blur
from depthbokeh.color import linear_to_srgb, srgb_to_linear

# Beyond this distance from the disk's edge 0.5 + 0.5 tanh(4 x) is below 1e-7 of its height, float32's precision.
_TAIL = 2.0
# Side of the squares in which the tap loop goes over the picture: they stay in the cache, know their own reach and are
# too small for torch to wake other threads for every tap.
_TILE = 64


def unchanged(linear: Tensor, defocus: Tensor) -> Tensor:
    """The all-in-focus picture itself."""
    del defocus
    return linear


def gather_linear(linear: Tensor, defocus: Tensor) -> Tensor:
    """Every pixel averages over its own disk, in linear light."""
    radius = defocus.abs()
    return gather_blur(linear, radius) / gather_blur(torch.ones_like(radius), radius)


def gather_gamma(linear: Tensor, defocus: Tensor) -> Tensor:
    """Every pixel averages over its own disk, in sRGB."""
    return srgb_to_linear(gather_linear(linear_to_srgb(linear), defocus))


def scatter(linear: Tensor, defocus: Tensor) -> Tensor:
    """Every pixel spreads over its own exact disk, whatever lies in front of what."""
    radius = defocus.abs()
    return scatter_blur(linear, radius) / scatter_blur(torch.ones_like(radius), radius)


def bokehme(linear: Tensor, defocus: Tensor) -> Tensor:
    """The classical renderer of BokehMe (Peng et al., CVPR 2022): every pixel scatters, weighted by its radius.

    ``y(p) = sum_q w(q, |p - q|) x(q) / sum_q w(q, |p - q|)`` with ``w = (0.5 + 0.5 tanh(4 (r - d))) / (r^2 + 0.2)``.
    Every tap of every disk is visited, O(r^2).
    """
    radius = defocus.abs()  # (B, 1, H, W)
    weighted = torch.cat([linear, torch.ones_like(radius)], 1) / (radius**2 + 0.2)  # (B, 4, H, W)
    batch, _, height, width = weighted.shape
    margin = math.ceil(float(radius.max()) + _TAIL)
    sums = weighted.new_zeros(batch, 4, height + 2 * margin, width + 2 * margin)
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            tile = (..., slice(top, top + _TILE), slice(left, left + _TILE))
            _add_taps(sums[..., top:, left:], weighted[tile], radius[tile], margin)
    sums = sums[..., margin : margin + height, margin : margin + width]
    return sums[:, :3] / sums[:, 3:]


def _add_taps(sums: Tensor, weighted: Tensor, radius: Tensor, margin: int) -> None:
    """Adds a tile's pixels to all that they reach; ``sums`` begins ``margin`` rows and columns before the tile."""
    height, width = radius.shape[2:]
    least, most = float(radius.min()), float(radius.max())
    for a, b in _octant(most + _TAIL):
        distance = math.hypot(a, b)
        inside = distance < least - _TAIL  # then the weight is 1 for all
        spread = weighted if inside else weighted * (0.5 + 0.5 * torch.tanh(4 * (radius - distance)))
        # One weight serves all taps that are this far away.
        for dy, dx in {(y, x) for u, v in ((a, b), (b, a)) for y in (u, -u) for x in (v, -v)}:
            sums[..., margin + dy :, margin + dx :][..., :height, :width] += spread


def _octant(reach: float) -> Iterator[tuple[int, int]]:
    for a in range(math.floor(reach) + 1):
        for b in range(a + 1):
            if math.hypot(a, b) <= reach:
                yield a, b
