"""Bokeh for a video: the subject is tracked, focus and strength follow it smoothly, and what rests does not flicker.

Depth networks see every frame anew; here each map is brought to the scale of those before. ``python examples/video.py``
makes up somebody before a camera on a tripod, with disparity as bad as a network's; ``--frames 5 --size 96x64`` is the
short form. One's own, in the order of their names: ``--photos FOLDER --disparity FOLDER --box 200,80,150,300``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from depthbokeh import BokehRenderer, find_focus
from depthbokeh.color import linear_to_srgb
from depthbokeh.data import Layer, coarsen_disparity, random_scene
from depthbokeh.data.synthesize import parse_size
from depthbokeh.files import atomic_path, find_map
from depthbokeh.models import create_mask_model
from depthbokeh.photo import read_map, read_photo

_KEPT = 0.8  # share of what was seen before in every running mean


def make_frames(count: int, size: tuple[int, int]) -> tuple[list[tuple[Tensor, Tensor]], tuple[float, ...]]:
    """Somebody walks across the frame and nearer; every disparity has errors of its own."""
    scene = random_scene(5, size, portraits=True)
    *still, walker = scene.layers
    frames, boxes = [], []
    picture = torch.cat([walker.color * walker.alpha, walker.alpha])[None]
    for index in range(count):
        done = index / 24
        scale = 0.6 + 0.2 * done
        small = F.interpolate(picture, scale_factor=scale, mode="bilinear", antialias=True)[0]
        origin = round((0.5 * done + 0.05) * size[1]), size[0] - round(0.85 * small.shape[1])
        moved = Layer(small[:3] / small[3:].clamp(min=1e-6), small[3:], walker.disparity * scale, origin=origin)
        pair = replace(scene, layers=(*still, moved), subject=len(still)).render(samples=1)
        coarse = coarsen_disparity(pair.disparity, torch.Generator().manual_seed(index), displacement=1.0)
        frames.append((linear_to_srgb(pair.all_in_focus).clamp(0, 1), coarse))
        boxes.append(bound(pair.mask))
    return frames, boxes[0]


def bound(mask: Tensor) -> tuple[float, ...]:
    """The box round a mask, with a margin: there the subject is looked for in the next frame."""
    (top, bottom), (left, right) = (torch.nonzero(mask[0, 0].amax(d) > 0.5)[[0, -1], 0].tolist() for d in (1, 0))
    wide, tall = right - left + 1, bottom - top + 1
    return left - 0.15 * wide, top - 0.15 * tall, 1.3 * wide, 1.3 * tall


def settle(seen: Tensor, disparity: Tensor, moving: Tensor) -> Tensor:
    """The disparity in the scale of those ``seen`` before, and averaged with them where nothing moves."""
    rests = moving < 0.5
    (width, middle), (new_width, new_middle) = (torch.std_mean(values[rests]) for values in (seen, disparity))
    fitted = (disparity - new_middle) * width / new_width + middle
    return torch.lerp(torch.lerp(fitted, seen, _KEPT), fitted, moving)


def render_video(frames: list[tuple[Tensor, Tensor]], box: Sequence[float], *, steady: bool) -> Iterator[Tensor]:
    """Pictures, the subject in focus, the farthest blurred by 1/30 of a side; if not ``steady``, each by itself."""
    find_mask, renderer, side = create_mask_model("grabcut"), BokehRenderer(), max(frames[0][0].shape[2:])
    seen = lens = around = None
    for photo, disparity in frames:
        mask = find_mask(photo, box)
        # From one frame to the next the subject moves by a few pixels; where it was, what was seen is of no use.
        mask = mask if around is None else mask * around
        before, around = around, F.max_pool2d(mask, side // 40 * 2 + 1, 1, side // 40)
        moving = around if before is None else torch.maximum(around, before)
        box = bound(mask)
        seen = disparity if seen is None or not steady else settle(seen, disparity, moving)
        plane = find_focus(seen, mask).flatten()
        chosen = torch.cat([plane, side / 30 / (plane - seen.quantile(0.02)).clamp(min=0.1)])
        lens = chosen if lens is None or not steady else torch.lerp(chosen, lens, _KEPT)
        focus, strength = lens.tolist()
        yield renderer(photo, torch.where(mask > 0.5, focus, seen), mask, focus=focus, strength=strength).clamp(0, 1)


def measure_flicker(pictures: list[Tensor], photos: list[Tensor]) -> float:
    """Mean change from frame to frame, of 255, where nothing around moves in the photos."""
    reach = max(photos[0].shape[2:]) // 15
    change, motion = (torch.cat(video).diff(dim=0).abs() for video in (pictures, photos))
    moves = F.max_pool2d((motion.amax(1, keepdim=True) > 0.03).float(), 2 * reach + 1, 1, reach)
    return 255 * float(change[(moves == 0).expand_as(change)].mean())


def main(argv: Sequence[str] | None = None) -> tuple[float, float]:
    """Returns the flicker of frames that were rendered each for itself, and of the steady video."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=parse_size, default=(160, 240), metavar="WxH")
    parser.add_argument("--photos", type=Path, help="folder of one's own frames")
    parser.add_argument("--disparity", type=Path, help="folder of their maps, bright is near")
    parser.add_argument("--box", help="x,y,width,height of the subject in the first")
    parser.add_argument("--output", type=Path, default=Path("video.webp"), help="photo, frame by frame, steady")
    options = parser.parse_args(argv)
    if options.photos:
        paths, box = sorted(options.photos.iterdir()), tuple(map(float, options.box.split(",")))
        frames = [(read_photo(path).image, read_map(find_map(options.disparity, path))) for path in paths]
    else:
        frames, box = make_frames(options.frames, options.size)
    photos = [photo for photo, _ in frames]
    videos = [list(render_video(frames, box, steady=steady)) for steady in (False, True)]
    single, smooth = (measure_flicker(video, photos) for video in videos)
    print(f"where nothing moves, frames change by {single:.2f} of 255, each rendered for itself; steady {smooth:.2f}")
    rows = [(255 * torch.cat(row, 3)[0]).round().byte() for row in zip(photos, *videos, strict=True)]
    first, *others = [Image.fromarray(row.permute(1, 2, 0).numpy()) for row in rows]
    with atomic_path(options.output, overwrite=True) as path:
        first.save(path, save_all=True, append_images=others, duration=80, loop=0)
    return single, smooth


if __name__ == "__main__":
    main()
