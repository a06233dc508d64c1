"""Other ways to render shallow focus from one picture and its defocus, written from their formulas.

Every scheme takes ``linear`` (B, 3, H, W) in linear light and ``defocus`` (B, 1, H, W) in pixels, positive in front of
the focus plane, and returns (B, 3, H, W) in linear light. They are yardsticks: plain PyTorch, without gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from depthbokeh import BlendRenderer, gather_blur, scatter_blur
from depthbokeh.color import linear_to_srgb, srgb_to_linear

# This far from the disk's edge 0.5 + 0.5 tanh(4 x) is 0 or 1 within 2e-7, float32's precision.
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

    ``y(p) = sum_q w(q, |p - q|) x(q) / sum_q w(q, |p - q|)`` with ``w = (0.5 + 0.5 tanh(4 (r - d))) / (r^2 + 0.2)``
    over the taps of a square that reaches ``floor(r) + 1`` pixels to every side, O(r^2).
    """
    radius = defocus.abs()  # (B, 1, H, W)
    weighted = torch.cat([linear, torch.ones_like(radius)], 1) / (radius**2 + 0.2)  # (B, 4, H, W)
    batch, _, height, width = weighted.shape
    margin = math.floor(float(radius.max())) + 1
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
    for a, b in _octant(math.floor(most) + 1, most + _TAIL):
        distance = math.hypot(a, b)
        spread = weighted
        if distance > least - _TAIL:
            spread = spread * (0.5 + 0.5 * torch.tanh(4 * (radius - distance)))
        if a > math.floor(least) + 1:
            spread = spread * (radius.floor() + 1 >= a)
        # One weight serves all taps that are this far away.
        for dy, dx in {(y, x) for u, v in ((a, b), (b, a)) for y in (u, -u) for x in (v, -v)}:
            sums[..., margin + dy :, margin + dx :][..., :height, :width] += spread


def _octant(side: int, reach: float) -> Iterator[tuple[int, int]]:
    """The taps with side >= a >= b >= 0 that are not farther away than ``reach``."""
    for a in range(side + 1):
        for b in range(a + 1):
            if math.hypot(a, b) <= reach:
                yield a, b


def planes(linear: Tensor, defocus: Tensor, count: int = 32, *, by_fft: bool = True) -> Tensor:
    """The renderer of MPIB (Peng et al., ECCV 2022), without the network that fills in what the planes hide.

    The range of defocus is cut into ``count`` equal planes. From back to front each one's colour and alpha are blurred
    with the disk of its central radius, rounded to whole pixels, and laid over what is behind; the sum is divided by
    the alpha that came together. The published renderer convolves tap by tap, as it does here without ``by_fft``.
    """
    near, far = float(defocus.max()), float(defocus.min())
    position = ((defocus - far) / max(near - far, 1e-6) * count).floor().clamp(max=count - 1)
    covered = torch.cat([linear, torch.ones_like(defocus)], 1)  # (B, 4, H, W)
    result = torch.zeros_like(covered)
    for index in range(count):
        alpha = (position == index).to(linear.dtype)
        center = far + (index + 0.5) / count * (near - far)
        result = _lay_over(result, covered * alpha, round(abs(center)), by_fft)
    return result[:, :3] / result[:, 3:]


def soft_layers(linear: Tensor, defocus: Tensor, count: int = 15, steepness: float = 100.0) -> Tensor:
    """The renderer of D2F (Luo et al., "Defocus to focus", 2022): overlapping layers, the most blurred one first.

    With the radius s in units of the largest one and layers at s_i = i / (count - 1), layer i has the weight
    ``0.5 + 0.5 tanh(steepness (1 / (count - 1) - |s - s_i|))``. Blurred with the disk of its radius, rounded to whole
    pixels, each one is laid over the more blurred ones. Nothing tells what is in front from what is behind.
    """
    largest = max(float(defocus.abs().max()), 1e-6)
    share = defocus.abs() / largest  # (B, 1, H, W)
    covered = torch.cat([linear, torch.ones_like(share)], 1)  # (B, 4, H, W)
    result = torch.zeros_like(covered)
    for index in reversed(range(count)):
        center = index / (count - 1)
        weight = 0.5 + 0.5 * torch.tanh(steepness * (1 / (count - 1) - (share - center).abs()))
        result = _lay_over(result, covered * weight, round(center * largest))
    return result[:, :3] / (result[:, 3:] + 1e-10)


def _lay_over(behind: Tensor, layer: Tensor, radius: int, by_fft: bool = True) -> Tensor:
    """``layer`` (B, 4, H, W), colour times alpha and alpha, is blurred and covers what is behind."""
    if bool((layer[:, 3] == 0).all()):
        return behind
    blurred = _convolve(layer, _soft_disk(radius).to(layer), by_fft)
    return behind * (1 - blurred[:, 3:]) + blurred


def _soft_disk(radius: int) -> Tensor:
    """``0.5 + 0.5 tanh((r^2 - d^2) / 4 + 0.5)``, scaled to a sum of 1; both papers' code blurs with it."""
    if radius == 0:
        return torch.ones(1, 1)
    squares = torch.arange(-radius, radius + 1, dtype=torch.float32) ** 2
    kernel = 0.5 + 0.5 * torch.tanh(0.25 * (radius**2 - squares[:, None] - squares) + 0.5)
    return kernel / kernel.sum()


def _convolve(image: Tensor, kernel: Tensor, by_fft: bool = True) -> Tensor:
    """Convolves with a symmetric kernel (2 r + 1, 2 r + 1); beyond the frame the border goes on."""
    radius = kernel.shape[0] // 2
    if radius == 0:
        return image * kernel
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    if not by_fft:
        channels = image.shape[1]
        return F.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)
    # A multiple of 32 is quick to transform, and what wraps round falls within the padding.
    size = [-(-side // 32) * 32 for side in padded.shape[2:]]
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernel, s=size)
    height, width = image.shape[2:]
    return torch.fft.irfft2(spectrum, s=size)[..., 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]


def blend(linear: Tensor, defocus: Tensor, count: int = 3) -> Tensor:
    """Dutta's blend (2021): display values of the picture and ``count`` Gaussian blurs of it, mixed pixel by pixel.

    The published weights come from a network; here they interpolate between the two nearest radii, of which there are
    ``count`` in equal steps up to the largest.
    """
    largest = max(float(defocus.abs().max()), 1e-3)
    renderer = BlendRenderer([largest * (k + 1) / count for k in range(count)], gamma="linear")
    return srgb_to_linear(renderer(linear_to_srgb(linear), renderer.weigh(defocus)))


def mask_gaussian(linear: Tensor, defocus: Tensor, mask: Tensor) -> Tensor:
    """Portrait mode without depth: in display values, the subject of the mask over one Gaussian blur of the picture.

    The blur's radius (two standard deviations) is the mean one outside of the mask.
    """
    outside = 1 - mask  # (B, 1, H, W)
    mean = (defocus.abs() * outside).sum((1, 2, 3), keepdim=True) / outside.sum((1, 2, 3), keepdim=True).clamp(min=1)
    radius = mean.expand_as(defocus)
    display = linear_to_srgb(linear)
    blurred = scatter_blur(display, radius, "gaussian") / scatter_blur(torch.ones_like(radius), radius, "gaussian")
    return srgb_to_linear(mask * display + outside * blurred)
