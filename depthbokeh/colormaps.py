"""Depth maps shown in false colours, back to numbers; needs no torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# "Spectral" with eleven colours, from red to blue: the scheme of that name by Cynthia Brewer, colorbrewer2.org.
_SPECTRAL = (
    0x9E0142,
    0xD53E4F,
    0xF46D43,
    0xFDAE61,
    0xFEE08B,
    0xFFFFBF,
    0xE6F598,
    0xABDDA4,
    0x66C2A5,
    0x3288BD,
    0x5E4FA2,
)
_OPENCV = ("inferno", "magma", "plasma", "viridis", "turbo")

# Distance in RGB, of 255, from the nearest colour of the map, of half and of nine tenths of the pixels: rounding leaves
# about 1, JPEG about 4 but more at edges, a photo 30 and more.
_TYPICAL, _LARGE = 6.0, 24.0
_ROUNDINGS = (np.floor, np.round, np.positive)
_SAMPLES = 20_000  # pixels that the map is recognised by
_CHUNK = 1 << 16


def list_colormaps() -> list[str]:
    """Return the names of the maps that are recognised."""
    return ["Spectral_r", *_OPENCV]


@cache
def get_colormap(name: str) -> NDArray[np.float32]:
    """Return a map's 256 colours (256, 3), RGB 0..255, from the lowest value to the highest.

    Args:
        name: One of :func:`list_colormaps`.

    Example:
        >>> get_colormap("Spectral_r")[[0, 255]].round().tolist()
        [[94.0, 79.0, 162.0], [158.0, 1.0, 66.0]]
    """
    if name == "Spectral_r":
        knots = np.array([[colour >> 16, colour >> 8 & 255, colour & 255] for colour in reversed(_SPECTRAL)])
        at = np.linspace(0, len(knots) - 1, 256)
        columns = [np.interp(at, np.arange(len(knots)), knots[:, channel]) for channel in range(3)]
        return np.stack(columns, 1).astype(np.float32)
    import cv2

    ramp = np.arange(256, dtype=np.uint8)[None]
    colours = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))  # (1, 256, BGR)
    return np.asarray(colours[0, :, ::-1], np.float32)


def invert_colormap(samples: NDArray[Any]) -> tuple[str, NDArray[np.float32]]:
    """Find the values behind a picture in false colours.

    Args:
        samples: (H, W, 3), RGB, unsigned integers.

    Returns:
        The map's name and the values (H, W), 0..1 in steps of 1/255.

    Raises:
        ValueError: If the colours are no map's.

    Example:
        >>> colours = get_colormap("magma")[None, [0, 51, 255]].astype(np.uint8)
        >>> name, values = invert_colormap(colours)
        >>> name, values.round(3).tolist()
        ('magma', [[0.0, 0.20000000298023224, 1.0]])
    """
    scale = np.float32(np.iinfo(samples.dtype).max / 255)
    height, width, _ = samples.shape
    pixels = samples.reshape(-1, 3)
    # Evenly over the picture: half of a photo beside half of a map is no map.
    few = pixels[:: max(1, len(pixels) // _SAMPLES)].astype(np.float32) / scale
    # Programs cut fractions off as often as they round, and steps differ by less than one in some channels.
    tables = [(name, edit(get_colormap(name))) for name in list_colormaps() for edit in _ROUNDINGS]
    away = [_find_nearest(few, colours)[1] for _, colours in tables]
    best = min(range(len(tables)), key=lambda index: float(away[index].mean()))
    name, colours = tables[best]
    typical, large = (float(np.quantile(away[best], q)) for q in (0.5, 0.9))
    if typical > _TYPICAL or large > _LARGE:
        raise ValueError(
            f"a colour picture, nearest to the colour map {name} but {large:.0f} of 255 away from it; "
            f"expected a grey map, or one in the colours of {', '.join(list_colormaps())}"
        )
    values = np.empty(len(pixels), np.float32)
    for start in range(0, len(pixels), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        values[chunk] = _find_nearest(pixels[chunk].astype(np.float32) / scale, colours)[0]
    return name, (values / np.float32(255)).reshape(height, width)


def _find_nearest(pixels: NDArray[np.float32], colours: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Index of the nearest colour and distance from it, both (N,)."""
    squares = (colours**2).sum(1) - 2 * pixels @ colours.T  # (N, 256), less the pixels' own squares
    index = squares.argmin(1)
    return index, np.sqrt(((pixels - colours[index]) ** 2).sum(1))
