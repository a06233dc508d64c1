"""Real pairs, closed and open aperture: how near every scheme comes to the photograph with the best strength."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from quality_scenes import psnr
from schemes import Renderer, Shot
from skimage.metrics import structural_similarity
from torch import Tensor

from depthbokeh import fit_lens
from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.photo import read_map, read_photo

SIZE = (512, 768)
FITTED = "fit_lens"
_VABD_SCENE = "0002"  # the other scenes' photographs do not lie on each other
_VABD_STOPS = (1.8, 2.8, 8.0)

# Strengths in pixels per unit of disparity that are tried at half size, where this costs a fifth.
_STRENGTHS = tuple(1.5 * 1.6**k for k in range(8))
_GOLDEN_STEPS = 6


@dataclass(frozen=True)
class Pair:
    """A photo from a closed aperture and the same from an open one, sRGB (1, 3, H, W); maps (1, 1, H, W)."""

    group: str
    name: str
    f_number: float
    photo: Tensor
    target: Tensor
    disparity: Tensor
    mask: Tensor

    def halve(self) -> Pair:
        """The same at half the size."""
        maps = (self.photo, self.target, self.disparity, self.mask)
        return Pair(self.group, self.name, self.f_number, *(F.avg_pool2d(tensor, 2) for tensor in maps))


@dataclass(frozen=True)
class PairScore:
    """How well a scheme did on one pair with the strength that suits it best, pixels per unit of disparity."""

    scheme: str
    group: str
    pair: str
    f_number: float
    strength: float
    psnr_db: float
    psnr_gain_db: float
    ssim: float


def read_pairs(data: Path) -> Iterator[Pair]:
    """All pairs, resized to 768 x 512 pixels: EBB!'s at f/1.8, VABD's at three apertures."""
    folder = data / "ebb_pairs"
    for path in sorted((folder / "original").glob("*.jpg")):
        maps = [folder / kind / f"{path.stem}.png" for kind in ("disparity", "mask")]
        yield _read_pair("ebb", path.stem, 1.8, path, folder / "bokeh" / path.name, *maps)
    folder = data / "vabd"
    maps = [folder / kind / f"{_VABD_SCENE}.png" for kind in ("disparity", "mask")]
    photo = folder / "f16" / f"{_VABD_SCENE}.jpg"
    for stop in _VABD_STOPS if photo.is_file() else ():
        target = folder / f"f{stop:g}" / photo.name
        yield _read_pair("vabd", f"{_VABD_SCENE} f/{stop:g}", stop, photo, target, *maps)


def _read_pair(group: str, name: str, f_number: float, photo: Path, target: Path, disparity: Path, mask: Path) -> Pair:
    images = [_shrink(read_photo(path).image) for path in (photo, target)]
    maps = [_shrink(read_map(path)) for path in (disparity, mask)]
    return Pair(group, name, f_number, *images, *maps)


def _shrink(image: Tensor) -> Tensor:
    """To the size of the comparison; display values are averaged, as is usual for this data."""
    return F.interpolate(image, SIZE, mode="bilinear", antialias=True)


def score_pair(scheme: str, pair: Pair, renderer: Renderer) -> tuple[PairScore, Tensor]:
    """Finds the strength with the highest PSNR and judges its picture, which comes along in sRGB.

    ``FITTED`` is the default renderer with the strength and focus that ``fit_lens`` finds; its gain comes before the
    fitted one of the second PSNR.
    """
    if scheme == FITTED:
        fit = fit_lens(pair.photo, pair.target, pair.disparity, pair.mask)
        strength, focus, gain = fit.strength, fit.focus, fit.gain
    else:
        strength = 0.0 if scheme == "input" else fit_strength(scheme, pair, renderer)
        focus, gain = None, (1.0, 1.0, 1.0)
    linear = _render("default" if scheme == FITTED else scheme, pair, strength, renderer, focus)
    picture = linear_to_srgb(linear).clamp(0, 1)
    brighter = linear_to_srgb(linear * torch.tensor(gain).view(1, 3, 1, 1)).clamp(0, 1)
    result = PairScore(
        scheme,
        pair.group,
        pair.name,
        pair.f_number,
        strength,
        psnr(picture, pair.target),
        psnr(match_gain(brighter, pair.target), pair.target),
        ssim(picture, pair.target),
    )
    return result, picture


def fit_strength(scheme: str, pair: Pair, renderer: Renderer) -> float:
    """The best of a coarse grid at half size, then a golden-section search around it at full size."""
    half = pair.halve()
    # Half the size has half the radius.
    coarse = max(_STRENGTHS, key=lambda s: _judge(scheme, half, s / 2, renderer))
    step = math.log(_STRENGTHS[1] / _STRENGTHS[0])

    def judge(log_strength: float) -> float:
        return _judge(scheme, pair, math.exp(log_strength), renderer)

    return math.exp(maximize(judge, math.log(coarse) - step, math.log(coarse) + step, _GOLDEN_STEPS))


def maximize(judge: Callable[[float], float], low: float, high: float, steps: int) -> float:
    """Golden-section search: where a function with one maximum between two places is highest of all tried."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    values = {left: judge(left), right: judge(right)}
    for _ in range(steps - 2):
        if values[left] >= values[right]:
            high, right = right, left
            left = high - ratio * (high - low)
            values[left] = judge(left)
        else:
            low, left = left, right
            right = low + ratio * (high - low)
            values[right] = judge(right)
    return max(values, key=values.__getitem__)


def match_gain(picture: Tensor, target: Tensor) -> Tensor:
    """The picture with every channel scaled to the target by least squares: two exposures are rarely the same."""
    gain = (picture * target).sum((2, 3), keepdim=True) / picture.square().sum((2, 3), keepdim=True)
    return picture * gain


def ssim(picture: Tensor, truth: Tensor) -> float:
    """Mean structural similarity (Wang et al., 2004): Gaussian of 11 x 11, sigma 1.5, where it fits in the frame."""
    arrays = [tensor[0].clamp(0, 1).movedim(0, 2).double().numpy() for tensor in (picture, truth)]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(*arrays, channel_axis=2, data_range=1.0, **options))


def _judge(scheme: str, pair: Pair, strength: float, renderer: Renderer) -> float:
    return psnr(linear_to_srgb(_render(scheme, pair, strength, renderer)).clamp(0, 1), pair.target)


def _render(scheme: str, pair: Pair, strength: float, renderer: Renderer, focus: float | None = None) -> Tensor:
    """Linear light, (1, 3, H, W); in focus where the subject is unless told otherwise."""
    shot = Shot.of_pair(srgb_to_linear(pair.photo), pair.disparity, pair.mask, strength)
    return renderer(scheme, shot if focus is None else replace(shot, focus=focus))
