"""Exact disparity made as coarse as what a network guesses from one photo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def coarsen_disparity(
    disparity: Tensor,
    generator: torch.Generator,
    *,
    reduction: tuple[float, float] = (4.0, 8.0),
    displacement: float = 4.0,
    drift: float = 0.12,
) -> Tensor:
    """Degrades disparity the way MegaDepth's is: low resolution, soft and misplaced edges, no thin things, no scale.

    The map is reduced, thin structures fall to a median, edges are moved and smoothed, slow errors are added over the
    whole frame; then it is stretched to an unknown part of 0..1, quantized to 256 steps and enlarged again.

    Args:
        disparity: ``(B, 1, H, W)``, larger is nearer.
        generator: Source of randomness, on the map's device.
        reduction: Smallest and largest factor of the reduction, at least 1.
        displacement: How far edges move, pixels (standard deviation).
        drift: Slow errors over the range of the disparity (standard deviation).

    Returns:
        ``(B, 1, H, W)`` float32 in 0..1, still larger where nearer; scale and shift are unknown.

    Raises:
        ValueError: If an argument does not fit.

    Example:
        >>> near = torch.zeros(1, 1, 64, 64)
        >>> near[..., 16:48, 16:48] = 1
        >>> coarse = coarsen_disparity(near, torch.Generator().manual_seed(0))
        >>> bool(coarse[0, 0, 32, 32] > coarse[0, 0, 2, 2])
        True
    """
    if disparity.dim() != 4 or disparity.shape[1] != 1 or not disparity.is_floating_point():
        raise ValueError(f"disparity must be (B, 1, H, W) floating point, got {tuple(disparity.shape)}")
    if not 1 <= reduction[0] <= reduction[1]:
        raise ValueError(f"reduction must be two factors of at least 1, the smaller first, got {reduction}")
    return torch.cat([_coarsen(one[None].float(), generator, reduction, displacement, drift) for one in disparity])


def _coarsen(
    disparity: Tensor, generator: torch.Generator, reduction: tuple[float, float], displacement: float, drift: float
) -> Tensor:
    """The same for one map, (1, 1, H, W)."""
    device = disparity.device
    first, second, third = torch.rand(3, generator=generator, device=device).tolist()
    height, width = disparity.shape[2:]
    factor = reduction[0] + (reduction[1] - reduction[0]) * first
    size = (max(4, round(height / factor)), max(4, round(width / factor)))
    small = functional.interpolate(disparity, size, mode="bilinear", antialias=True)
    around = functional.unfold(functional.pad(small, (2, 2, 2, 2), mode="replicate"), 5)  # (1, 25, h w)
    small = around.median(dim=1).values.view(1, 1, *size)

    moved = displacement * _wave(2, 0.06, size, generator, device).permute(0, 2, 3, 1)
    frame = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], device=device)
    grid = functional.affine_grid(frame, [1, 1, *size], align_corners=False)
    grid = grid + moved * torch.tensor([2 / width, 2 / height], device=device)
    small = functional.grid_sample(small, grid, padding_mode="border", align_corners=False)
    small = functional.avg_pool2d(functional.pad(small, (1, 1, 1, 1), mode="replicate"), 3, stride=1)

    low, high = small.amin(), small.amax()
    small = (small - low) / (high - low).clamp(min=1e-6)
    slow = _wave(2, 0.4, size, generator, device)
    small = small * (1 + drift * slow[:, :1]) + 0.5 * drift * slow[:, 1:]
    low, high = small.amin(), small.amax()
    darkest, brightest = 0.25 * second, 1 - 0.25 * third
    small = darkest + (brightest - darkest) * (small - low) / (high - low).clamp(min=1e-6)
    small = (small * 255).round() / 255
    return functional.interpolate(small, (height, width), mode="bilinear")


def _wave(
    channels: int, share: float, size: tuple[int, int], generator: torch.Generator, device: torch.device
) -> Tensor:
    """Smooth noise (1, C, h, w) of unit variance or less, with bumps as wide as a share of the longer side."""
    cell = max(1.0, share * max(size))
    coarse = (max(2, round(size[0] / cell)), max(2, round(size[1] / cell)))
    noise = torch.randn(1, channels, *coarse, generator=generator, device=device)
    return functional.interpolate(noise, size, mode="bicubic", align_corners=False)
