"""One sheet that shows what the renderer does, on a photo that scikit-image ships."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .photo import atomic_path
from .pipeline import BokehPipeline
from .render import BokehRenderer

_STRENGTHS = (8.0, 18.0)  # px at disparity 1, for the 512 px of the sample photo
_SHAPES = ("polygon:6", "ring:0.5", "cat_eye:0.5")
_TEXT_HEIGHT = 36


def write_sheet(output: Path, *, overwrite: bool = False) -> None:
    """Renders the sample photo with the models that need no weights and writes a labelled sheet of 2 x 4 pictures.

    Raises:
        PhotoError: If the file exists (and ``overwrite`` is false) or cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    tiles = make_tiles()
    height, width = next(iter(tiles.values())).shape[2:]
    columns = 4
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width, rows * (height + _TEXT_HEIGHT)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=20)
    for index, (label, tile) in enumerate(tiles.items()):
        x, y = index % columns * width, index // columns * (height + _TEXT_HEIGHT)
        pixels = (tile[0].clamp(0, 1) * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0)
        sheet.paste(Image.fromarray(pixels.contiguous().numpy()), (x, y + _TEXT_HEIGHT))
        draw.text((x + 8, y + 6), label, fill="black", font=font)
    with atomic_path(output, overwrite=overwrite) as path:
        sheet.save(path)


def make_tiles() -> dict[str, Tensor]:
    """The pictures of the sheet, ``(1, 1 or 3, H, W)``, by their labels."""
    from skimage import data

    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    tiles = {"photo": photo}
    disparity = mask = None
    looks = [("disk", strength) for strength in _STRENGTHS] + [(shape, _STRENGTHS[1]) for shape in _SHAPES]
    for shape, strength in looks:
        pipeline = BokehPipeline(BokehRenderer(shape, highlights=4.0))
        rendering = pipeline(photo, disparity, mask, strength=strength)
        disparity, mask = rendering.disparity, rendering.mask
        if len(tiles) == 1:
            tiles["subject mask"] = rendering.mask
            tiles["defocus: blue behind, red before the focus"] = _color_defocus(rendering.defocus)
        tiles[f"{shape}, strength {strength:g}"] = rendering.bokeh
    return tiles


def _color_defocus(defocus: Tensor) -> Tensor:
    """White in focus, blue behind it, red in front of it."""
    amount = defocus / defocus.abs().max().clamp(min=1e-6)
    return 1 - torch.cat([(-amount).clamp(min=0), amount.abs(), amount.clamp(min=0)], 1)
