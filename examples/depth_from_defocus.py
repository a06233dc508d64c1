"""Finds disparity from two pictures, all in focus and with bokeh, by gradient descent through the renderer.

``python examples/depth_from_defocus.py`` makes up a portrait, traces it through a lens, forgets its disparity and looks
for it again; ``--size 96x64 --steps 40`` is the short form. Of one's own pair the lens must be known:
``--photo sharp.jpg --bokeh open.jpg --strength 12``, the blur radius of what is farthest, in pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbokeh import BokehRenderer
from depthbokeh.color import linear_to_srgb
from depthbokeh.data import random_scene
from depthbokeh.data.synthesize import parse_size
from depthbokeh.evaluation.metrics import psnr
from depthbokeh.photo import read_photo, write_photo
from depthbokeh.training.losses import smoothness_loss

_SEED = 3
_SMOOTHNESS = 0.01


class DisparityMap(nn.Module):
    """A map that is sought: grids of several sizes, added, and held between 0 and 1."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        sizes = [[max(2, side // cell) for side in size] for cell in (16, 8, 4, 2)]
        self.grids = nn.ParameterList(nn.Parameter(torch.zeros(1, 1, *grid)) for grid in sizes)

    def forward(self) -> Tensor:
        """The map, ``(1, 1, H, W)``."""
        parts = [F.interpolate(grid, self.size, mode="bilinear") for grid in self.grids]
        return torch.stack(parts).sum(0).sigmoid()


def make_pair(size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, float]:
    """Photo and bokeh in sRGB, the true disparity, 1 in focus, and the strength of the lens."""
    scene = random_scene(_SEED, size, portraits=True)
    scene = replace(scene, strength=max(size) / 24 / scene.focus)
    pair = scene.render()
    photo, bokeh = (linear_to_srgb(light).clamp(0, 1) for light in (pair.all_in_focus, pair.bokeh))
    return photo, bokeh, pair.disparity / scene.focus, scene.strength * scene.focus


def find_disparity(photo: Tensor, bokeh: Tensor, strength: float, steps: int) -> Tensor:
    """The disparity with which the photo becomes the bokeh picture; 1, the nearest, is in focus.

    Nothing may lie before the focus: a disk does not tell on which side of it a point is.
    """
    # The layered renderer takes every jump of the disparity for an edge; a map that is yet noise has nothing else.
    renderer = BokehRenderer(quality="fast")
    found = DisparityMap((photo.shape[2], photo.shape[3]))
    optimizer = torch.optim.Adam(found.parameters(), lr=0.05)
    for step in range(steps):
        disparity = found()
        loss = F.l1_loss(renderer(photo, disparity, focus=1.0, strength=strength), bokeh)
        optimizer.zero_grad()
        (loss + _SMOOTHNESS * smoothness_loss(disparity, photo).mean()).backward()
        optimizer.step()
        if step % max(1, steps // 5) == 0:
            print(f"step {step}: loss {loss.item():.4f}")
    return found().detach()


def main(argv: Sequence[str] | None = None) -> tuple[float, float] | None:
    """Returns the mean error of the best constant and of what is found, or None where the truth is not known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=(128, 192), metavar="WxH")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--photo", type=Path, help="all in focus")
    parser.add_argument("--bokeh", type=Path, help="the same through an open lens, its focus on what is nearest")
    parser.add_argument("--strength", type=float, default=10.0, help="of one's own pair, px")
    parser.add_argument("--output", type=Path, default=Path("depth_from_defocus.png"))
    options = parser.parse_args(argv)
    if (options.photo is None) is not (options.bokeh is None):
        parser.error("--photo and --bokeh belong together")
    truth = None
    if options.photo:
        photo, bokeh, strength = read_photo(options.photo).image, read_photo(options.bokeh).image, options.strength
    else:
        photo, bokeh, truth, strength = make_pair(options.size)
    found = find_disparity(photo, bokeh, strength, options.steps)
    rendered = BokehRenderer()(photo, found, focus=1.0, strength=strength)
    print(f"PSNR of the photo {float(psnr(photo, bokeh)):.2f} dB, rendered {float(psnr(rendered, bokeh)):.2f} dB")
    maps = [found] if truth is None else [found, truth]
    shown = [photo, bokeh, *(values.expand(-1, 3, -1, -1) for values in maps)]
    write_photo(options.output, torch.cat(shown, 3), overwrite=True)
    if truth is None:
        return None
    errors = [float((guess - truth).abs().mean()) for guess in (truth.median(), found)]
    print(f"mean error of the disparity, 0..1: best constant {errors[0]:.3f}, found {errors[1]:.3f}")
    return errors[0], errors[1]


if __name__ == "__main__":
    main()
