"""Draws a pixel's weight and its derivative over the radius: rows, whole pixels, and a soft edge."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from style import NAIVE, OURS, SOFT, run, save
from torch import Tensor

from depthbokeh import scatter_blur

_REACH = 9
_OFFSETS = ((0, 0), (2, 1), (4, 0))
_LARGEST = 6.0
_STEPS = 1201


def draw(out: Path) -> None:
    """Draws docs/images/weight.png."""
    radius = torch.linspace(0, _LARGEST, _STEPS, dtype=torch.float64)
    names = ("rows, exact (depthbokeh)", "whole pixels within r", "soft edge, (½ + ½ tanh 4(r − d)) / (r² + 0.2)")
    kernels = (_exact(radius), _discrete(radius), _soft(radius))
    figure, panels = plt.subplots(2, len(_OFFSETS) + 1, figsize=(10.4, 4.6), dpi=110, sharex=True)
    figure.subplots_adjust(left=0.06, right=0.99, top=0.86, bottom=0.1, wspace=0.32, hspace=0.2)
    for column, (dx, dy) in enumerate(_OFFSETS):
        for weight, colour, name in zip(kernels, (OURS, NAIVE, SOFT), names, strict=True):
            values = weight[:, dy + _REACH, dx + _REACH]
            panels[0, column].plot(radius, values, color=colour, linewidth=1.2, label=name)
            slope, jumps = _differentiate(radius, values)
            panels[1, column].plot(radius, slope, color=colour, linewidth=1.2)
            panels[1, column].plot(jumps, torch.zeros_like(jumps), "o", color=colour, markersize=2.5)
        panels[0, column].set(title=f"pixel ({dx}, {dy})", ylim=(0, None))
    panels[0, 0].set(ylabel="weight k", ylim=(0, 1.1))
    panels[1, 0].set(ylabel="∂k/∂r, 1/px", ylim=(-4, 1.5))
    panels[1, 1].set(ylim=(-0.1, 0.15))
    panels[1, 2].set(ylim=(-0.03, 0.06))
    for weight, colour in zip(kernels, (OURS, NAIVE, SOFT), strict=True):
        panels[0, -1].plot(radius, weight.sum((1, 2)), color=colour, linewidth=1.2)
        panels[1, -1].plot(radius, _deviation(weight), color=colour, linewidth=1.2)
    panels[0, -1].set(title="sum of all weights", ylim=(0, 1.5))
    panels[1, -1].set(title="radius √(2⟨d²⟩), px", ylim=(0, _LARGEST))
    panels[1, -1].plot([0, _LARGEST], [0, _LARGEST], ":", color="0.5", linewidth=1)
    for axes in panels[1]:
        axes.set(xlabel="r, px")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="upper center", ncols=3)
    save(figure, out / "weight.png")


def _exact(radius: Tensor) -> Tensor:
    size = 2 * _REACH + 1
    point = torch.zeros(len(radius), 1, size, size, dtype=radius.dtype)
    point[..., _REACH, _REACH] = 1
    return scatter_blur(point, radius.view(-1, 1, 1, 1).expand_as(point))[:, 0]


def _distance() -> Tensor:
    along = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64)
    return torch.hypot(along[:, None], along)


def _discrete(radius: Tensor) -> Tensor:
    inside = (_distance() <= radius.view(-1, 1, 1)).double()
    return inside / inside.sum((1, 2), keepdim=True)


def _soft(radius: Tensor) -> Tensor:
    at = radius.view(-1, 1, 1)
    return (0.5 + 0.5 * torch.tanh(4 * (at - _distance()))) / (at**2 + 0.2) / math.pi


def _differentiate(radius: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The derivative, and where the values jump, so that there is none."""
    step = values.diff()
    # A kernel that only jumps is constant between its jumps.
    jumps = (step != 0) & (step == 0).float().mean().gt(0.9)
    slope = torch.nn.functional.pad(step / radius.diff(), (0, 1))
    return torch.where(torch.nn.functional.pad(jumps, (0, 1)), torch.nan, slope), radius[:-1][jumps]


def _deviation(weight: Tensor) -> Tensor:
    """The radius of the disk of the same second moment, pixels' own extent left out."""
    total = weight.sum((1, 2)).clamp(min=1e-9)
    return (2 * (weight * _distance() ** 2).sum((1, 2)) / total).sqrt()


if __name__ == "__main__":
    run(draw)
