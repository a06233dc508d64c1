"""A depth model of one's own in the pipeline: by its name, as a module, or as a function.

The model here reads depth off the haze, by the dark channel prior (He, Sun, Tang, CVPR 2009): a part of a scene that
has no dark spot is far away. ``python examples/swap_depth_model.py`` makes up a hazy scene, of which the true depth is
known; ``--size 96x64`` is the short form, and ``--photo hazy.jpg`` takes one's own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from depthbokeh.color import linear_to_srgb
from depthbokeh.data import random_scene
from depthbokeh.data.synthesize import parse_size
from depthbokeh.models import create_depth_model, register_depth_model
from depthbokeh.models.depth.base import DepthKind, DepthModel
from depthbokeh.photo import read_photo, write_photo
from depthbokeh.pipeline import BokehPipeline

_SEED = 16
_HAZE = 0.75  # a grey, sRGB


class HazeDepth(DepthModel):
    """Depth from haze, up to a factor.

    Args:
        window: Side of the square in which the darkest pixel is looked for, share of the photo's longer side.
    """

    # What `predict` returns; the library makes disparity of any kind.
    kind: DepthKind = "depth"

    def __init__(self, window: float = 0.06) -> None:
        super().__init__()
        self.window = window

    def predict(self, photo: Tensor) -> Tensor:
        """Depth ``(B, 1, H, W)`` of a photo ``(B, 3, H, W)``."""
        reach = max(1, round(self.window * max(photo.shape[2:]) / 2))
        darkest = -F.max_pool2d(-photo.amin(1, keepdim=True), 2 * reach + 1, 1, reach)
        air = darkest.amax((2, 3), keepdim=True).clamp(min=1e-3)
        through = (1 - 0.95 * darkest / air).clamp(0.05, 1)
        smooth = F.avg_pool2d(F.pad(through, (reach,) * 4, mode="replicate"), 2 * reach + 1, 1)
        return 0.02 - smooth.log()


@register_depth_model("haze")
def haze(*, pretrained: Any = False, window: float = 0.06) -> HazeDepth:
    """Makes it reachable by its name; a network would load weights here."""
    return HazeDepth(window)


def make_hazy_photo(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Photo, sRGB, and the true disparity."""
    pair = random_scene(_SEED, size, portraits=True).render(samples=1)
    photo = linear_to_srgb(pair.all_in_focus).clamp(0, 1)
    depth = 1 / (pair.disparity / pair.disparity.max()).clamp(min=0.1)
    through = torch.exp(-0.3 * (depth - 1))
    return through * photo + (1 - through) * _HAZE, pair.disparity


def main(argv: Sequence[str] | None = None) -> tuple[bool, float | None]:
    """Returns whether all ways give the same picture, and the correlation with the true disparity, if it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=(256, 384), metavar="WxH")
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--output", type=Path, default=Path("swap_depth_model.png"), help="photo, disparity, rendered")
    options = parser.parse_args(argv)
    photo, truth = (read_photo(options.photo).image, None) if options.photo else make_hazy_photo(options.size)

    by_name = BokehPipeline(depth_model="haze")
    function = create_depth_model("from_callable", function=HazeDepth().predict, kind="depth")
    ways = {"as a module": BokehPipeline(depth_model=HazeDepth()), "as a function": BokehPipeline(depth_model=function)}
    # What has a name can be saved, and loaded wherever the name is registered.
    with tempfile.TemporaryDirectory() as folder:
        by_name.save_pretrained(folder)
        ways["saved and loaded"] = BokehPipeline.from_pretrained(folder)

    rendering = by_name(photo)
    same = {way: bool(torch.equal(pipeline(photo).bokeh, rendering.bokeh)) for way, pipeline in ways.items()}
    print(", ".join(f"{way}: {'the same picture' if equal else 'another picture'}" for way, equal in same.items()))
    maps = rendering.disparity.expand(-1, 3, -1, -1)
    write_photo(options.output, torch.cat([photo, maps, rendering.bokeh], 3), overwrite=True)
    score = None
    if truth is not None:
        score = float(torch.corrcoef(torch.stack([rendering.disparity.flatten(), truth.flatten()]))[0, 1])
        print(f"correlation with the true disparity: {score:.2f}")
    return all(same.values()), score


if __name__ == "__main__":
    main()
