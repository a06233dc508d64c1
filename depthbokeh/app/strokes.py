"""Corrections of the mask, painted by hand and kept as strokes, so that they fit the picture at any size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

# A hand paints fewer; more would be sent to keep the server busy.
MAX_POINTS, MAX_STROKES = 2000, 300
_FEATHER = 0.25  # of the brush's radius
_SHIFT = 4  # OpenCV's fractional bits of a coordinate


@dataclass(frozen=True)
class Stroke:
    """One stroke of the brush.

    Attributes:
        points: x and y, fractions of the picture's width and height.
        radius: Of the brush, a fraction of the longer side.
        adds: Whether what it covers becomes subject; otherwise it ceases to be.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> Stroke(((0.5, 0.5),), 0.1, adds=True).radius
        0.1
    """

    points: tuple[tuple[float, float], ...]
    radius: float
    adds: bool

    def __post_init__(self) -> None:
        if not 1 <= len(self.points) <= MAX_POINTS:
            raise ValueError(f"a stroke has {len(self.points)} points: expected 1 to {MAX_POINTS}")
        if not all(-1 <= value <= 2 for point in self.points for value in point):
            raise ValueError("a stroke leads far beyond the picture: expected fractions of its width and height")
        if not 0 < self.radius <= 0.5:
            raise ValueError(f"the brush's radius is {self.radius:g}: expected a fraction of the longer side up to 0.5")


def read_stroke(points: Sequence[Sequence[float]], radius: float, adds: bool) -> Stroke:
    """A stroke from what a browser sends.

    Raises:
        ValueError: It is something else.

    Example:
        >>> read_stroke([[0, 0.5], [1, 0.5]], 0.05, False).points
        ((0.0, 0.5), (1.0, 0.5))
    """
    try:
        return Stroke(tuple((float(x), float(y)) for x, y in points), float(radius), bool(adds))
    except TypeError as error:
        raise ValueError("a stroke is not made of points: expected pairs of numbers") from error


def paint(mask: Tensor, strokes: Iterable[Stroke]) -> Tensor:
    """The mask with strokes painted over it, one after the other.

    Args:
        mask: ``(1, 1, H, W)``, 0..1.
        strokes: What is painted.

    Returns:
        ``(1, 1, H, W)``.

    Example:
        >>> paint(torch.zeros(1, 1, 3, 9), [Stroke(((0.5, 0.5),), 0.1, adds=True)])[0, 0, 1].round()
        tensor([0., 0., 0., 1., 1., 1., 0., 0., 0.])
    """
    for stroke in strokes:
        cover = _cover(stroke, mask.shape[2], mask.shape[3]).to(mask)
        mask = torch.lerp(mask, torch.full_like(mask, float(stroke.adds)), cover)
    return mask


def _cover(stroke: Stroke, height: int, width: int) -> Tensor:
    """How much of each pixel the brush covers, (H, W), soft at the edge."""
    radius = stroke.radius * max(height, width)
    canvas = np.zeros((height, width), np.uint8)
    scale = np.array([width, height]) * (1 << _SHIFT)
    points = np.round(np.array(stroke.points) * scale - (1 << _SHIFT) / 2).astype(np.int32)
    cv2.polylines(canvas, [points[:, None]], False, 255, max(1, round(2 * radius)), cv2.LINE_AA, _SHIFT)
    for x, y in points[[0, -1]].tolist():  # a line of one point is none
        cv2.circle(canvas, (x, y), round(radius * (1 << _SHIFT)), 255, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    sigma = radius * _FEATHER
    if sigma > 0.5:
        size = 2 * math.ceil(2 * sigma) + 1
        canvas = cv2.GaussianBlur(canvas, (size, size), sigma)
    return torch.from_numpy(canvas).float() / 255
