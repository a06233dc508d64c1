"""Somebody for a synthetic scene, seen from the front."""

from __future__ import annotations

import numpy as np

from .shapes import Points, Sprite, blob, cover, limb, shade, wander
from .textures import Array, Rng, cloth, noise, parse_color, to_linear, vary_color

_SKIN = ("f1c9ac", "d9a07b", "b97d56", "8a5a3b", "5c3a28")
_HAIR = ("1c1512", "3a261a", "6b4526", "a88250", "8b8680")
# Outlines in heads (half its height), from the middle of the face: the right half, the left one is its mirror image.
_THROAT = ((0.42, 0.0), (0.42, 1.2), (0.62, 1.9))
_COAT = ((0.55, 1.45), (0.72, 1.6), (1.3, 1.9), (1.85, 2.3), (2.05, 3.2))
_LEG = ((0.55, 5.5), (0.65, 9.0))


def person(rng: Rng, size: tuple[int, int], unit: float, x: float, base: float, tall: float) -> Sprite:
    """A whole figure, or head and shoulders where its feet are below the picture."""
    whole = base < size[0]
    head = tall * (rng.uniform(0.07, 0.08) if whole else rng.uniform(0.17, 0.22))
    y = base - tall + head * 1.3
    skin = to_linear(vary_color(rng, parse_color(rng.choice(_SKIN)), 0.05))
    hair = _comb(rng, size, unit)
    sprite = Sprite(size)
    strands = [_strand(rng, x, y, head, unit) for _ in range(60)]
    falls = blob(rng, x, y + head * 0.05, head * 0.95, head * rng.uniform(1.1, 1.8), rough=0.02)
    sprite.paint(cover(size, falls, *strands), hair)
    if whole:
        feet = []
        for side in (-1, 1):
            hip, foot = (x + side * _LEG[0][0] * head, y + _LEG[0][1] * head), (x + side * _LEG[1][0] * head, base)
            feet.append(limb(np.linspace(hip, foot), np.linspace(1.1 * head, 0.6 * head)))
        legs = cover(size, *feet)
        sprite.paint(legs, cloth(rng, size, unit) * shade(legs, unit))
    throat = cover(size, _mirror(_THROAT, x, y, head))
    sprite.paint(throat, skin * 0.7 * shade(throat, unit))
    hem = y + 6.5 * head if whole else base
    coat = cover(size, _mirror((*_COAT, (2.05, (hem - y) / head)), x, y, head, soften=3))
    sprite.paint(coat, cloth(rng, size, unit) * shade(coat, unit))
    face = cover(size, blob(rng, x, y, head * 0.74, head, rough=0.008, power=2.2))
    sprite.paint(face, skin * shade(face, unit))
    _draw_face(sprite, x, y, head, skin)
    fringe = cover(size, blob(rng, x, y - head * 0.72, head * 0.78, head * 0.42, rough=0.05))
    sprite.paint(fringe, hair)
    return sprite


def _comb(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """Hair that falls straight down, (h, w, 3)."""
    color = to_linear(vary_color(rng, parse_color(rng.choice(_HAIR)), 0.1))
    return color * (0.4 + 1.2 * noise(rng, size, unit * 0.01, stretch=10, octaves=3)[..., None])


def _strand(rng: Rng, x: float, y: float, head: float, unit: float) -> Points:
    """One loose hair at the side of the head."""
    turn = rng.uniform(-np.pi, 0)
    root = (x + head * 0.85 * np.cos(turn), y + head * (0.2 + 1.1 * np.sin(turn)))
    outwards = np.pi / 2 + np.sign(-np.cos(turn)) * rng.uniform(-0.2, 0.25)
    path = wander(rng, root, outwards, head * rng.uniform(0.4, 1.1), 0.25)
    return limb(path, np.linspace(max(1.0, unit * 0.002), 0.6, len(path)))


def _mirror(right: tuple[tuple[float, float], ...], x: float, y: float, head: float, soften: int = 0) -> Points:
    """A closed outline from its right half, its corners cut ``soften`` times (Chaikin 1974)."""
    half = np.array(right)
    corners = np.concatenate([half, half[::-1] * (-1, 1)])
    for _ in range(soften):
        following = np.roll(corners, -1, 0)
        pair = 0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following
        corners = np.stack(pair, 1).reshape(-1, 2)
    return corners * head + (x, y)


def _draw_face(sprite: Sprite, x: float, y: float, head: float, skin: Array) -> None:
    def oval(dx: float, dy: float, wide: float, tall: float) -> Array:
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        rim = np.stack([x + head * (dx + wide * np.cos(turn)), y + head * (dy + tall * np.sin(turn))], 1)
        return cover(sprite.alpha.shape, rim)

    dark, white = to_linear(parse_color("1d130f")), to_linear(parse_color("d8d0c8"))
    for side in (-0.3, 0.3):
        sprite.paint(oval(side, 0.0, 0.2, 0.12) * 0.3, skin * 0.6)
        sprite.paint(oval(side, -0.02, 0.12, 0.055), white)
        sprite.paint(oval(side, -0.02, 0.055, 0.055), dark)
        sprite.paint(oval(side, -0.2, 0.16, 0.025) * 0.8, dark)
    sprite.paint(oval(0.05, 0.18, 0.05, 0.16) * 0.25, skin * 0.5)
    sprite.paint(oval(0.0, 0.28, 0.11, 0.04) * 0.5, skin * 0.5)
    sprite.paint(oval(0.0, 0.53, 0.2, 0.05) * 0.9, skin * np.array([0.75, 0.4, 0.4]))
