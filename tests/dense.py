"""What the blur operators are compared with: their kernels pixel by pixel, in float64, from geometry alone.

Nothing here is shared with the package. A shape is an ellipse, or what a few disks or half planes have in
common. A row of pixels sees the mean of the shape's left and of its right edge over the row's height, a pixel
gets what the stretch between both covers of it. All is plain torch, so autograd differentiates it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Layers into which a general outline is cut for integration.
_LAYERS = 4096
# Radii below this are taken for this: every shape is then well within its pixel.
_LEAST_RADIUS = 0.01

Chord = Callable[[Tensor], tuple[Tensor, Tensor]]


def dense_scatter(image: Tensor, radius: Tensor, aperture: str) -> Tensor:
    """``y(p) = sum_q k(p - q; r(q)) x(q)`` for an image (B, C, H, W) and radii (B or 1, 1, H, W)."""
    light = image.flatten(2)  # (B, C, Q)
    return (light @ _matrix(radius, aperture)).view(image.shape)


def dense_gather(image: Tensor, radius: Tensor, aperture: str) -> Tensor:
    """``y(p) = sum_q k(q - p; r(p)) x(q)``."""
    light = image.flatten(2)  # (B, C, Q)
    return (light @ _matrix(radius, aperture).mT).view(image.shape)


def dense_kernel(aperture: str, radius: Tensor | float, n: int) -> Tensor:
    """The share of every pixel (dy, dx) from -n to n: (..., 2 n + 1, 2 n + 1) for radii of shape (...)."""
    r = torch.as_tensor(radius, dtype=torch.float64).clamp(min=_LEAST_RADIUS)[..., None]
    offsets = torch.arange(-n, n + 1, dtype=torch.float64)
    name, *values = aperture.split(":")
    if name == "gaussian":
        taps = _gaussian_taps(r, offsets)
        return taps[..., :, None] * taps[..., None, :]
    if name == "ring":
        outer = r / math.sqrt(1 - float(values[0]) ** 2)
        parts = [(1, _disk_ends(outer, offsets)), (-1, _disk_ends(outer * float(values[0]), offsets))]
    else:
        parts = [(1, row_ends(aperture, r, offsets))]
    covered = sum(sign * _cover(left, right, offsets) for sign, (left, right) in parts)
    return covered / (math.pi * r[..., None] ** 2)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Of the whole tensor; infinite unless both are zero where the expected one is."""
    error, size = (actual.double() - expected).norm(), expected.norm()
    return float(error / size) if size > 0 else math.inf if error > 0 else 0.0


