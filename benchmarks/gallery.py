"""Draws the pictures of docs/gallery.md and prints the figures in their captions.

``python benchmarks/gallery.py --out docs/images/gallery`` draws all sheets, ``--only apertures photos`` some.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import gallery_scenes as scenes
import torch
from PIL import Image, ImageDraw, ImageFont
from quality_scenes import psnr
from schemes import SCHEMES, Shot
from torch import Tensor

from depthbokeh import BokehRenderer
from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.data import Scene, SyntheticPair
from depthbokeh.files import atomic_path
from depthbokeh.optics import lens_strength

Tiles = dict[str, Tensor]  # (1, 1 or 3, H, W), sRGB, by what is written above them
_GAP, _TEXT = 4, 22
_MOST_BYTES = 250_000
_APERTURES = (
    "disk",
    "gaussian",
    "polygon:6",
    "polygon:5:0:0.4",
    "ring:0.6",
    "cat_eye:0.6",
    "ellipse:0.5",
    "ellipse:0.5:90",
)
_FOCAL_LENGTH_M, _SENSOR_WIDTH_M, _STOPS = 0.085, 0.036, (11.0, 5.6, 2.8, 1.4)
_PEERS = {"bokehme": "BokehMe's weights", "planes": "planes as in MPIB", "soft_layers": "soft layers as in D2F"}
_OURS = {"default": 'quality="default"', "exact": 'quality="exact"'}
_HIGHLIGHTS = 4.0
_RAYS = 2400  # of the truth, for every pixel: fewer leave grain in the lamps
_ERROR_SCALE = 5


def draw_photos() -> dict[str, Tiles]:
    """Photo, disparity, rendered; a sheet for each."""
    sheets = {}
    for make in (scenes.astronaut, scenes.hopper, scenes.coffee, scenes.chelsea):
        shot = make()
        renderer = BokehRenderer(highlights=_HIGHLIGHTS)
        rendered = renderer(shot.photo, shot.disparity, shot.mask, focus=shot.focus, strength=shot.strength)
        nearness = shot.disparity / shot.disparity.max()
        sheets[f"photo_{make.__name__}"] = {"photo": shot.photo, "disparity": nearness, "rendered": rendered}
    return sheets


def draw_apertures() -> dict[str, Tiles]:
    scene = scenes.night_portrait()
    pair = scene.render(samples=1)
    tiles = {"all in focus": linear_to_srgb(pair.all_in_focus)}
    tiles |= {shape: render(scene, pair, shape) for shape in _APERTURES}
    return {"apertures": tiles}


def draw_highlights() -> dict[str, Tiles]:
    """From a picture of 8 bits, in which lamps are clipped, without and with their recovery, and the truth."""
    scene = scenes.night_portrait()
    pair = scene.render(samples=_RAYS)
    clipped = srgb_to_linear((255 * linear_to_srgb(pair.all_in_focus).clamp(0, 1)).round() / 255)
    photo = replace(pair, all_in_focus=clipped)
    truth = linear_to_srgb(pair.bokeh)
    tiles = {
        "8 bits, highlights=None": render(scene, photo),
        f"8 bits, highlights={_HIGHLIGHTS:g}": render(scene, photo, highlights=_HIGHLIGHTS),
        "linear light, not clipped": render(scene, pair),
    }
    return {"highlights": {**label_psnr(tiles, truth), "truth": truth}}


def draw_stops() -> dict[str, Tiles]:
    scene = scenes.three_people()
    pair = scene.render(samples=1)
    tiles = {}
    for stop in _STOPS:
        strength = lens_strength(
            focal_length_m=_FOCAL_LENGTH_M,
            f_number=stop,
            focus_distance_m=1 / scene.focus,
            pixels_per_metre=scene.size[1] / _SENSOR_WIDTH_M,
        )
        tiles[f"f/{stop:g}"] = render(replace(scene, strength=float(strength)), pair)
    return {"stops": tiles}


def draw_focus() -> dict[str, Tiles]:
    scene = scenes.three_people()
    pair = scene.render(samples=1)
    strength = 14.0
    tiles = {"all in focus": linear_to_srgb(pair.all_in_focus)}
    for layer in scene.layers[1:]:
        pulled = replace(scene, focus=layer.disparity, strength=strength)
        tiles[f"focus at {1 / layer.disparity:g} m"] = render(pulled, pair)
    return {"focus": tiles}


def draw_strengths() -> dict[str, Tiles]:
    shot = scenes.astronaut()
    renderer = BokehRenderer("polygon:7", highlights=_HIGHLIGHTS)
    tiles = {
        f"strength={strength:g}": renderer(shot.photo, shot.disparity, shot.mask, strength=strength)
        for strength in (4.0, 8.0, 16.0, 32.0)
    }
    return {"strengths": tiles}


def draw_comparisons() -> dict[str, Tiles]:
    """Ours and peers' formulas beside the truth, and the errors below."""
    return {
        f"truth_{name}": compare(scene)
        for name, scene in (("night", scenes.night_portrait(radius=10.0)), ("grass", scenes.behind_grass()))
    }


