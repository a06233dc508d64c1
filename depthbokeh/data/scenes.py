"""Scenes made up from a number: a backdrop, things at several distances, a subject, something close to the lens."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from . import textures
from .people import person
from .shapes import Sprite, branch, bush, grass, lamp, plant, railing, solid, tree
from .synthetic import Layer, Scene
from .textures import Array, Rng

Thing = Callable[[Rng, tuple[int, int], float, float, float, float], Sprite]
_SUBJECTS: tuple[Thing, ...] = (person, person, lamp, plant, solid)
_THINGS: tuple[Thing, ...] = (bush, tree, lamp, solid, person, plant)
# What a portrait has beside the one person.
_FURNITURE: tuple[Thing, ...] = tuple(thing for thing in _THINGS if thing is not person)
_OCCLUDERS: tuple[Callable[[Rng, tuple[int, int], float], Sprite], ...] = (branch, railing, grass)
# Radii at 1024 px height; EBB!'s f/1.8 pictures lie within.
_RADII = (4.0, 40.0)
_PORTRAIT_RADII = (24.0, 40.0)
# Farthest point of an aperture's rim, in radii, that the pictures reach beyond the frame for.
_WIDEST = 1.8


def random_scene(
    seed: int, size: tuple[int, int] = (512, 768), *, photos: bool = False, portraits: bool = False
) -> Scene:
    """Makes up a scene.

    Args:
        seed: At least 0. The same scene for the same seed, size and version of OpenCV, which draws it.
        size: Height and width, pixels, at least 32.
        photos: Whether half of the backdrops are crops of the sample photos that scikit-image comes with; where it
            does not have them, they are drawn like the others.
        portraits: Whether every scene is of one person, from the chest up, in focus, through a wide aperture, with
            nothing in front.

    Returns:
        The scene; its largest blur radius is 4 to 40 pixels (portraits: 24 to 40) for a height of 1024, in proportion
        for other sizes.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> scene = random_scene(7, (64, 96))
        >>> 0.25 <= scene.largest_radius() <= 2.5
        True
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if min(size) < 32:
        raise ValueError(f"size must be at least 32 x 32, got {size[1]} x {size[0]}")
    return _Composer(np.random.default_rng(seed), size, portraits).compose(photos)


