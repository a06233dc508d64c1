"""What the figures of the documentation have in common: colours, files, and a photo to show things on."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch import Tensor

from depthbokeh.color import linear_to_srgb

mpl.use("Agg")
mpl.rcParams.update({"font.size": 9, "axes.titlesize": 9, "legend.frameon": False})
mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

OURS, NAIVE, SOFT, GREY, GREEN = "#2166ac", "#b2182b", "#e08214", "0.45", "#1b7837"
IMAGES = Path(__file__).parents[1] / "images"


def save(figure: Any, path: Path) -> None:
    """Writes a figure: as a PNG of 256 colours, or, if it is made of photos, as a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    plt.close(figure)
    if path.suffix == ".png":
        picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    else:
        picture.save(path, quality=85)


def run(draw: Callable[[Path], None]) -> None:
    """Calls a figure's function with the folder that ``--out`` names, ``docs/images`` by default."""
    parser = argparse.ArgumentParser(description=draw.__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, metavar="DIR", help="where the picture goes")
    torch.set_grad_enabled(False)
    draw(parser.parse_args().out)


def to_pixels(picture: Tensor) -> Any:
    """A picture (1, C, H, W), sRGB or a map 0..1, as matplotlib shows it."""
    return picture[0].clamp(0, 1).permute(1, 2, 0).squeeze(-1).numpy()


def encode(linear: Tensor) -> Any:
    """The same of a picture in linear light."""
    return to_pixels(linear_to_srgb(linear))


def show(axes: Any, pixels: Any, title: str = "", **options: Any) -> None:
    """A picture without ticks, framed."""
    axes.imshow(pixels, **{"interpolation": "nearest", "cmap": "gray", "vmin": 0, "vmax": 1} | options)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.4)
