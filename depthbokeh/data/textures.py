"""Procedural surfaces: leaves, masonry, cloth, clutter, ground; drawn in sRGB, returned in linear light."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Rng = np.random.Generator
Sheet = npt.NDArray[np.uint8]

LEAF_COLORS = (
    ("1b2613", "2c3d1a", "46612a", "6d8a3c", "9db25c"),
    ("16231c", "24402c", "3c6242", "5f8a5c", "8fb087"),
    ("2b1d12", "5a3417", "8c4f1d", "b8792f", "d7a950"),
    ("20240f", "4a4a1b", "757129", "a39a42", "cfc06d"),
)
WALL_COLORS = ("b9a58a", "a88f78", "8f8a84", "c7bfb0", "7d6a5c", "9a6b55", "6e7478", "d2c3a5", "86907f")
CLOTH_COLORS = ("27394f", "5b1f27", "3a3f3b", "8c8273", "1f4a45", "6b4a7a", "b5a48a", "22252b", "a33f35", "4f6a8c")
SKY_COLORS = (("dfe6ee", "a9c3df", "7ea4cf"), ("f2efe8", "dcdfe2", "bfc8d1"), ("f7dfc0", "d9c3bd", "8f9fb8"))


def to_linear(srgb: npt.ArrayLike) -> Array:
    """Turns sRGB values 0..1 into linear light, as :func:`depthbokeh.color.srgb_to_linear` on arrays."""
    values = np.asarray(srgb, np.float32)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def parse_color(text: str) -> Array:
    """``RRGGBB`` to sRGB values 0..1."""
    return np.array([int(text[at : at + 2], 16) / 255 for at in (0, 2, 4)], np.float32)


def vary_color(rng: Rng, color: Array, amount: float) -> Array:
    """A colour near another one: lighter or darker, and a little warmer or cooler."""
    return np.clip(color * rng.normal(1, amount) + rng.normal(0, amount / 4, 3), 0, 1).astype(np.float32)


def noise(
    rng: Rng, size: tuple[int, int], cell: float, *, octaves: int = 6, gain: float = 0.5, stretch: float = 1.0
) -> Array:
    """Smooth noise of several octaves.

    Args:
        rng: Source of randomness.
        size: Height and width.
        cell: Pixels per bump of the coarsest octave. Octaves below two pixels are left out: nothing aliases.
        octaves: The most octaves.
        gain: Amplitude of an octave over that of the one before.
        stretch: How many times taller than wide the bumps are.

    Returns:
        ``size`` float32 around 0.5 with standard deviation about 0.2, kept within 0..1.
    """
    import cv2

    height, width = size
    total, power = np.zeros(size, np.float32), 0.0
    for octave in range(octaves):
        across, down = cell / 2**octave, cell * stretch / 2**octave
        if octave and min(across, down) < 2:
            break
        # Turned by another angle each, the octaves' grids do not show.
        turn = rng.uniform(0, 2 * np.pi) if stretch == 1 else 0.0
        reach = height + width if turn else 0
        grid = rng.standard_normal(
            (math.ceil(max(height, reach) / down) + 4, math.ceil(max(width, reach) / across) + 4), np.float32
        )
        cos, sin = math.cos(turn), math.sin(turn)
        middle = np.array([width / 2, height / 2])
        matrix = np.array([[cos / across, sin / across, 0], [-sin / down, cos / down, 0]])
        matrix[:, 2] = np.array(grid.shape[::-1]) / 2 - 0.5 + rng.uniform(-0.5, 0.5, 2) - matrix[:, :2] @ middle
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        wave = cv2.warpAffine(grid, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
        total += gain**octave * wave
        power += gain ** (2 * octave)
    kept: Array = np.clip(0.5 + total * np.float32(0.25 / math.sqrt(power)), 0, 1)
    return kept


def ramp(values: Array, colors: Sequence[str]) -> Array:
    """Values 0..1 to sRGB along a row of colours, (h, w, 3)."""
    stops = np.stack([parse_color(color) for color in colors])
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, at, stops[:, channel]) for channel in range(3)], -1).astype(np.float32)


def grain(rng: Rng, srgb: Array, amount: float, cell: float = 6.0) -> Array:
    """Makes a surface uneven: light and dark patches, finer and finer."""
    uneven = noise(rng, srgb.shape[:2], cell * 8, octaves=6, gain=0.75)
    return np.clip(srgb * (1 + amount * 4 * (uneven - 0.5))[..., None], 0, 1)


def make_sheet(size: tuple[int, int], srgb: Array) -> Sheet:
    """An sRGB picture to draw on; its fourth channel tells how much has been drawn over."""
    sheet = np.zeros((*size, 4), np.uint8)
    sheet[..., :3] = np.round(255 * np.clip(srgb, 0, 1))
    return sheet


def read_sheet(sheet: Sheet) -> Array:
    """The picture that has been drawn, sRGB 0..1."""
    return (sheet[..., :3] / 255).astype(np.float32)


def fill(sheet: Sheet, corners: npt.NDArray[np.floating], srgb: Array) -> None:
    """Fills a polygon, given by its corners x and y, with soft edges."""
    import cv2

    color = [*(255 * np.clip(srgb, 0, 1)).tolist(), 255]
    cv2.fillPoly(sheet, [np.round(corners * 16).astype(np.int32)], color, cv2.LINE_AA, shift=4)


def fill_box(sheet: Sheet, left: float, top: float, right: float, bottom: float, srgb: Array) -> None:
    """Fills a rectangle."""
    fill(sheet, np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), srgb)


def draw_leaves(
    rng: Rng, sheet: Sheet, count: int, length: float, colors: Sequence[str], clumps: Array, spread: float = 1.1
) -> None:
    """Draws pointed leaves, most of them and the lightest where ``clumps`` is high."""
    height, width = sheet.shape[:2]
    along = np.linspace(0, 1, 6)
    edge = np.stack([along, 0.25 * np.sin(np.pi * along**0.8)], 1)
    outline = np.concatenate([edge, edge[::-1] * (1, -1)])
    places = rng.random((count, 2)) * (width, height)
    density = clumps[places[:, 1].astype(int), places[:, 0].astype(int)]
    kept = rng.random(count) < density * 1.6 - 0.3
    lit = np.clip(rng.normal(0.25 + 0.5 * density, 0.18), 0, 1).astype(np.float32)
    tints = ramp(lit, colors)
    turns, sizes = rng.normal(np.pi / 2, spread, count), length * rng.uniform(0.5, 1.3, count)
    shapes = sizes[:, None] * np.stack([np.ones(count), rng.uniform(0.6, 1.4, count)], 1)
    for index in np.flatnonzero(kept):
        turn = np.array(
            [[math.cos(turns[index]), math.sin(turns[index])], [-math.sin(turns[index]), math.cos(turns[index])]]
        )
        fill(sheet, (outline * shapes[index]) @ turn + places[index], tints[index])


def foliage(rng: Rng, size: tuple[int, int], unit: float, *, sky: float | None = None) -> Array:
    """Bushes and trees; with ``sky`` bright gaps that are that many times white."""
    colors = LEAF_COLORS[rng.integers(len(LEAF_COLORS))]
    clumps = noise(rng, size, unit * 0.25, octaves=5, gain=0.6)
    sheet = make_sheet(size, 0.7 * ramp(0.5 * clumps, colors))
    for share, length in ((1.0, 0.045), (1.0, 0.03), (0.6, 0.02)):
        count = round(share * 1.2 * size[0] * size[1] / (unit * length) ** 2)
        draw_leaves(rng, sheet, min(count, 9000), unit * length, colors, clumps)
    light, cover = to_linear(read_sheet(sheet)), sheet[..., 3:] / np.float32(255)
    if sky is not None:
        gaps = noise(rng, size, unit * 0.3, octaves=7, gain=0.75)
        seen = np.clip((gaps - 0.6) * 12, 0, 1)[..., None] * (1 - cover)
        light = light + seen * (sky * to_linear(parse_color("dfe8f2")) - light)
    return light.astype(np.float32)


def bricks(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """A wall of bricks or tiles."""
    height, width = size
    tall = unit * rng.uniform(0.03, 0.09)
    wide, joint = tall * rng.uniform(1.0, 3.0), max(1.0, tall * 0.07)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    row = np.floor(y / tall)
    shift = (row % 2) * 0.5 * wide * (rng.random() < 0.7)
    column = np.floor((x + shift) / wide)
    own = rng.normal(1, 0.13, (int(row.max()) + 2, int(column.max()) + 2)).astype(np.float32)
    gap = np.minimum.reduce([y % tall, tall - y % tall, (x + shift) % wide, wide - (x + shift) % wide])
    inside = np.clip((gap - joint / 2) + 0.5, 0, 1)[..., None]
    base, mortar = parse_color(rng.choice(WALL_COLORS)), parse_color(rng.choice(("cfc8ba", "8d877d", "5c5650")))
    srgb = mortar + inside * (base * own[row.astype(int), column.astype(int)][..., None] - mortar)
    return to_linear(grain(rng, np.clip(srgb, 0, 1), 0.12, unit * 0.02))


def facade(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """A building: windows in rows, some of them lit, frames and ledges."""
    height, width = size
    wall = parse_color(rng.choice(WALL_COLORS))
    sheet = make_sheet(size, wall)
    pitch_x, pitch_y = unit * rng.uniform(0.14, 0.3), unit * rng.uniform(0.2, 0.4)
    share_x, share_y = rng.uniform(0.4, 0.75), rng.uniform(0.5, 0.75)
    start_x, start_y = -rng.random() * pitch_x, -rng.random() * pitch_y

    rail = unit * 0.008
    for j in range(int(height / pitch_y) + 3):
        y = start_y + j * pitch_y
        fill_box(sheet, 0, y - 2 * rail, width, y, np.clip(wall * 1.15, 0, 1))
        fill_box(sheet, 0, y, width, y + rail, wall * 0.6)
        for i in range(int(width / pitch_x) + 3):
            x = start_x + i * pitch_x
            left, right = x + (1 - share_x) / 2 * pitch_x, x + (1 + share_x) / 2 * pitch_x
            top, bottom = y + (1 - share_y) / 2 * pitch_y, y + (1 + share_y) / 2 * pitch_y
            fill_box(sheet, left - rail, top - rail, right + rail, bottom + 2 * rail, np.clip(wall * 1.25, 0, 1))
            glass = parse_color(
                rng.choice(("1d242b", "2c3842", "52616d", "8fa3b3", "d8c79a"), p=(0.3, 0.3, 0.2, 0.1, 0.1))
            )
            fill_box(sheet, left, top, right, bottom, vary_color(rng, glass, 0.1))
            fill_box(
                sheet,
                left,
                top,
                right,
                top + rng.uniform(0.05, 0.5) * (bottom - top),
                np.clip(glass * 1.5 + 0.05, 0, 1),
            )
            fill_box(
                sheet, (left + right - rail) / 2, top, (left + right + rail) / 2, bottom, np.clip(wall * 1.2, 0, 1)
            )
    return to_linear(grain(rng, read_sheet(sheet), 0.07, unit * 0.03))


def shelf(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """Clutter: boards with things of many colours on them, lettered."""
    height, width = size
    sheet = make_sheet(size, parse_color("2a211b"))
    pitch, board = unit * rng.uniform(0.22, 0.34), unit * 0.018
    wood = parse_color(rng.choice(("7a5a3c", "b08d63", "e0d8cc", "4a3626")))
    floor = pitch * rng.uniform(0.3, 1)
    while floor - pitch < height:
        x = -unit * 0.1
        while x < width:
            wide, tall = unit * rng.uniform(0.012, 0.05), pitch * rng.uniform(0.5, 0.88)
            color = vary_color(rng, parse_color(rng.choice(CLOTH_COLORS + WALL_COLORS)), 0.2)
            fill_box(sheet, x, floor - tall, x + wide, floor, color)
            for place in rng.uniform(0.1, 0.85, 2):
                ink = np.clip(color + rng.choice((-0.35, 0.4)), 0, 1)
                y = floor - tall * place
                fill_box(sheet, x + wide * 0.2, y, x + wide * 0.8, y + tall * rng.uniform(0.02, 0.12), ink)
            fill_box(sheet, x + wide * 0.94, floor - tall, x + wide, floor, color * 0.5)
            x += wide + (unit * rng.uniform(0.02, 0.1) if rng.random() < 0.12 else 0)
        fill_box(sheet, 0, floor, width, floor + board, wood)
        fill_box(sheet, 0, floor + board, width, floor + board * 2, parse_color("15100d"))
        floor += pitch
    return to_linear(grain(rng, read_sheet(sheet), 0.06, unit * 0.02))


def sky(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """Sky over hills and a line of trees."""
    height, width = size
    colors = SKY_COLORS[rng.integers(len(SKY_COLORS))]
    down = np.linspace(1, 0, height, dtype=np.float32)[:, None]
    light = to_linear(ramp(np.broadcast_to(down, size).copy(), colors))
    clouds = np.clip((noise(rng, size, unit * 0.7, octaves=6) - 0.45) * 3, 0, 1)[..., None]
    light = light + clouds * (to_linear(parse_color("f4f2ef")) * 1.05 - light)
    horizon = height * rng.uniform(0.45, 0.7)
    y = np.arange(height, dtype=np.float32)[:, None]
    for depth in range(3):
        rough = noise(rng, (8, width), unit * 0.4 / (depth + 1), octaves=7, gain=0.55 + 0.1 * depth)[:1]
        line = horizon + unit * (0.08 * depth - 0.35 * (rough - 0.3))
        cover = np.clip(y - line + 0.5, 0, 1)[..., None]
        haze = to_linear(parse_color(colors[0])) * 0.9
        trees = to_linear(ramp(noise(rng, size, unit * 0.06, octaves=5, gain=0.8), LEAF_COLORS[rng.integers(3)]))
        light = light + cover * ((0.55 - 0.25 * depth) * haze + (0.45 + 0.25 * depth) * trees - light)
    return np.asarray(light, np.float32)


def night(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """A dim street or room full of lamps that are many times white."""
    light = facade(rng, size, unit * 1.3) * np.float32(0.12) + np.float32(0.004)
    add_lights(rng, light, unit, int(rng.integers(25, 90)))
    return light


def add_lights(rng: Rng, light: Array, unit: float, count: int) -> None:
    """Adds small lamps to a picture in linear light, in place."""
    height, width = light.shape[:2]
    for _ in range(count):
        radius = unit * rng.uniform(0.0015, 0.005) + 0.5
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        left, top, reach = int(x), int(y), math.ceil(radius) + 1
        rows, columns = slice(max(0, top - reach), top + reach + 1), slice(max(0, left - reach), left + reach + 1)
        yy, xx = np.mgrid[rows.start : min(rows.stop, height), columns.start : min(columns.stop, width)]
        cover = np.clip(radius + 0.5 - np.hypot(xx - x, yy - y), 0, 1)[..., None].astype(np.float32)
        color = to_linear(
            parse_color(
                rng.choice(
                    ("ffd9a0", "ffb060", "fff2e0", "ff6a4a", "9fd0ff", "a0ffb0"), p=(0.35, 0.25, 0.2, 0.08, 0.08, 0.04)
                )
            )
        )
        light[rows, columns] += cover * color * np.float32(math.exp(rng.uniform(math.log(4), math.log(60))))


def bark(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """Wood with the grain upright."""
    base = rng.choice(("4a3b2e", "6b5a48", "7f776b", "54402c"))
    rough = noise(rng, size, unit * 0.02, octaves=4, gain=0.8, stretch=6)
    return to_linear(grain(rng, np.clip(parse_color(base) * (0.45 + 1.1 * rough[..., None]), 0, 1), 0.1, unit * 0.03))


def cloth(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """Plain, striped or checked cloth with folds."""
    height, width = size
    first, second = (vary_color(rng, parse_color(color), 0.1) for color in rng.choice(CLOTH_COLORS, 2, replace=False))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = 12 * (noise(rng, size, unit * 0.2, octaves=2) - 0.5) * unit / 512
    period = unit * rng.uniform(0.02, 0.07)
    kind = rng.integers(4)
    across = _stripe(x + bend, period) if kind in (1, 3) else np.zeros(size, np.float32)
    down = _stripe(y + bend, period) if kind in (2, 3) else np.zeros(size, np.float32)
    srgb = first + ((across + down) / 2)[..., None] * (second - first)
    folds = noise(rng, size, unit * 0.25, octaves=3, stretch=2)[..., None]
    return to_linear(grain(rng, np.clip(srgb * (0.7 + 0.6 * folds), 0, 1), 0.05, unit * 0.003))


def _stripe(x: Array, period: float) -> Array:
    """Stripes with edges one pixel wide, 0..1."""
    phase = np.abs((x % period) - period / 2)
    stripe: Array = np.clip(phase - period / 4 + 0.5, 0, 1).astype(np.float32)
    return stripe


def stone(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """Stone or plaster."""
    dark, pale = (parse_color(color) for color in rng.choice(WALL_COLORS, 2, replace=False))
    blend = noise(rng, size, unit * 0.2, octaves=7, gain=0.65)[..., None]
    return to_linear(grain(rng, dark + blend * (pale - dark), 0.12, unit * 0.01))


def poster(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    """Print: a heading, lines of letters, a picture."""
    import cv2

    height, width = size
    paper, ink = parse_color(rng.choice(("efe9dc", "e8c34a", "2f5d8a", "b03a2e", "f4f4f2"))), parse_color("1c1c20")
    sheet = make_sheet(size, paper)
    letters = list("ABCDEFGHKLMNOPRSTUVXYZ0123456789")
    y = unit * 0.03
    while y < height:
        scale = unit * rng.choice((0.0008, 0.0012, 0.003))
        tall = 30 * scale
        text = "".join(rng.choice(letters, int(width / (18 * scale)))) if rng.random() < 0.85 else ""
        place = (round(unit * 0.01), round(y + tall))
        thick = max(1, round(scale * 2))
        cv2.putText(
            sheet, text, place, cv2.FONT_HERSHEY_DUPLEX, scale, (*(255 * ink).tolist(), 255), thick, cv2.LINE_AA
        )
        y += tall * 1.6
    return to_linear(grain(rng, read_sheet(sheet), 0.03, unit * 0.05))


def ground(rng: Rng, size: tuple[int, int], unit: float, horizon: float) -> Array:
    """Paving, gravel or grass in perspective from its horizon (a row of the picture) down, averaged over pixels."""
    import cv2

    height, width = size
    side = 1024
    kind = rng.integers(3)
    tile = (bricks, stone, _turf)[kind](rng, (side, side), 512.0)
    distance = np.maximum(np.arange(height, dtype=np.float32) - horizon, 1.0) / unit
    depth = 0.35 / distance  # of the row, where 1 is as wide as the unit
    x = (np.arange(width, dtype=np.float32) - width / 2) / unit
    texels = 512 * (0.6 if kind == 0 else 1.0)
    footprint = np.maximum(2.0 * depth * texels / (distance * unit), 1.0)  # texels per pixel, down
    level = np.clip(np.log2(footprint), 0, 9)
    light = np.zeros((*size, 3), np.float32)
    for index in range(10):
        weight = np.clip(1 - np.abs(level - index), 0, 1)
        rows = np.flatnonzero(weight)
        if len(rows):
            near, scale = depth[rows, None] * texels, 2**index
            map_x, map_y = np.broadcast_arrays(x * near, 2 * near)
            around = [((at / scale - 0.5 + 0.5 / scale) % (side // scale)).astype(np.float32) for at in (map_x, map_y)]
            seen = cv2.remap(tile, around[0], around[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            light[rows] += weight[rows, None, None] * seen
        tile = tile.reshape(tile.shape[0] // 2, 2, -1, 2, 3).mean((1, 3)) if len(tile) > 1 else tile
    return light


def _turf(rng: Rng, size: tuple[int, int], unit: float) -> Array:
    colors = LEAF_COLORS[rng.integers(len(LEAF_COLORS))]
    blades = 0.55 * noise(rng, size, unit * 0.02, octaves=4, gain=0.9, stretch=2.5)
    patches = 0.45 * noise(rng, size, unit * 0.6, octaves=5)
    return to_linear(ramp(blades + patches, colors))


BACKDROPS: tuple[Callable[[Rng, tuple[int, int], float], Array], ...] = (foliage, facade, bricks, shelf, sky, night)
SURFACES: tuple[Callable[[Rng, tuple[int, int], float], Array], ...] = (stone, cloth, bricks, poster, bark)
