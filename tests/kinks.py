"""Where rounding decides what the gradient to the radius is.

A row's end moves with the radius, and what it moves over is the light of the pixel that it lies in: when it passes from
one pixel to the next, the derivative jumps. In float32 an end that is nearly there may lie on the other side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from depthbokeh import Aperture, reference
from depthbokeh.aperture import ApertureKind

# In float32 the area of a unit shape is known to about 1e-7, and thus a row's end to this share of the radius (2.9e-6
# was seen, of a polygon with round blades); an end that is added to the position of its pixel in a tile, to as much of
# some pixels.
BAND, PIXELS = 3e-6, 4
# Relative L2 of the gradient away from kinks, and of all of it.
AWAY, ALL = 3e-5, 3e-3


def find_kinks(radius: Tensor, aperture: str) -> Tensor:
    """Pixels with an end that is within ``BAND (radius + PIXELS)`` of an edge between pixels: (B, 1, H, W)."""
    shape = Aperture.parse(aperture)
    found = torch.zeros_like(radius, dtype=torch.bool)
    if shape.kind is ApertureKind.GAUSSIAN:  # whose kernel is smooth in the radius
        return found
    r = reference._blurred_radius(radius.double(), shape)
    reach = math.ceil(shape.reach * float(r.max()) + 0.5)
    for part in shape.rows.tolist() if shape.kind is ApertureKind.ELLIPSES else [None]:
        for dy in range(-reach, reach + 1):
            row = reference._ellipse_row(r, part, dy, True) if part else reference._table_row(r, shape.rows, dy)
            (left, _), (right, _) = row
            for end in (left, right):
                edge = end + 0.5
                found |= ((edge - edge.round()).abs() < BAND * (r + PIXELS)) & (right > left)
    return found


def assert_gradient_near(slope: Tensor, expected: Tensor, radius: Tensor, aperture: str) -> None:
    """A gradient to the radius in float32 against that in float64: equal but for the few pixels at a kink."""
    kinks = find_kinks(radius, aperture)
    assert kinks.sum() <= 2 + 0.02 * kinks.numel()
    error, size = slope.double() - expected, expected.norm()
    assert error[~kinks].norm() <= AWAY * size
    assert error.norm() <= ALL * size
