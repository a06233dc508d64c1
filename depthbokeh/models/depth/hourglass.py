"""The hourglass network of MegaDepth, with the names that its published checkpoint uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch
from torch import Tensor, nn

Inception: TypeAlias = tuple[int, int, int, tuple[int, int, int]]
"""Channels of the 1x1 branch, of the others before and after their larger kernel, and the sizes of those kernels."""

_A: Inception = (32, 32, 32, (3, 5, 7))
_B: Inception = (64, 32, 64, (3, 5, 7))
_C: Inception = (64, 64, 64, (3, 7, 11))
_WIDE: Inception = (32, 64, 32, (3, 5, 7))
_NARROW: Inception = (16, 32, 16, (3, 7, 11))
_SKIP_FINE: Inception = (16, 64, 16, (3, 7, 11))
_SKIP_COARSE: Inception = (32, 64, 32, (3, 7, 11))

HOURGLASS_MULTIPLE = 16
"""What the sides of the network's input are multiples of: it halves them four times."""


class _Concat(nn.Sequential):
    """All children see the same input; their channels are joined."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.cat([branch(input) for branch in self], 1)


class _Sum(nn.Sequential):
    """All children see the same input; their outputs are added."""

    def forward(self, input: Tensor) -> Tensor:
        first, second = self
        total: Tensor = first(input) + second(input)
        return total


def build_hourglass() -> nn.Sequential:
    """Builds the network of Chen, Fu, Yang and Deng, "Single-Image Depth Perception in the Wild", 2016.

    As trained by Li and Snavely, "MegaDepth", 2018: 5,357,153 parameters in 156 convolutions and the first of 155
    BatchNorms, which alone is affine. Names and order of the tensors are those of the authors' checkpoint.

    Returns:
        Photo ``(B, 3, H, W)``, sRGB 0..1, sides multiples of 16, to log depth ``(B, 1, H, W)``.

    Example:
        >>> with torch.device("meta"):
        ...     network = build_hourglass()
        >>> sum(weight.numel() for weight in network.parameters())
        5357153
        >>> list(network.state_dict())[-1]
        '4.bias'
    """
    level4 = _hourglass(
        [*_inceptions(256, _B, _B)],
        [nn.AvgPool2d(2), *_inceptions(256, _B, _B, _B), nn.UpsamplingNearest2d(scale_factor=2)],
    )
    level3 = _hourglass(
        [*_inceptions(256, _B, _C)],
        [
            nn.AvgPool2d(2),
            *_inceptions(256, _B, _B),
            level4,
            *_inceptions(256, _B, _C),
            nn.UpsamplingNearest2d(scale_factor=2),
        ],
    )
    level2 = _hourglass(
        [
            nn.MaxPool2d(2),
            *_inceptions(128, _A, _B),
            level3,
            *_inceptions(256, _B, _A),
            nn.UpsamplingNearest2d(scale_factor=2),
        ],
        [*_inceptions(128, _A, _SKIP_COARSE)],
    )
    level1 = _hourglass(
        [
            nn.MaxPool2d(2),
            *_inceptions(128, _A, _A),
            level2,
            *_inceptions(128, _WIDE, _NARROW),
            nn.UpsamplingNearest2d(scale_factor=2),
        ],
        [*_inceptions(128, _SKIP_FINE)],
    )
    return nn.Sequential(
        nn.Conv2d(3, 128, 7, padding=3),
        nn.BatchNorm2d(128),
        nn.ReLU(inplace=True),
        level1,
        nn.Conv2d(64, 1, 3, padding=1),
    )


def _hourglass(first: list[nn.Module], second: list[nn.Module]) -> nn.Sequential:
    # In a container of its own, as the checkpoint's names have it.
    return nn.Sequential(_Sum(nn.Sequential(*first), nn.Sequential(*second)))


def _inceptions(channels: int, *shapes: Inception) -> Iterator[nn.Module]:
    for first, middle, out, kernels in shapes:
        branches = [_convolutions((channels, first, 1))]
        branches += [_convolutions((channels, middle, 1), (middle, out, kernel)) for kernel in kernels]
        yield _Concat(*branches)
        channels = first + 3 * out


def _convolutions(*shapes: tuple[int, int, int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs, kernel in shapes:
        layers += [
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
            nn.BatchNorm2d(outputs, affine=False),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
