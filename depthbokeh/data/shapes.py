"""Cut-out things for synthetic scenes: lamps, plants, stones, trees, branches, railings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .textures import (
    CLOTH_COLORS,
    LEAF_COLORS,
    SURFACES,
    Array,
    Rng,
    bark,
    draw_leaves,
    fill,
    make_sheet,
    noise,
    parse_color,
    read_sheet,
    stone,
    to_linear,
    vary_color,
)

Points = npt.NDArray[np.float64]
# Where the light comes from: left, above, in front.
_LIGHT = np.array([-0.45, -0.55, 0.7], np.float32)


class Sprite:
    """A picture being painted, in linear light, that is transparent where nothing was painted.

    Attributes:
        light: ``(h, w, 3)`` multiplied by alpha.
        alpha: ``(h, w)``, 0..1.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.light: Array = np.zeros((*size, 3), np.float32)
        self.alpha: Array = np.zeros(size, np.float32)

    def paint(self, cover: Array, light: Array) -> None:
        """Puts a colour or picture (linear) over what is there, by its coverage ``(h, w)``."""
        rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
        if len(rows) == 0:
            return
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        added = cover[box].astype(np.float32)
        self.light[box] *= (1 - added)[..., None]
        self.light[box] += added[..., None] * (light if light.ndim == 1 else light[box])
        self.alpha[box] += added * (1 - self.alpha[box])

    @property
    def color(self) -> Array:
        """``(h, w, 3)``, not multiplied by alpha."""
        return self.light / np.maximum(self.alpha, 1e-4)[..., None]


