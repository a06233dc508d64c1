"""Draws the footprints of all apertures at several radii: what one pixel's light becomes."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import pyplot as plt
from style import run, save, show

from depthbokeh import Aperture, scatter_blur

_SHAPES = (
    "disk", "polygon:6", "polygon:5:10", "polygon:7:0:0.5", "ring:0.5", "cat_eye:0.5", "ellipse:0.6:30", "gaussian"
)  # fmt: skip
_RADII = (0.75, 1.5, 3.0, 6.0, 12.0)
_HALF = 19


def draw(out: Path) -> None:
    """Draws docs/images/footprints.png."""
    size = 2 * _HALF + 1
    point = torch.zeros(1, 1, size, size)
    point[..., _HALF, _HALF] = 1
    figure, panels = plt.subplots(
        len(_RADII), len(_SHAPES), figsize=(9.6, 6.15), dpi=110, gridspec_kw={"wspace": 0.06, "hspace": 0.06}
    )
    figure.subplots_adjust(left=0.035, right=0.998, top=0.96, bottom=0.005)
    for row, radius in zip(panels, _RADII, strict=True):
        # Every row of panels shows as much around the shape as the shape is large, so that its pixels are seen.
        reach = min(_HALF, round(1.5 * radius + 1.5))
        for axes, shape in zip(row, _SHAPES, strict=True):
            spread = scatter_blur(point, torch.full_like(point, radius), Aperture.parse(shape))
            part = spread[0, 0, _HALF - reach : _HALF + reach + 1, _HALF - reach : _HALF + reach + 1]
            show(axes, (part / part.max()).numpy(), cmap="magma")
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(f"r = {radius:g}")
    for axes, shape in zip(panels[0], _SHAPES, strict=True):
        axes.set_title(shape)
    save(figure, out / "footprints.png")


if __name__ == "__main__":
    run(draw)
