"""Draws how slices of one slanted wall add up: by saturating coverage, and by laying one over the other."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import pyplot as plt
from style import GREY, NAIVE, OURS, run, save
from torch import Tensor

from depthbokeh import DefocusLayers, scatter_blur

_WIDTH, _HEIGHT = 120, 48
_COUNTS = (2, 4, 8, 16)
_LARGEST = 9.0


def draw(out: Path) -> None:
    """Draws docs/images/coverage.png."""
    figure, panels = plt.subplots(1, 3, figsize=(10.4, 3.2), layout="constrained", dpi=110)
    waves = {count: _blur(count) for count in (1, *_COUNTS)}
    x = torch.arange(_WIDTH)
    for index, cover in enumerate(waves[8]):
        panels[0].plot(x, cover, color=plt.cm.viridis(index / 8), linewidth=1)
    panels[0].plot(x, sum(waves[8]), color=GREY, linestyle="--", linewidth=1, label="their sum")
    panels[0].set(title="blurred coverage w of 8 slices", xlabel="x, px", ylim=(0, 1.25))
    panels[0].legend(loc="upper right")
    for count in _COUNTS:
        tone = 0.35 + 0.65 * count / _COUNTS[-1]
        over, saturating = _lay_over(waves[count]), _saturate(waves[count])
        panels[1].plot(x, over, color=NAIVE, alpha=tone, linewidth=1.2, label=f"{count} slices")
        panels[2].plot(x, saturating, color=OURS, alpha=tone, linewidth=1.2, label=f"{count} slices")
    for axes, title in zip(panels[1:], ("over: 1 − ∏ (1 − w)", "saturating: min(1, Σ w)"), strict=True):
        axes.plot(x, waves[1][0], ":", color="black", linewidth=1, label="not sliced")
        axes.set(title=f"how opaque the wall is, {title}", xlabel="x, px", ylim=(0.6, 1.02))
        axes.legend(loc="lower center", ncols=2, fontsize=7.5)
    save(figure, out / "coverage.png")


def _blur(count: int) -> list[Tensor]:
    """Coverage of every slice along the middle row, the nearest first: an opaque wall from near to far."""
    defocus = torch.linspace(_LARGEST, -_LARGEST, _WIDTH).expand(1, 1, 1, _HEIGHT, _WIDTH).contiguous()
    wall = DefocusLayers(torch.ones_like(defocus), defocus)
    slices = wall if count == 1 else wall.slice(count)
    margin = 12  # beyond the frame the wall goes on
    covers = []
    for index in range(count - 1, -1, -1):
        planes = [values[:, index] for values in (slices.alpha, slices.defocus.abs())]
        alpha, radius = (torch.nn.functional.pad(plane, (margin,) * 4, mode="replicate") for plane in planes)
        blurred = scatter_blur(alpha, torch.where(alpha > 0, radius, 0))
        covers.append(blurred[0, 0, margin + _HEIGHT // 2, margin:-margin])
    return covers


def _lay_over(covers: list[Tensor]) -> Tensor:
    return 1 - torch.stack([1 - cover for cover in covers]).prod(0)


def _saturate(covers: list[Tensor]) -> Tensor:
    return torch.stack(covers).sum(0).clamp(max=1)


if __name__ == "__main__":
    run(draw)