def cover(size: tuple[int, int], *polygons: Points) -> Array:
    """Coverage 0..1 of a picture's pixels by the union of polygons."""
    import cv2

    mask = np.zeros(size, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return mask.astype(np.float32) / 255


def blob(rng: Rng, x: float, y: float, wide: float, tall: float, *, rough: float = 0.05, power: float = 2.0) -> Points:
    """A superellipse with an uneven outline; ``wide`` and ``tall`` are half its size."""
    turn = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    wave = sum(
        rng.normal(0, rough / count**0.8) * np.cos(count * turn + rng.uniform(0, 2 * np.pi)) for count in range(2, 14)
    )
    cos, sin = np.cos(turn), np.sin(turn)
    distance = (np.abs(cos) ** power + np.abs(sin) ** power) ** (-1 / power) * (1 + wave)
    return np.stack([x + wide * distance * cos, y + tall * distance * sin], 1)


def limb(path: Points, widths: npt.ArrayLike) -> Points:
    """A stroke along a path ``(n, 2)`` with the given full widths (n)."""
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    offset = across * (np.asarray(widths)[:, None] / 2)
    return np.concatenate([path + offset, (path - offset)[::-1]])


def wander(rng: Rng, start: tuple[float, float], turn: float, length: float, bend: float, steps: int = 24) -> Points:
    """A path that sets out in the direction ``turn`` and bends as it goes."""
    turns = (
        turn + np.cumsum(rng.normal(0, bend / math.sqrt(steps), steps)) + rng.normal(0, bend) * np.linspace(0, 1, steps)
    )
    steps_xy = np.stack([np.cos(turns), np.sin(turns)], 1) * (length / steps)
    return np.concatenate([[start], np.asarray(start) + np.cumsum(steps_xy, 0)])


def shade(mask: Array, unit: float) -> Array:
    """Light and shadow on a thing that bulges toward the viewer, as a factor (h, w, 1)."""
    import cv2

    height, width = mask.shape
    small = cv2.resize(mask, (max(2, width // 4), max(2, height // 4)), interpolation=cv2.INTER_AREA)
    bulge = sum(cv2.GaussianBlur(small, (0, 0), unit * scale / 4) for scale in (0.015, 0.04, 0.1))
    slope_y, slope_x = np.gradient(np.sqrt(np.maximum(np.asarray(bulge, np.float32) - 0.8, 0)) * unit / 28)
    normal = np.stack([-slope_x, -slope_y, np.ones_like(slope_x)])
    lit = np.tensordot(_LIGHT, normal / np.linalg.norm(normal, axis=0), 1)
    factor = cv2.resize(0.35 + 0.95 * np.clip(lit, 0, None), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(factor, np.float32)[..., None]


def lamp(rng: Rng, size: tuple[int, int], unit: float, x: float, base: float, tall: float) -> Sprite:
    """A globe on a post."""
    sprite = Sprite(size)
    radius = min(tall * rng.uniform(0.2, 0.3), unit * 0.25)
    top = base - tall
    post = cover(
        size, limb(np.linspace((x, top + radius * 1.7), (x, base), 5), np.full(5, radius * rng.uniform(0.15, 0.3)))
    )
    metal = to_linear(parse_color(rng.choice(("1d2022", "3f4a45", "7a7d80"))))
    sprite.paint(post, metal * shade(post, unit * 0.3))
    globe = cover(size, blob(rng, x, top + radius, radius, radius, rough=0))
    glass = stone(rng, size, unit) * 0.25 + to_linear(parse_color(rng.choice(("c9cfd2", "d9d3c4", "9db0b5"))))
    sprite.paint(globe, glass * shade(globe, unit * 1.5))
    glint = cover(size, blob(rng, x - radius * 0.4, top + radius * 0.55, radius * 0.16, radius * 0.1, rough=0.02))
    sprite.paint(glint * 0.7, np.full(3, 1.3, np.float32))
    collar = cover(size, blob(rng, x, top + radius * 1.9, radius * 0.55, radius * 0.16, rough=0, power=3))
    sprite.paint(collar, metal * shade(collar, unit * 0.3))
    return sprite


def solid(rng: Rng, size: tuple[int, int], unit: float, x: float, base: float, tall: float) -> Sprite:
    """A stone, fruit, vase or box: one outline, one material."""
    sprite = Sprite(size)
    wide = tall * rng.uniform(0.35, 0.65)
    shape = blob(
        rng, x, base - tall / 2, wide, tall / 2, rough=rng.choice((0.0, 0.04, 0.08)), power=rng.choice((2.0, 2.5, 6.0))
    )
    mask = cover(size, shape)
    surface = SURFACES[rng.integers(len(SURFACES))](rng, size, unit * rng.uniform(0.5, 1))
    sprite.paint(mask, surface * shade(mask, unit))
    return sprite


def plant(rng: Rng, size: tuple[int, int], unit: float, x: float, base: float, tall: float) -> Sprite:
    """Stems with leaves and flowers that fan out from the ground."""
    colors = LEAF_COLORS[rng.integers(2)]
    sheet = make_sheet(size, parse_color(colors[1]))
    petals = parse_color(rng.choice(("d9534f", "f0e6dc", "e8b92e", "9a5cb4", "e58fb0")))
    for _ in range(rng.integers(9, 18)):
        length = tall * rng.uniform(0.6, 1.0)
        path = wander(rng, (x + tall * rng.normal(0, 0.04), base), -np.pi / 2 + rng.normal(0, 0.3), length, 0.35)
        fill(
            sheet,
            limb(path, np.linspace(max(1.5, unit * 0.008), max(1.0, unit * 0.003), len(path))),
            parse_color(colors[2]) * 0.8,
        )
        for at in range(4, len(path) - 1, 2):
            along = np.linspace(0, 1, 10)
            leaf = tall * rng.uniform(0.1, 0.24)
            blade = wander(rng, tuple(path[at]), -np.pi / 2 + rng.choice((-1, 1)) * rng.uniform(0.3, 1.5), leaf, 0.5, 9)
            lit = vary_color(rng, parse_color(colors[int(rng.integers(1, 5))]), 0.12)
            widths = leaf * 0.3 * np.sin(np.pi * along**0.7)
            fill(sheet, limb(blade, widths), lit)
            fill(sheet, limb(blade, np.minimum(widths * 0.12, 2.0)), np.clip(lit * 1.3, 0, 1))
        if rng.random() < 0.5:
            flower = tall * rng.uniform(0.04, 0.07)
            for turn in np.linspace(0, 2 * np.pi, 7)[:-1]:
                tip = path[-1] + flower * 0.6 * np.array([np.cos(turn), np.sin(turn) * 0.8])
                fill(
                    sheet,
                    blob(rng, tip[0], tip[1], flower * 0.55, flower * 0.45, rough=0.02),
                    vary_color(rng, petals, 0.08),
                )
            fill(sheet, blob(rng, path[-1, 0], path[-1, 1], flower * 0.3, flower * 0.3), parse_color("c79a2a"))
    return _from_sheet(sheet)


def bush(rng: Rng, size: tuple[int, int], unit: float, x: float, base: float, tall: float) -> Sprite:
    """A shrub whose outline is made of leaves."""
    colors = LEAF_COLORS[rng.integers(len(LEAF_COLORS))]
    outline = blob(rng, x, base - tall / 2, tall * rng.uniform(0.5, 0.9), tall / 2, rough=0.12)
    mask = cover(size, outline)
    clumps = noise(rng, size, unit * 0.1, octaves=4)
    sheet = make_sheet(size, parse_color(colors[0]) * 0.8)
    lit = np.clip(0.4 * clumps + 0.5 * shade(mask, unit)[..., 0], 0.35, 1) * (mask > 0)
    length = max(tall * rng.uniform(0.04, 0.08), 4.0)
    count = min(round(4 * size[0] * size[1] / length**2), 12000)
    draw_leaves(rng, sheet, count, length, colors[:3], lit, spread=2.0)
    draw_leaves(rng, sheet, count // 2, length, colors, lit)
    return _from_sheet(sheet)


def tree(rng: Rng, size: tuple[int, int], unit: float, x: float, base: float, tall: float) -> Sprite:
    """A trunk with bare branches and a few leaves."""
    thick = tall * rng.uniform(0.05, 0.1)
    trunk = wander(rng, (x, base), -np.pi / 2, tall * 1.3, 0.12)
    limbs = [limb(trunk, np.linspace(thick, thick * 0.5, len(trunk)))]
    tips: list[Points] = []
    for _ in range(rng.integers(8, 18)):
        start = trunk[int(rng.integers(8, len(trunk)))]
        branch = wander(
            rng,
            tuple(start),
            -np.pi / 2 + rng.choice((-1, 1)) * rng.uniform(0.4, 1.1),
            tall * rng.uniform(0.2, 0.6),
            0.5,
        )
        limbs.append(limb(branch, np.linspace(thick * 0.35, 1.2, len(branch))))
        for start in branch[8::5]:
            twig = wander(rng, tuple(start), rng.uniform(-np.pi, 0), tall * rng.uniform(0.06, 0.2), 0.5)
            limbs.append(limb(twig, np.linspace(max(1.5, thick * 0.08), 0.9, len(twig))))
            tips.append(twig)
    sprite = Sprite(size)
    mask = cover(size, *limbs)
    sprite.paint(mask, bark(rng, size, unit) * shade(mask, unit * 0.4))
    if rng.random() < 0.6:
        _hang_leaves(rng, sprite, tips, tall * 0.03, LEAF_COLORS[rng.integers(len(LEAF_COLORS))])
    return sprite


def _hang_leaves(rng: Rng, sprite: Sprite, twigs: Sequence[Points], length: float, colors: Sequence[str]) -> None:
    """Leaves along twigs."""
    sheet = make_sheet(sprite.alpha.shape, parse_color(colors[1]))
    for twig in twigs:
        for start in twig[3::3]:
            size = length * rng.uniform(0.6, 1.3)
            blade = wander(rng, tuple(start), rng.uniform(-0.5, np.pi + 0.5), size, 0.4, 9)
            lit = vary_color(rng, parse_color(colors[int(rng.integers(1, 5))]), 0.1)
            fill(sheet, limb(blade, size * 0.45 * np.sin(np.pi * np.linspace(0, 1, 10) ** 0.7)), lit)
    leaves = _from_sheet(sheet)
    sprite.paint(leaves.alpha, leaves.color)


def branch(rng: Rng, size: tuple[int, int], unit: float) -> Sprite:
    """A branch with leaves that reaches into the picture from its edge."""
    height, width = size
    from_left = rng.random() < 0.5
    start = (0.0 if from_left else float(width), height * rng.uniform(0.0, 0.5))
    turn = rng.uniform(-0.2, 0.7)
    path = wander(rng, start, turn if from_left else np.pi - turn, unit * rng.uniform(0.4, 0.9), 0.4)
    limbs, twigs = [limb(path, np.linspace(unit * 0.022, unit * 0.006, len(path)))], []
    for at in path[4::3]:
        twig = wander(rng, tuple(at), rng.uniform(-0.3, np.pi), unit * rng.uniform(0.1, 0.3), 0.5)
        limbs.append(limb(twig, np.linspace(unit * 0.008, unit * 0.003, len(twig))))
        twigs.append(twig)
    sprite = Sprite(size)
    mask = cover(size, *limbs)
    sprite.paint(mask, bark(rng, size, unit) * shade(mask, unit * 0.3))
    _hang_leaves(rng, sprite, twigs, unit * 0.07, LEAF_COLORS[rng.integers(len(LEAF_COLORS))])
    return sprite


def railing(rng: Rng, size: tuple[int, int], unit: float) -> Sprite:
    """Bars of a fence, upright or level."""
    height, width = size
    pitch, thick = unit * rng.uniform(0.25, 0.5), unit * rng.uniform(0.012, 0.04)
    upright = rng.random() < 0.6
    lean = rng.normal(0, 0.04)
    bars = []
    for at in np.arange(rng.uniform(-1, 0) * pitch, width if upright else height, pitch):
        first, last = (at - lean * height, 0.0), (at + lean * height, float(height))
        if not upright:
            first, last = (0.0, at - lean * width), (float(width), at + lean * width)
        bars.append(limb(np.linspace(first, last, 5), np.full(5, thick)))
    keep = rng.integers(1, len(bars) + 1)
    mask = cover(size, *bars[:keep])
    metal = to_linear(vary_color(rng, parse_color(rng.choice(CLOTH_COLORS)), 0.1))
    sprite = Sprite(size)
    sprite.paint(mask, metal * shade(mask, unit * 0.25))
    return sprite


def grass(rng: Rng, size: tuple[int, int], unit: float) -> Sprite:
    """Blades that rise from below the picture."""
    height, width = size
    colors = LEAF_COLORS[rng.integers(len(LEAF_COLORS))]
    sheet = make_sheet(size, parse_color(colors[1]))
    middle = rng.uniform(0, width)
    for _ in range(rng.integers(15, 60)):
        start = (rng.normal(middle, width * 0.18), float(height))
        path = wander(rng, start, -np.pi / 2 + rng.normal(0, 0.2), unit * rng.uniform(0.12, 0.45), 0.5)
        lit = vary_color(rng, parse_color(colors[int(rng.integers(1, 5))]), 0.1)
        fill(sheet, limb(path, unit * rng.uniform(0.008, 0.018) * np.linspace(1, 0.05, len(path)) ** 0.6), lit)
    return _from_sheet(sheet)


def _from_sheet(sheet: npt.NDArray[np.uint8]) -> Sprite:
    sprite = Sprite(sheet.shape[:2])
    sprite.paint(sheet[..., 3].astype(np.float32) / 255, to_linear(read_sheet(sheet)))
    return sprite
