"""What the gallery shows: photos that installed packages bring along, and scenes made up here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depthbokeh.data import Layer, Scene
from depthbokeh.data.people import person
from depthbokeh.data.shapes import grass
from depthbokeh.data.textures import foliage, night
from depthbokeh.models import create_depth_model, create_mask_model
from depthbokeh.photo import read_photo

Size = tuple[int, int]
_WIDEST = 1.8  # farthest point of an aperture's rim, in radii


@dataclass(frozen=True)
class Subject:
    """A photo (1, 3, H, W), sRGB, with what it is rendered from."""

    photo: Tensor
    disparity: Tensor
    mask: Tensor | None
    focus: tuple[float, float] | None  # pixel
    strength: float


def astronaut() -> Subject:
    """Eileen Collins, NASA; the mask by GrabCut in a box, the rest level ground."""
    return _stand_on_ground(_sample("astronaut"), box=(15, 5, 495, 507), strength=16.0)


def hopper() -> Subject:
    """Grace Hopper, US Navy; likewise."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return _stand_on_ground(read_photo(path).image[..., :512, :], box=(10, 15, 492, 497), strength=16.0)


def coffee() -> Subject:
    """A cup by Rachel Michetti; disparity by hand: the table as a plane that rises towards the camera."""
    photo = _sample("coffee")
    y, x = _grid(photo)
    disparity = 0.15 + 0.85 * (y + 0.15 * x) / 1.15
    return Subject(photo, disparity.expand_as(photo[:, :1]), None, (0.62 * photo.shape[3], 0.72 * photo.shape[2]), 26.0)


def chelsea() -> Subject:
    """A cat by Stefan van der Walt; disparity by hand: a bump with its top at the nose."""
    photo = _sample("chelsea")
    y, x = _grid(photo)
    disparity = torch.exp(-(((x - 0.58) / 0.32) ** 2) - ((y - 0.7) / 0.62) ** 2)
    return Subject(photo, disparity, None, (0.38 * photo.shape[3], 0.38 * photo.shape[2]), 18.0)


def night_portrait(size: Size = (256, 384), radius: float = 14.0) -> Scene:
    """Somebody before lamps that are many times white, blurred by so many pixels."""
    stage = _Stage(np.random.default_rng(12), size, radius)
    layers = stage.backdrop(night, 0.0), stage.person(x=0.36, top=0.12, disparity=1.0)
    return Scene(layers, size, focus=1.0, strength=radius, subject=1)


def three_people(size: Size = (256, 384), radius: float = 14.0) -> Scene:
    """People at 8, 2 and 1.2 m before leaves at 20 m, disparity in 1/m; blurred by up to ``radius`` pixels or so."""
    stage = _Stage(np.random.default_rng(5), size, radius)
    layers = (
        stage.backdrop(foliage, 0.05),
        stage.person(x=0.52, top=0.46, disparity=1 / 8),
        stage.person(x=0.28, top=0.2, disparity=1 / 2),
        stage.person(x=0.8, top=0.06, disparity=1 / 1.2),
    )
    return Scene(layers, size, focus=1 / 2, strength=radius, subject=2)


def behind_grass(size: Size = (256, 384), radius: float = 10.0) -> Scene:
    """Somebody in focus behind blades of grass close to the lens, before leaves."""
    stage = _Stage(np.random.default_rng(8), size, 1.2 * radius)
    layers = stage.backdrop(foliage, 0.0), stage.person(x=0.5, top=0.1, disparity=0.5), stage.grass(1.0)
    return Scene(layers, size, focus=0.5, strength=2 * radius, subject=1)


class _Stage:
    """A canvas wider than the frame, on which layers are drawn one after the other."""

    def __init__(self, rng: np.random.Generator, size: Size, radius: float) -> None:
        self.rng, self.size = rng, size
        self.margin = math.ceil(_WIDEST * radius) + 4
        self.canvas = (size[0] + 2 * self.margin, size[1] + 2 * self.margin)
        self.unit = math.sqrt(size[0] * size[1] / 1.5)

    def backdrop(self, draw: Callable[..., Any], disparity: float) -> Layer:
        return self._layer(draw(self.rng, self.canvas, self.unit), np.ones(self.canvas), disparity)

    def person(self, x: float, top: float, disparity: float) -> Layer:
        """From the chest up, at a share of the frame's width, the head's top at a share of its height."""
        base = self.canvas[0] + 2.0
        left, tall = self.margin + x * self.size[1], base - self.margin - top * self.size[0]
        sprite = person(self.rng, self.canvas, self.unit, left, base, tall)
        return self._layer(sprite.color, sprite.alpha, disparity)

    def grass(self, disparity: float) -> Layer:
        sprite = grass(self.rng, self.canvas, self.unit)
        return self._layer(sprite.color, sprite.alpha, disparity)

    def _layer(self, light: Any, alpha: Any, disparity: float) -> Layer:
        color = torch.from_numpy(np.ascontiguousarray(np.moveaxis(light, 2, 0), np.float32))
        cover = torch.from_numpy(np.ascontiguousarray(alpha, np.float32))[None]
        return Layer(color, cover, disparity, origin=(-self.margin, -self.margin))


def _sample(name: str) -> Tensor:
    """One of the photos that scikit-image brings along."""
    from skimage import data

    return torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None].float() / 255


def _stand_on_ground(photo: Tensor, box: tuple[float, float, float, float], strength: float) -> Subject:
    mask = create_mask_model("grabcut")(photo, box=box)
    disparity = create_depth_model("ground_plane")(photo, mask)
    return Subject(photo, disparity, mask, None, strength)


def _grid(photo: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of a photo, 0..1: (1, 1, H, 1), (1, 1, 1, W)."""
    height, width = photo.shape[2:]
    return torch.linspace(0, 1, height).view(1, 1, -1, 1), torch.linspace(0, 1, width).view(1, 1, 1, -1)