class _Composer:
    """What all parts of one scene share: the canvas, which is wider than the frame, the ground, the light."""

    def __init__(self, rng: Rng, size: tuple[int, int], portraits: bool) -> None:
        self.rng = rng
        self.size = size
        self.portraits = portraits
        self.unit = math.sqrt(size[0] * size[1] / 1.5)
        self.radius = math.exp(rng.uniform(*np.log(_PORTRAIT_RADII if portraits else _RADII))) * self.unit / 1024
        self.margin = math.ceil(_WIDEST * self.radius) + 4
        self.canvas = (size[0] + 2 * self.margin, size[1] + 2 * self.margin)
        self.near = rng.uniform(0.45, 0.7)  # the subject's disparity
        self.far = float(rng.choice((0.0, rng.uniform(0.02, 0.15))))
        self.grounded = bool(rng.random() < 0.6)
        self.horizon = size[0] * rng.uniform(0.35, 0.6)
        feet = rng.uniform(0.85, 0.97), rng.uniform(1.2, 1.6)
        self.foot = size[0] * float(feet[1] if portraits else rng.choice(feet))  # the subject's lowest row
        self.places: list[float] = []  # columns of the canvas where things stand, from far to near
        self.exposure = np.exp(rng.normal(0, 0.25)) * (1 + rng.normal(0, 0.04, 3)).astype(np.float32)

    def compose(self, photos: bool) -> Scene:
        """Puts the scene together and chooses the lens."""
        rng = self.rng
        backdrop = self._backdrop(photos)
        # Who takes a portrait steps away from what is behind.
        nearest = self.near * 0.7 if self.portraits else self.near - 0.1
        distances = np.sort(rng.uniform(self.far + 0.04, nearest, rng.integers(1, 5)))
        things = [self._thing(float(disparity)) for disparity in distances]
        subject = self._subject()
        layers = [backdrop, *things, subject]
        if self.grounded:
            layers.insert(1, self._ground([float(disparity) for disparity in distances]))
        index = len(layers) - 1
        nearest = self.near
        for _ in range(0 if self.portraits else rng.choice(3, p=(0.5, 0.35, 0.15))):
            nearest += rng.uniform(0.12, 0.35)
            sprite = _OCCLUDERS[rng.integers(len(_OCCLUDERS))](rng, self.canvas, self.unit)
            layers.append(self._layer(sprite.color, sprite.alpha, nearest))
        focus = self.near if self.portraits or rng.random() < 0.9 else float(rng.choice(distances))
        scene = Scene(tuple(layers), self.size, focus, 1.0, index)
        return replace(scene, strength=self.radius / scene.largest_radius())

    def _row_of(self, disparity: float) -> float:
        """Row of the canvas where something at this disparity stands."""
        if not self.grounded:
            return float(self.canvas[0] + 2)
        return self.margin + self.horizon + (self.foot - self.horizon) * (disparity - self.far) / (self.near - self.far)

    def _backdrop(self, photos: bool) -> Layer:
        rng = self.rng
        light = _crop_photo(rng, self.canvas) if photos and rng.random() < 0.5 else None
        if light is None:
            draw = textures.BACKDROPS[rng.integers(len(textures.BACKDROPS))]
            if draw is textures.foliage and rng.random() < 0.6:
                light = textures.foliage(rng, self.canvas, self.unit, sky=rng.uniform(0.9, 2.5))
            else:
                light = draw(rng, self.canvas, self.unit)
        if rng.random() < 0.2:
            textures.add_lights(rng, light, self.unit, int(rng.integers(3, 25)))
        return self._layer(light, np.ones(self.canvas, np.float32), self.far)

    def _ground(self, distances: list[float]) -> Layer:
        """A plane from the horizon down, darker where things stand on it."""
        rng = self.rng
        light = textures.ground(rng, self.canvas, self.unit, self.margin + self.horizon)
        y, x = np.mgrid[: self.canvas[0], : self.canvas[1]].astype(np.float32)
        for disparity, place in zip([*distances, self.near], self.places, strict=True):
            scale = self.unit * 0.25 * disparity / self.near
            spot = ((x - place) / scale) ** 2 + ((y - self._row_of(disparity)) / (0.25 * scale)) ** 2
            light *= (1 - 0.6 * np.exp(-spot))[..., None]
        alpha = np.clip(y - self.margin - self.horizon - 0.5, 0, 1)
        slope = (self.near - self.far) / (self.foot - self.horizon)
        layer = self._layer(light, alpha, self.far - slope * self.horizon)
        return replace(layer, slope=(0.0, slope))

    def _place(self, spread: float) -> float:
        x = self.margin + self.size[1] * (0.5 + self.rng.uniform(-spread, spread))
        self.places.append(x)
        return x

    def _thing(self, disparity: float) -> Layer:
        rng = self.rng
        things = _FURNITURE if self.portraits else _THINGS
        draw = things[rng.integers(len(things))]
        x, base = self._place(0.55), self._row_of(disparity)
        tall = self.size[0] * rng.uniform(0.5, 1.0) * (0.35 + 0.8 * disparity / self.near)
        if not self.grounded:
            tall += self.margin
        sprite = draw(rng, self.canvas, self.unit * (0.4 + 0.6 * disparity / self.near), x, base, tall)
        return self._layer(sprite.color, sprite.alpha, disparity)

    def _subject(self) -> Layer:
        rng = self.rng
        draw = person if self.portraits else _SUBJECTS[rng.integers(len(_SUBJECTS))]
        x = self._place(0.22)
        # What stands below the frame is cut off by it.
        base = min(self._row_of(self.near), self.canvas[0] + 2.0)
        top = self.margin + self.size[0] * rng.uniform(0.08, 0.35)
        if draw is not person and rng.random() < 0.3:
            top += self.size[0] * 0.2
        sprite = draw(rng, self.canvas, self.unit, x, base, base - top)
        return self._layer(sprite.color, sprite.alpha, self.near)

    def _layer(self, light: Array, alpha: Array, disparity: float) -> Layer:
        """Cuts a picture of the canvas down to what is not transparent."""
        alpha = np.where(alpha < 1 / 512, 0, alpha)
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        if len(rows) == 0:
            rows = columns = np.array([0])
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        color = torch.from_numpy(np.ascontiguousarray((light * self.exposure)[box].transpose(2, 0, 1), np.float32))
        cover = torch.from_numpy(np.ascontiguousarray(alpha[box], np.float32))[None]
        origin = (int(columns[0]) - self.margin, int(rows[0]) - self.margin)
        return Layer(color, cover, float(disparity), origin=origin)


def _crop_photo(rng: Rng, size: tuple[int, int]) -> Array | None:
    """A part of one of scikit-image's sample photos, or None where they are missing."""
    import cv2

    try:
        from skimage import data

        photo = getattr(data, rng.choice(("astronaut", "chelsea", "coffee", "rocket")))()[..., :3]
    except (ImportError, OSError, AttributeError):
        return None
    share = rng.uniform(0.6, 0.95) * min(photo.shape[0] / size[0], photo.shape[1] / size[1])
    tall, wide = round(size[0] * share), round(size[1] * share)
    top, left = (rng.integers(full - part + 1) for full, part in zip(photo.shape, (tall, wide), strict=False))
    crop = np.ascontiguousarray(photo[top : top + tall, left : left + wide, ::1])
    crop = crop[:, ::-1] if rng.random() < 0.5 else crop
    resized = cv2.resize(crop, (size[1], size[0]), interpolation=cv2.INTER_AREA if share > 1 else cv2.INTER_CUBIC)
    return textures.to_linear(resized.astype(np.float32) / 255)
