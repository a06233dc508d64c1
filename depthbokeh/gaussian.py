"""The Gaussian blur of the reference: a few fixed widths, and every pixel spread over its four nearest.

A Gaussian has no rows of constant value, so the scheme of the other apertures does not serve it. Here the widths
form a geometric series of levels, each level is a separable convolution, and a pixel's own width is reached by
cubic interpolation between levels in log sigma. Convolution with an even kernel and zeros outside is its own
adjoint, so scattering (weigh, then convolve) and gathering (convolve, then weigh) stay exact adjoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

# A Gaussian cut at three sigma lies within one pixel up to this sigma: level 0, where nothing is blurred.
SIGMA_0 = 1 / 6
# Ratio of neighbouring levels. At 1.2 the blurred picture is within 1e-3 of the dense definition, the gradient to
# the radius within 1e-2, whatever the picture.
RATIO = 1.2


def scatter(image: Tensor, radius: Tensor, max_radius: float, slope: bool) -> Tensor:
    """Spreads ``image`` (B, C, H, W) by Gaussians of sigma = radius / 2, or by their derivative to the radius."""
    blurred = torch.zeros_like(image)
    for taps, weight in _levels(radius, max_radius, slope):
        blurred += _convolve(image * weight, taps)
    return blurred


def gather(image: Tensor, radius: Tensor, max_radius: float, slope: bool) -> Tensor:
    """The adjoint of :func:`scatter`."""
    blurred = torch.zeros_like(image)
    for taps, weight in _levels(radius, max_radius, slope):
        blurred += _convolve(image, taps) * weight
    return blurred


def sample_gaussian(sigma: float) -> Tensor:
    """Integrals over pixels of a Gaussian cut at three sigma, (2 n + 1,) float64, of sum 1."""
    count = max(0, math.ceil(3 * sigma - 0.5))
    edges = torch.arange(-count, count + 2, dtype=torch.float64) - 0.5
    integral = torch.erf(edges.clamp(-3 * sigma, 3 * sigma) / (sigma * math.sqrt(2)))
    taps = integral.diff()
    return taps / taps.sum()


def _levels(radius: Tensor, max_radius: float, slope: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the taps of every level and its weight at every pixel, (B, 1, H, W)."""
    least = 2 * SIGMA_0
    position = torch.log(radius.clamp(min=least) / least) / math.log(RATIO)  # in levels
    rate = torch.where(radius > least, 1 / (radius.clamp(min=least) * math.log(RATIO)), 0) if slope else None
    last = math.floor(math.log(max(max_radius, least) / least) / math.log(RATIO)) + 2
    for level in range(-1, last + 1):
        taps = sample_gaussian(SIGMA_0 * RATIO**level) if level > 0 else torch.ones(1)
        weight = _cubic(position - level, slope)
        yield taps, weight if rate is None else weight * rate


def _cubic(u: Tensor, slope: bool) -> Tensor:
    """The weight of a level that is u levels away in interpolation through the four nearest, or its derivative."""
    a = u.abs()
    if slope:
        near, far = (3 * a**2 - 4 * a - 1) / 2, -(3 * a**2 - 12 * a + 11) / 6
    else:
        near, far = (1 - a**2) * (2 - a) / 2, (1 - a) * (2 - a) * (3 - a) / 6
    weight = torch.where(a < 1, near, torch.where(a < 2, far, 0))
    return torch.where(u < 0, -weight, weight) if slope else weight


def _convolve(image: Tensor, taps: Tensor) -> Tensor:
    batch, channels, height, width = image.shape
    # Taps that reach beyond the image from everywhere in it meet zeros only.
    excess = max(0, len(taps) // 2 - max(height, width))
    taps = taps[excess : len(taps) - excess].to(image)
    planes = image.reshape(batch * channels, 1, height, width)
    with torch.autocast(image.device.type, enabled=False):
        planes = torch.nn.functional.conv2d(planes, taps.view(1, 1, 1, -1), padding=(0, len(taps) // 2))
        planes = torch.nn.functional.conv2d(planes, taps.view(1, 1, -1, 1), padding=(len(taps) // 2, 0))
    return planes.reshape(batch, channels, height, width)