def compare(scene: Scene) -> Tiles:
    """Peers above, ours and the truth below, each with PSNR over its error."""
    pair = scene.render(samples=_RAYS)
    shot = Shot(pair.all_in_focus, pair.disparity, pair.mask, scene.focus, scene.strength, exact=True)
    truth = linear_to_srgb(pair.bokeh)
    tiles: Tiles = {}
    for names in (_PEERS, _OURS):
        pictures = {label: linear_to_srgb(SCHEMES[name](shot)) for name, label in names.items()}
        tiles |= label_psnr(pictures, truth)
        if names is _OURS:
            tiles["truth"] = truth
        for label, picture in pictures.items():
            tiles[f"{label}, {_ERROR_SCALE} x error"] = _ERROR_SCALE * (picture.clamp(0, 1) - truth.clamp(0, 1)).abs()
    return {**tiles, "all in focus": linear_to_srgb(pair.all_in_focus)}


def render(scene: Scene, pair: SyntheticPair, shape: str = "disk", highlights: float | None = None) -> Tensor:
    """The scene's pinhole picture through its lens by this library, sRGB."""
    renderer = BokehRenderer(shape, gamma="linear", highlights=highlights)
    light = renderer(pair.all_in_focus, pair.disparity, pair.mask, focus=scene.focus, strength=scene.strength)
    return linear_to_srgb(light)


def label_psnr(tiles: Tiles, truth: Tensor) -> Tiles:
    """The same with their PSNR in the labels."""
    return {f"{label}: {psnr(tile, truth):.2f} dB": tile for label, tile in tiles.items()}


# What is drawn, and in how many columns.
SHEETS: dict[str, tuple[Callable[[], dict[str, Tiles]], int]] = {
    "photos": (draw_photos, 3),
    "apertures": (draw_apertures, 3),
    "highlights": (draw_highlights, 4),
    "stops": (draw_stops, 4),
    "focus": (draw_focus, 4),
    "strengths": (draw_strengths, 4),
    "comparisons": (draw_comparisons, 3),
}


def lay_out(tiles: Tiles, columns: int) -> Image.Image:
    """Tiles in rows, each below its label."""
    height, width = next(iter(tiles.values())).shape[2:]
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (height + _TEXT)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for index, (label, tile) in enumerate(tiles.items()):
        x, y = index % columns * (width + _GAP), index // columns * (height + _TEXT)
        pixels = (255 * tile[0].clamp(0, 1)).round().byte().expand(3, -1, -1).permute(1, 2, 0)
        sheet.paste(Image.fromarray(pixels.contiguous().numpy()), (x, y + _TEXT))
        draw.text((x + 3, y + 2), label, fill="black", font=font)
    return sheet


def write_sheet(path: Path, sheet: Image.Image) -> None:
    """As JPEG, of the highest quality with which it is small enough."""
    with atomic_path(path, overwrite=True) as temporary:
        for quality in range(90, 40, -5):
            sheet.save(temporary, "JPEG", quality=quality, optimize=True)
            if temporary.stat().st_size < _MOST_BYTES:
                return
        raise ValueError(f"{path}: larger than {_MOST_BYTES} bytes at any quality: expected a smaller sheet")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the sheets go")
    parser.add_argument("--only", nargs="+", choices=SHEETS, default=list(SHEETS), metavar="NAME")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for draw, columns in (SHEETS[name] for name in options.only):
        with torch.no_grad():
            drawn = draw()
        for name, tiles in drawn.items():
            write_sheet(options.out / f"{name}.jpg", lay_out(tiles, columns))
            print(f"{name}: {'; '.join(tiles)}", flush=True)


if __name__ == "__main__":
    main()
