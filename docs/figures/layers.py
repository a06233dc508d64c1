"""Draws what becomes of a photo on its way: maps, both surfaces, slices, and the picture."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from made_up import make_pair
from matplotlib import pyplot as plt
from style import encode, run, save, show, to_pixels
from torch import Tensor

from depthbokeh import composite, fuse_layers

_SEED = 21
_RADIUS = 10.0
_SLICES = 6
_COARSE = 8


def draw(out: Path) -> None:
    """Draws docs/images/layers.jpg."""
    scene, pair = make_pair(_SEED, _RADIUS)
    # As soft at its edges as a network's, but of known scale, so that the truth is what it should come to.
    small = F.avg_pool2d(pair.disparity, _COARSE, ceil_mode=True)
    coarse = F.interpolate(small, pair.disparity.shape[2:], mode="bicubic").clamp(min=0)
    where = {"focus": scene.focus, "strength": scene.strength, "image": pair.all_in_focus, "gamma": "linear"}
    surfaces = fuse_layers(coarse, pair.mask, layers=None, **where)
    rendered = composite(pair.all_in_focus, surfaces, gamma="linear", slices=8)
    figure, panels = plt.subplots(4, 4, figsize=(10.4, 7.7), dpi=110)
    figure.subplots_adjust(left=0.004, right=0.996, top=0.965, bottom=0.006, wspace=0.03, hspace=0.16)
    _draw_inputs(panels[0], pair.all_in_focus, coarse, pair.mask, surfaces.defocus[:, 1])
    for row, layer, name in ((panels[1], 1, "in front"), (panels[2], 0, "behind")):
        alpha, defocus = surfaces.alpha[:, layer], surfaces.defocus[:, layer]
        assert surfaces.color is not None
        show(row[0], to_pixels(alpha), f"surface {name}: alpha")
        _show_defocus(row[1], defocus, alpha, "its defocus")
        show(row[2], encode(surfaces.color[:, layer]), "its colour")
        show(row[3], encode(surfaces.color[:, layer] * alpha), "colour × alpha: what is blurred")
    sliced = surfaces.slice(_SLICES)
    assert sliced.color is not None
    for axes, index in zip(panels[3][:2], (1, _SLICES - 1), strict=True):
        light = sliced.color[:, index] * sliced.alpha[:, index]
        show(axes, encode(light), f"slice {index + 1} of {_SLICES}, back to front")
    show(panels[3, 2], encode(rendered), "composite")
    show(panels[3, 3], encode(pair.bokeh), "truth: traced through the lens")
    save(figure, out / "layers.jpg")


def _draw_inputs(row: list[plt.Axes], photo: Tensor, disparity: Tensor, mask: Tensor, defocus: Tensor) -> None:
    show(row[0], encode(photo), "photo")
    show(row[1], to_pixels(disparity / disparity.max()), "coarse disparity")
    show(row[2], to_pixels(mask), "mask")
    _show_defocus(row[3], defocus, torch.ones_like(defocus), "defocus: blue behind, red in front")


def _show_defocus(axes: plt.Axes, defocus: Tensor, alpha: Tensor, title: str) -> None:
    shown = torch.where(alpha > 0.02, defocus, torch.nan)
    axes.set_facecolor("0.8")
    show(axes, shown[0, 0].numpy(), title, cmap="bwr", vmin=-_RADIUS, vmax=_RADIUS)


if __name__ == "__main__":
    run(draw)
