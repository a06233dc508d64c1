"""Finds the lens of a pair: blur strength, focus, exposure and the shape of the aperture.

``python examples/recover_lens.py`` makes up a scene, traces it through a mirror lens, whose blur is a ring, at a longer
exposure, and fits lenses of several shapes to the two pictures; ``--size 96x64 --shapes disk ring:0.5`` is the short
form. For one's own pair: ``--photo sharp.jpg --bokeh open.jpg --disparity near_is_bright.png``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from depthbokeh import BokehRenderer, LensFit, fit_lens
from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.data import random_scene
from depthbokeh.data.synthesize import parse_size
from depthbokeh.photo import read_map, read_photo, write_photo

_SEED = 9
_SHAPES = ("disk", "gaussian", "polygon:5", "polygon:6", "ring:0.5")
_TRUE_SHAPE, _TRUE_GAIN = "ring:0.5", 1.25


class Lens(NamedTuple):
    """What the made-up pair was taken with."""

    shape: str
    strength: float
    focus: float
    gain: float


def make_pair(size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Lens]:
    """Photo and bokeh in sRGB, the disparity, and the lens."""
    scene = random_scene(_SEED, size, portraits=True)
    scene = replace(scene, strength=scene.strength * max(size) / 20 / scene.largest_radius())
    pair = scene.render(_TRUE_SHAPE)
    # More light through the open lens is less light through the other: so neither picture is clipped more.
    photo = linear_to_srgb(pair.all_in_focus / _TRUE_GAIN).clamp(0, 1)
    bokeh = linear_to_srgb(pair.bokeh).clamp(0, 1)
    return photo, bokeh, pair.disparity, Lens(_TRUE_SHAPE, scene.strength, scene.focus, _TRUE_GAIN)


def fit_shapes(photo: Tensor, bokeh: Tensor, disparity: Tensor, shapes: Sequence[str]) -> dict[str, LensFit]:
    """The best lens of every shape."""
    fits = {}
    for shape in shapes:
        fit = fits[shape] = fit_lens(photo, bokeh, disparity, aperture=shape)
        print(f"{shape}: strength {fit.strength:.2f} px, focus {fit.focus:.3f}, {fit.psnr_gain_db:.2f} dB", flush=True)
    return fits


def main(argv: Sequence[str] | None = None) -> tuple[Lens, Lens | None]:
    """Returns the lens that is found and the true one, None where that is not known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=(128, 192), metavar="WxH")
    parser.add_argument("--shapes", nargs="+", default=_SHAPES, help="apertures to try")
    parser.add_argument("--photo", type=Path, help="all in focus")
    parser.add_argument("--bokeh", type=Path, help="the same through an open lens")
    parser.add_argument("--disparity", type=Path, help="a map in which bright is near")
    parser.add_argument("--output", type=Path, default=Path("recover_lens.png"), help="photo, rendered, bokeh")
    options = parser.parse_args(argv)
    given = [options.photo, options.bokeh, options.disparity]
    if any(given) and not all(given):
        parser.error("--photo, --bokeh and --disparity belong together")
    truth = None
    if all(given):
        photo, bokeh = read_photo(options.photo).image, read_photo(options.bokeh).image
        disparity = read_map(options.disparity, (photo.shape[2], photo.shape[3]))
    else:
        photo, bokeh, disparity, truth = make_pair(options.size)
    fits = fit_shapes(photo, bokeh, disparity, options.shapes)
    shape, fit = max(fits.items(), key=lambda item: item[1].psnr_gain_db)
    found = Lens(shape, fit.strength, fit.focus, sum(fit.gain) / 3)
    print(f"found: {found}\ntrue: {truth or 'not known'}\nthe pair fits: {fit.fits}, {fit.reason}")
    rendered = BokehRenderer(shape)(photo, disparity, focus=fit.focus, strength=fit.strength)
    exposed = linear_to_srgb(srgb_to_linear(rendered) * torch.tensor(fit.gain).view(1, 3, 1, 1))
    write_photo(options.output, torch.cat([photo, exposed, bokeh], 3), overwrite=True)
    return found, truth


if __name__ == "__main__":
    main()
