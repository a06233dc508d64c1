"""Draws how a disk is made of rows: its exact shares of the pixels, and the two ends of each row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke
from style import GREY, NAIVE, OURS, run, save

from depthbokeh import scatter_blur

_HALO = [withStroke(linewidth=2.5, foreground="white")]
_RADIUS = 3.3
_REACH = 4
_ROW = 2  # the one that the right-hand side follows


def draw(out: Path) -> None:
    """Draws docs/images/rows.png."""
    figure = plt.figure(figsize=(9.6, 4.3), dpi=110)
    grid = figure.add_gridspec(3, 2, width_ratios=(1, 1.25), wspace=0.16, hspace=0.55)
    figure.subplots_adjust(left=0.045, right=0.985, top=0.93, bottom=0.1)
    _draw_disk(figure.add_subplot(grid[:, 0]))
    _draw_row([figure.add_subplot(grid[index, 1]) for index in range(3)])
    save(figure, out / "rows.png")


def half_width(dy: int) -> float:
    """The mean half-width of a row, by the closed form."""

    def integral(y: float) -> float:
        y = min(max(y, -_RADIUS), _RADIUS)
        return 0.5 * (y * math.sqrt(_RADIUS**2 - y**2) + _RADIUS**2 * math.asin(y / _RADIUS))

    return integral(dy + 0.5) - integral(dy - 0.5)


def _draw_disk(axes: Any) -> None:
    size = 2 * _REACH + 1
    point = torch.zeros(1, 1, size, size, dtype=torch.float64)
    point[..., _REACH, _REACH] = 1
    share = scatter_blur(point, torch.full_like(point, _RADIUS))[0, 0].numpy() * math.pi * _RADIUS**2
    edge = _REACH + 0.5
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.6, extent=(-edge, edge, edge, -edge))
    for (row, column), value in np.ndenumerate(share):
        if value > 5e-3:
            axes.text(
                column - _REACH, row - _REACH, f"{value:.2f}", ha="center", va="center", fontsize=7, path_effects=_HALO
            )
    for dy in range(-_REACH, _REACH + 1):
        half = half_width(dy)
        if half > 0:
            axes.add_patch(Rectangle((-half, dy - 0.5), 2 * half, 1, fill=False, edgecolor=OURS, linewidth=1.3))
    axes.add_patch(Circle((0, 0), _RADIUS, fill=False, edgecolor=NAIVE, linewidth=1.3))
    axes.set(xticks=range(-_REACH, _REACH + 1), yticks=range(-_REACH, _REACH + 1), xlabel="dx", ylabel="dy")
    axes.set_title(f"r = {_RADIUS}: pixels' shares of the rows (blue) of the disk (red)")


def _draw_row(panels: list[Any]) -> None:
    """The ends of one row as they are written, the running sum, and what that leaves."""
    half = half_width(_ROW)
    x = np.arange(-_REACH, _REACH + 2)
    starts, shares = np.zeros(len(x)), np.zeros(len(x))
    for end, sign in ((-half, 1.0), (half, -1.0)):
        place = math.floor(end + 0.5)  # the pixel that the end falls into
        starts[place + _REACH] += sign
        shares[place + _REACH] += sign * (end + 0.5 - place)
    running = np.cumsum(starts)
    titles = (
        f"row dy = {_ROW} ends at ±{half:.2f}: light, and its share left of the end",
        "running sum S along x",
        "S less the shares: the row of the kernel, times πr²",
    )
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, loc="left")
        axes.set(xticks=x[:-1], xlim=(-_REACH - 0.6, _REACH + 0.6))
        axes.axhline(0, color="0.6", linewidth=0.6)
    panels[0].bar(x - 0.14, starts, 0.26, color=OURS, label="light")
    panels[0].bar(x + 0.14, shares, 0.26, color=GREY, label="share")
    panels[0].set(ylim=(-1.3, 1.3))
    panels[0].legend(loc="upper right", ncols=2, handlelength=1)
    panels[1].bar(x, running, 0.9, color=OURS, alpha=0.6)
    panels[1].set(ylim=(0, 1.25))
    panels[2].bar(x, running - shares, 0.9, color=OURS)
    panels[2].set(ylim=(0, 1.25), xlabel="dx")
    panels[2].axvspan(-half, half, color=NAIVE, alpha=0.12, linewidth=0)


if __name__ == "__main__":
    run(draw)