def row_ends(aperture: str, radius: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Mean left and right edge of the shape over the rows dy - 1/2 .. dy + 1/2.

    Above and below the shape both edges go on along the straight line through its topmost and lowest point.
    """
    name, *values = aperture.split(":")
    if name == "disk":
        return _disk_ends(radius, dy)
    if name == "ellipse":
        return _ellipse_ends(radius, dy, *(float(value) for value in values))
    low, high = outline_span(aperture)
    # Relative to the line, what lies beyond the shape adds nothing.
    x_low, x_high = (sum(outline_chord(aperture)(tip)) / 2 for tip in (low, high))
    lean = (x_high - x_low) / (high - low)
    offset = x_low - lean * low
    above, below = (_area_below(aperture, (dy + side) / radius, low, high, offset, lean) for side in (-0.5, 0.5))
    left, right = (radius**2 * (b - a) + lean * dy + offset * radius for a, b in zip(above, below, strict=True))
    return left, right


def outline_chord(aperture: str) -> Chord:
    """The exact left and right edge of the unit shape (of area pi) at a height; left > right beyond it."""
    name, *values = aperture.split(":")
    first, turn, roundness = [*(float(value) for value in values), 0.0, 0.0][:3]
    if name == "cat_eye":  # two unit disks, shifted to either side
        area = 2 * (math.acos(first) - first * math.sqrt(1 - first**2))
        disks = [(_turn(side * first, 0, turn), 1.0) for side in (-1, 1)]
        planes = []
    else:
        half = math.pi / first
        area = first / 2 * math.sin(2 * half)
        middles = [360 / first * i + 90 + turn for i in range(int(first))]  # of the edges; 90 is down
        disks, planes = [], []
        if roundness:  # arcs of radius 1 / roundness through neighbouring vertices
            big = 1 / roundness
            bulge = math.asin(math.sin(half) / big)
            area += first * big**2 / 2 * (2 * bulge - math.sin(2 * bulge))
            disks = [(_turn(math.cos(half) - big * math.cos(bulge), 0, middle), big) for middle in middles]
        else:
            planes = [(_turn(1, 0, middle), math.cos(half)) for middle in middles]
    scale = math.sqrt(math.pi / area)

    def chord(y: Tensor) -> tuple[Tensor, Tensor]:
        y = y / scale
        left, right = torch.full_like(y, -math.inf), torch.full_like(y, math.inf)
        for (x0, y0), size in disks:
            inside = size**2 - (y - y0) ** 2
            half = torch.where(inside >= 0, inside.clamp(min=0).sqrt(), -math.inf)
            left, right = torch.maximum(left, x0 - half), torch.minimum(right, x0 + half)
        for (nx, ny), distance in planes:  # nx x + ny y <= distance
            if abs(nx) < 1e-12:
                outside = ny * y > distance
                left = torch.where(outside, math.inf, left)
            elif nx > 0:
                right = torch.minimum(right, (distance - ny * y) / nx)
            else:
                left = torch.maximum(left, (distance - ny * y) / nx)
        return left * scale, right * scale

    return chord


def outline_span(aperture: str) -> tuple[Tensor, Tensor]:
    """The lowest and the highest y of the outline, by bisection, within the shape by a hair."""
    chord = outline_chord(aperture)
    spans = []
    for sign in (-1, 1):
        inner, outer = torch.zeros(2, dtype=torch.float64)
        outer = outer + 4
        for _ in range(60):
            middle = (inner + outer) / 2
            left, right = chord(sign * middle)
            inner, outer = (middle, outer) if left <= right else (inner, middle)
        spans.append(sign * inner)
    return spans[0], spans[1]


def _matrix(radius: Tensor, aperture: str) -> Tensor:
    """Light from pixel q to pixel p, (B, Q, P)."""
    height, width = radius.shape[2:]
    n = max(height, width) - 1
    kernel = dense_kernel(aperture, radius[:, 0].flatten(1), n)  # (B, Q, 2 n + 1, 2 n + 1)
    y, x = (t.flatten() for t in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    q = torch.arange(height * width)[:, None]
    return kernel[:, q, y[None] - y[:, None] + n, x[None] - x[:, None] + n]


def _cover(left: Tensor, right: Tensor, dx: Tensor) -> Tensor:
    """How much of the pixels dx lies between the ends, (..., rows, dx)."""
    left, right = left[..., None], right[..., None]
    return (torch.minimum(right, dx + 0.5) - torch.maximum(left, dx - 0.5)).clamp(min=0)


def _disk_ends(radius: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of sqrt(r^2 - y^2) over the row: its integral is (y sqrt(r^2 - y^2) + r^2 asin(y / r)) / 2."""

    def integral(y: Tensor) -> Tensor:
        s = y / radius
        inner = torch.where(s.abs() < 1, s, 0)
        half_area = (inner * (1 - inner**2).sqrt() + torch.asin(inner)) / 2
        return radius**2 * torch.where(s.abs() < 1, half_area, s.sign() * math.pi / 4)

    half = integral(dy + 0.5) - integral(dy - 0.5)
    return -half, half


def _ellipse_ends(radius: Tensor, dy: Tensor, ratio: float, rotation_deg: float = 0.0) -> tuple[Tensor, Tensor]:
    """Edges of the turned ellipse u^2 / ratio + v^2 ratio = 1; quadrature over the angle to its tips.

    With a x^2 + 2 b x y + c y^2 = 1 and a c - b^2 = 1 the edges are x = -b / a y -/+ sqrt(a - y^2) / a.
    """
    cos, sin = math.cos(math.radians(rotation_deg)), math.sin(math.radians(rotation_deg))
    a = cos**2 / ratio + sin**2 * ratio
    b = cos * sin * (1 / ratio - ratio)
    top = math.sqrt(a)

    def angle(y: Tensor) -> Tensor:
        s = y / (radius * top)
        inner = torch.where(s.abs() < 1, s, 0)
        return torch.where(s.abs() < 1, torch.asin(inner), s.sign() * math.pi / 2)

    low, high = angle(dy - 0.5), angle(dy + 0.5)
    half = torch.zeros_like(low)
    for node, weight in _legendre(16):
        # y = top sin(angle), dy = top cos(angle) d angle, sqrt(a - y^2) = top cos(angle)
        at = (low + high) / 2 + (high - low) / 2 * node
        half = half + weight * (high - low) / 2 * (top * torch.cos(at)) ** 2 / a
    half = half * radius**2
    return -b / a * dy - half, -b / a * dy + half


def _legendre(count: int) -> list[tuple[float, float]]:
    """Nodes and weights of the Gauss-Legendre quadrature over [-1, 1], by Golub and Welsch's eigenvalues."""
    k = torch.arange(1, count, dtype=torch.float64)
    beside = k / (4 * k**2 - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return list(zip(nodes.tolist(), (2 * vectors[0] ** 2).tolist(), strict=True))


def _gaussian_taps(radius: Tensor, offsets: Tensor) -> Tensor:
    """Integrals over pixels of a Gaussian of sigma = r / 2 that is cut at three sigma."""
    sigma = radius / 2

    def integral(x: Tensor) -> Tensor:
        return torch.erf((x / sigma).clamp(-3, 3) / math.sqrt(2)) / (2 * math.erf(3 / math.sqrt(2)))

    return integral(offsets + 0.5) - integral(offsets - 0.5)


def _turn(x: float, y: float, degrees: float) -> tuple[float, float]:
    """Clockwise in a picture whose y axis points down."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x * cos - y * sin, x * sin + y * cos


_layers: dict[str, tuple[Tensor, Tensor]] = {}


def _area_below(
    aperture: str, y: Tensor, low: Tensor, high: Tensor, offset: Tensor, lean: Tensor
) -> tuple[Tensor, Tensor]:
    """What lies between the line and either edge from the lowest y up to y: whole layers and a part of one."""
    chord = outline_chord(aperture)

    def integrate(begin: Tensor, end: Tensor) -> list[Tensor]:
        areas = [torch.zeros_like(end), torch.zeros_like(end)]
        for node, weight in _legendre(4):
            at = (begin + end) / 2 + (end - begin) / 2 * node
            for i, edge in enumerate(chord(at)):
                areas[i] = areas[i] + weight * (end - begin) / 2 * (edge - offset - lean * at)
        return areas

    if aperture not in _layers:
        levels = torch.linspace(float(low), float(high), _LAYERS + 1, dtype=torch.float64)
        sums = torch.stack(integrate(levels[:-1], levels[1:])).cumsum(1)
        _layers[aperture] = levels, torch.nn.functional.pad(sums, (1, 0))
    levels, sums = _layers[aperture]
    y = y.clamp(float(low), float(high))
    index = ((y.detach() - low) / (high - low) * _LAYERS).long().clamp(max=_LAYERS - 1)
    left, right = integrate(levels[index], y)
    return sums[0][index] + left, sums[1][index] + right
