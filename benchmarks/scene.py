"""A picture with depth for timing renderers: a subject with a sharp edge before a slanted, textured background."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class PictureWithDepth(NamedTuple):
    """All-in-focus picture ``(1, 3, H, W)`` in sRGB, disparity and mask ``(1, 1, H, W)``, all 0..1."""

    image: Tensor
    disparity: Tensor
    mask: Tensor

    def strength(self, radius: float) -> float:
        """What makes the largest blur radius of the picture, focused on its subject, this many pixels."""
        return radius / float((self.disparity - self.focus).abs().max())

    @property
    def focus(self) -> float:
        """The subject's disparity."""
        return _SUBJECT


_SUBJECT = 0.7


def make_scene(height: int, width: int) -> PictureWithDepth:
    """The same picture in every run.

    A ground rises from far to nearer than the subject at the lower rim; a wavy blob stands on it. Fine stripes and
    noise everywhere: no pixel is like its neighbour.
    """
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    angle, distance = torch.atan2(y - 0.5, x - 0.5), torch.hypot((y - 0.5) * height, (x - 0.5) * width) / height
    blob = 0.28 + 0.03 * torch.sin(7 * angle) + 0.012 * torch.sin(29 * angle)
    mask = ((blob - distance) * height + 0.5).clamp(0, 1)
    ground = 0.1 + 0.9 * y.square()
    disparity = torch.where(mask > 0.5, torch.full_like(ground, _SUBJECT), ground)
    phases = torch.tensor([0.0, 2.0, 4.0])[:, None, None]
    stripes = torch.sin(2 * math.pi * (x * width / 9 + y * height / 23) + phases)
    texture = 0.5 + 0.2 * stripes + 0.2 * (torch.rand(3, height, width, generator=generator) - 0.5)
    image = texture * (1 - 0.5 * mask) + 0.3 * mask
    return PictureWithDepth(image.clamp(0, 1)[None], disparity[None, None], mask[None, None])
