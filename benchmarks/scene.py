"""A picture with depth for timing renderers."""

from __future__ import annotations

import torch
from torch import Tensor

#: The subject's disparity.
FOCUS = 0.6


def make_scene(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """A textured subject before a ground that recedes and some things nearer and farther, the same in every run.

    Returns:
        All-in-focus image ``(1, 3, H, W)`` in sRGB, disparity and mask ``(1, 1, H, W)``, all 0..1.
    """
    random = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    image = torch.rand(1, 3, height, width, generator=random)
    for size in (8, 64):
        coarse = torch.rand(1, 3, height // size + 2, width // size + 2, generator=random)
        image += torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    disparity = 0.1 + 0.7 * y
    for index in range(24):
        centre_x, centre_y, radius = torch.rand(3, generator=random).tolist()
        inside = (x - centre_x) ** 2 + (y - centre_y) ** 2 < (0.02 + 0.08 * radius) ** 2
        disparity = torch.where(inside, 0.05 + 0.9 * index / 23, disparity)
    distance = torch.sqrt((2.2 * (x - 0.5)) ** 2 + (y - 0.6) ** 2)
    mask = ((0.3 - distance) * height / 2 + 0.5).clamp(0, 1)
    disparity = torch.where(mask > 0.5, FOCUS, disparity)
    # Estimated depth is soft at its edges.
    disparity = torch.nn.functional.avg_pool2d(disparity[None, None], 5, 1, 2, count_include_pad=False)
    return image / 3, disparity, mask[None, None]
