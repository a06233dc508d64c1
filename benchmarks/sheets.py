"""Draws the pictures of docs/quality.md: made-up scenes by this library and by BokehMe's weights, beside the truth.

``python benchmarks/sheets.py --out docs/images`` writes one sheet a scene and prints the table; 1 to 2 minutes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from quality_scenes import psnr
from schemes import SCHEMES, Shot
from torch import Tensor

from depthbokeh import BokehRenderer
from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.data import SyntheticPair, random_scene
from depthbokeh.photo import write_photo

# Each shows something else; the number is that of `depthbokeh.data.random_scene`.
SCENES = {"foliage": 31, "near grass": 32, "near bars": 46, "lights": 37, "lights and branches": 4}
SIZE = (256, 384)
_RADIUS = 10.0  # the largest, pixels
_ERROR_SCALE = 5
_GAP = 4
# What the command line does to clipped lamps.
_HIGHLIGHTS = 4.0
_HEAD = ("scene", "input", "BokehMe's weights", "fast", "default", "exact", "BokehMe's, 8 bits", "default, 8 bits")


def make_shot(seed: int) -> tuple[Shot, SyntheticPair]:
    """The scene through a lens that is as open as the sheets need."""
    scene = random_scene(seed, SIZE)
    scene = replace(scene, strength=scene.strength * _RADIUS / scene.largest_radius())
    pair = scene.render()
    return Shot(pair.all_in_focus, pair.disparity, pair.mask, scene.focus, scene.strength, exact=True), pair


def render_all(shot: Shot) -> dict[str, Tensor]:
    """Pictures in linear light, named as the table's columns."""
    pictures = {name: SCHEMES[name](shot) for name in ("input", "bokehme", "fast", "default", "exact")}
    clipped = srgb_to_linear((255 * linear_to_srgb(shot.linear).clamp(0, 1)).round() / 255)
    photo = replace(shot, linear=clipped)
    renderer = BokehRenderer(gamma="linear", highlights=_HIGHLIGHTS)
    pictures["bokehme_8bit"] = SCHEMES["bokehme"](photo)
    pictures["default_8bit"] = renderer(clipped, shot.disparity, shot.mask, focus=shot.focus, strength=shot.strength)
    return pictures


def draw_sheet(pictures: dict[str, Tensor], truth: Tensor) -> Tensor:
    """Input, default, truth; below the errors of BokehMe's weights, default and exact. sRGB."""
    shown = {name: linear_to_srgb(picture).clamp(0, 1) for name, picture in (pictures | {"truth": truth}).items()}
    errors = [_ERROR_SCALE * (shown[name] - shown["truth"]).abs() for name in ("bokehme", "default", "exact")]
    rows = [[shown[name] for name in ("input", "default", "truth")], errors]
    tiles = [torch.cat([F.pad(tile, (0, _GAP, 0, _GAP), value=1.0) for tile in row], 3) for row in rows]
    return torch.cat(tiles, 2)[..., :-_GAP, :-_GAP]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the sheets go")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(_HEAD)} |\n|{' --- |' * len(_HEAD)}")
    for name, seed in SCENES.items():
        shot, pair = make_shot(seed)
        with torch.no_grad():
            pictures = render_all(shot)
        truth = linear_to_srgb(pair.bokeh)
        values = [f"{psnr(linear_to_srgb(picture), truth):.2f}" for picture in pictures.values()]
        print(f"| {name} | {' | '.join(values)} |", flush=True)
        sheet = draw_sheet(pictures, pair.bokeh)
        write_photo(out / f"quality_{name.replace(' ', '_')}.jpg", sheet, quality=82, overwrite=True)


if __name__ == "__main__":
    main()
