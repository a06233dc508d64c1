"""The shape of the blur: what a point of light becomes when it is out of focus."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

# Cells of a curved outline, which is taken to be straight within each.
_CELLS = 256
# Outlines whose corners lie at few heights have their cells between those.
_FEW_CELLS = 12
# Points whose heights differ by less than this share of the outline's are equally high.
_LEVEL = 1e-9
# Points along every curved blade or arc.
_ARC_POINTS = 256


class ApertureKind(IntEnum):
    """How an aperture's rows are found; the numbers are those of the native kernels."""

    ELLIPSES = 0
    TABLE = 1
    GAUSSIAN = 2


@dataclass(frozen=True, eq=False)
class Aperture:
    """A shape of area pi whose copy scaled by ``r`` is the blur of radius ``r``.

    All shapes have the disk's area, so that a pixel of the same radius is equally bright in each of them.
    Angles are in degrees, clockwise in the picture (its y axis points down).

    Use the constructors: :meth:`disk`, :meth:`gaussian`, :meth:`polygon`, :meth:`ring`, :meth:`cat_eye`,
    :meth:`ellipse`, or :meth:`parse` for their short text form.

    Attributes:
        name: The text form, which :meth:`parse` reads back.
        kind: How its rows are found.
        rows: ``(N, 8)`` float64 on the CPU, the shape as the kernels read it, zeros at the end of a row: of
            ellipses ``(sign, height, width, shear, cut, extent)``; of a table ``(bottom, top, shear, offset, extent)``
            and the cells ``(left area, right area, left edge, right edge, left bend, right bend, start, height)``,
            equally high if there are more than 12. The middle of a shape that is the same after half a turn lies
            between two cells.
        extent: The largest distance of the unit shape's edge from its centre. Radii up to ``1 / (2 extent)`` leave a
            pixel as it is.
        reach: The largest height of the unit shape above or below its centre.

    Example:
        >>> Aperture.polygon(6).name
        'polygon:6'
        >>> Aperture.parse("ring:0.5").rows.shape
        torch.Size([2, 8])
    """

    name: str
    kind: ApertureKind
    rows: Tensor
    extent: float
    reach: float

    def __repr__(self) -> str:
        return f"Aperture({self.name!r})"

    @staticmethod
    def disk() -> Aperture:
        """The open lens: a filled circle.

        Example:
            >>> Aperture.disk().reach
            1.0
        """
        return _ellipses("disk", [(1.0, 1.0, 1.0, 0.0, 0.0)])

    @staticmethod
    def gaussian() -> Aperture:
        """A Gaussian of the disk's second moment, ``sigma = r / 2``, cut at three sigma.

        Example:
            >>> Aperture.gaussian().extent
            1.5
        """
        rows = torch.empty(0, 8, dtype=torch.float64)
        return Aperture("gaussian", ApertureKind.GAUSSIAN, rows, extent=1.5, reach=1.5)

    @staticmethod
    def polygon(blades: int, rotation_deg: float = 0.0, roundness: float = 0.0) -> Aperture:
        """A stopped-down lens: a regular polygon that stands on an edge, its edges bent outwards by ``roundness``.

        Args:
            blades: Number of edges, at least 3.
            rotation_deg: Clockwise.
            roundness: From 0 (straight edges) to 1 (a circle): the curvature of an edge over that of the circle
                through the vertices.

        Example:
            >>> Aperture.polygon(7, rotation_deg=15, roundness=0.3).name
            'polygon:7:15:0.3'
        """
        if not 3 <= blades < math.inf or int(blades) != blades:
            raise ValueError(f"blades must be a whole number of at least 3, got {blades}")
        if not 0 <= roundness <= 1:
            raise ValueError(f"roundness must be between 0 and 1, got {roundness}")
        _check_rotation(rotation_deg)
        name = _spell("polygon", int(blades), (rotation_deg, 0.0), (roundness, 0.0))
        return _table(name, _rotate(_blades(int(blades), roundness), rotation_deg))

    @staticmethod
    def ring(inner: float) -> Aperture:
        """A mirror lens: a disk with a hole.

        Args:
            inner: Radius of the hole over that of the rim, from 0 to below 1.

        Example:
            >>> round(Aperture.ring(0.5).extent, 3)  # the rim grows as the hole does: the area stays
            1.155
        """
        if not 0 <= inner < 1:
            raise ValueError(f"inner must be at least 0 and below 1, got {inner}")
        rim = 1 / math.sqrt(1 - inner**2)
        return _ellipses(
            f"ring:{_number(inner)}",
            [(1.0, rim, 1.0, 0.0, 0.0), (-1.0, inner * rim, 1.0, 0.0, 0.0)][: 2 if inner else 1],
        )

    @staticmethod
    def cat_eye(strength: float, rotation_deg: float = 0.0) -> Aperture:
        """A lens seen from the side: what two equal circles have in common, narrow from left to right.

        It is the same all over the picture; turn it with ``rotation_deg`` to see another edge of the frame.

        Args:
            strength: Half the distance of the circles' centres over their radius, from 0 (a disk) to below 1.
            rotation_deg: Clockwise.

        Example:
            >>> Aperture.cat_eye(0.4, rotation_deg=30).name
            'cat_eye:0.4:30'
        """
        if not 0 <= strength < 1:
            raise ValueError(f"strength must be at least 0 and below 1, got {strength}")
        _check_rotation(rotation_deg)
        name = _spell("cat_eye", strength, (rotation_deg, 0.0))
        half = math.acos(strength)  # the right-hand arc, of the circle whose centre is on the left
        if rotation_deg == 0:
            area = 2 * (half - strength * math.sin(half))
            return _ellipses(name, [(1.0, math.sqrt(math.pi / area), 1.0, 0.0, strength)])
        angle = torch.linspace(-half, half, _ARC_POINTS, dtype=torch.float64)
        right = torch.stack([angle.cos() - strength, angle.sin()], dim=1)
        return _table(name, _rotate(torch.cat([right[:-1], -right[:-1]]), rotation_deg))

    @staticmethod
    def ellipse(ratio: float, rotation_deg: float = 0.0) -> Aperture:
        """An anamorphic lens: an ellipse.

        Args:
            ratio: Width over height; 0.5 is twice as tall as it is wide.
            rotation_deg: Clockwise.

        Example:
            >>> round(Aperture.ellipse(0.5).reach, 3)
            1.414
        """
        if not 0 < ratio < math.inf:
            raise ValueError(f"ratio must be positive, got {ratio}")
        _check_rotation(rotation_deg)
        turn = math.radians(rotation_deg)
        yy = ratio * math.sin(turn) ** 2 + math.cos(turn) ** 2 / ratio
        xy = (ratio - 1 / ratio) * math.sin(turn) * math.cos(turn)
        shear = 0.0 if abs(xy) < 1e-12 else xy / yy
        name = _spell("ellipse", ratio, (rotation_deg, 0.0))
        return _ellipses(name, [(1.0, math.sqrt(yy), 1 / yy, shear, 0.0)])

    @staticmethod
    def parse(text: str | Aperture) -> Aperture:
        """Reads ``NAME`` or ``NAME:VALUE[:VALUE...]``, the values in the order of the constructor's arguments.

        Args:
            text: ``"disk"``, ``"gaussian"``, ``"polygon:6"``, ``"polygon:7:15:0.3"``, ``"ring:0.5"``,
                ``"cat_eye:0.4"``, ``"ellipse:0.5:90"``. An :class:`Aperture` is returned as it is.

        Raises:
            ValueError: If the name is unknown or a value is missing, not a number or out of range.

        Example:
            >>> Aperture.parse("polygon:6")
            Aperture('polygon:6')
        """
        if isinstance(text, Aperture):
            return text
        cached = _parsed.get(text)
        if cached is None:
            cached = _parsed[text] = _parse(text)
        return cached

    def sample(self, count: int) -> Tensor:
        """Points spread evenly over the unit shape: what a ray tracer sends its rays through.

        A spiral of constant area per point, turned by the golden angle from point to point (Vogel 1979), with the
        outline's fan of triangles in the place of the circle. The Gaussian's points follow its density. The points
        of a blur of radius r are ``r`` times these.

        Args:
            count: Number of points, at least 1.

        Returns:
            ``(count, 2)`` float64, x and y, always the same.

        Raises:
            ValueError: If ``count`` is below 1.

        Example:
            >>> points = Aperture.disk().sample(1000)
            >>> bool((points.norm(dim=1) < 1).all()), bool((points.mean(0).abs() < 1e-2).all())
            (True, True)
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        order = torch.arange(count, dtype=torch.float64)
        inwards, turn = (order + 0.5) / count, (order * (math.sqrt(5) - 1) / 2) % 1
        if self.kind is ApertureKind.GAUSSIAN:
            distance = 0.5 * torch.sqrt(-2 * torch.log1p(inwards * math.expm1(-(self.extent**2) * 2)))
            angle = 2 * math.pi * turn
            return distance[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
        corners = self._outline()
        following = corners.roll(-1, 0)
        x, y = corners.unbind(1)
        area = (x * following[:, 1] - y * following[:, 0]).abs().cumsum(0)  # of the fan of triangles
        share = turn * area[-1]
        at = torch.searchsorted(area, share, right=True).clamp(max=len(corners) - 1)
        before = torch.nn.functional.pad(area, (1, 0))[at]
        along = ((share - before) / (area[at] - before))[:, None]
        rim = corners[at] + along * (following[at] - corners[at])
        hole = 0.0 if len(self.rows) != 2 else float(self.rows[1, 1] / self.rows[0, 1])
        return rim * torch.sqrt(hole**2 + inwards * (1 - hole**2))[:, None]

    def _outline(self) -> Tensor:
        """Points round the rim, (N, 2)."""
        if self.kind is ApertureKind.TABLE:
            shear, offset = self.rows[0, 2:4].tolist()
            _, edge, bend, place = self.rows[1:].view(-1, 4, 2).unbind(1)
            start, height = place[:, :1], place[:, 1:]
            edges = torch.cat([edge, (edge + 2 * height * bend)[-1:]])
            y = torch.cat([start, (start + height)[-1:]])
            left, right = (edges + offset + shear * y).unbind(1)
            y = y[:, 0]
        else:
            _, height, width, shear, cut = self.rows[0, :5].tolist()
            reach = math.asin(math.sqrt(1 - cut**2))
            angle = torch.linspace(-reach, reach, 2 * _ARC_POINTS, dtype=torch.float64)
            y = height * angle.sin()
            half = width * height * (angle.cos() - cut)
            left, right = shear * y - half, shear * y + half
        return torch.cat([torch.stack([right, y], dim=1), torch.stack([left, y], dim=1).flip(0)])


_CONSTRUCTORS: dict[str, tuple[Callable[..., Aperture], int, int]] = {
    "disk": (Aperture.disk, 0, 0),
    "gaussian": (Aperture.gaussian, 0, 0),
    "polygon": (Aperture.polygon, 1, 3),
    "ring": (Aperture.ring, 1, 1),
    "cat_eye": (Aperture.cat_eye, 1, 2),
    "ellipse": (Aperture.ellipse, 1, 2),
}
_parsed: dict[str, Aperture] = {}


def _check_rotation(rotation_deg: float) -> None:
    if not math.isfinite(rotation_deg):
        raise ValueError(f"rotation_deg must be finite, got {rotation_deg}")


def _parse(text: str) -> Aperture:
    name, *values = text.split(":")
    if name not in _CONSTRUCTORS:
        raise ValueError(f"aperture must be one of {', '.join(_CONSTRUCTORS)}, got {text!r}")
    make, least, most = _CONSTRUCTORS[name]
    if not least <= len(values) <= most:
        expected = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"aperture {name} takes {expected} values, got {text!r}")
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        raise ValueError(f"aperture values must be numbers, got {text!r}") from None
    return make(*numbers)


def _spell(name: str, first: float, *optional: tuple[float, float]) -> str:
    """The text form; trailing values that equal their default are left out."""
    values = [value for value, _ in optional]
    while values and values[-1] == optional[len(values) - 1][1]:
        values.pop()
    return ":".join([name, *map(_number, (first, *values))])


def _number(value: float) -> str:
    """All digits of a number, whole ones without a point."""
    return repr(float(value)).removesuffix(".0")


def _ellipses(name: str, parts: list[tuple[float, float, float, float, float]]) -> Aperture:
    rows = torch.nn.functional.pad(torch.tensor(parts, dtype=torch.float64), (0, 3))
    extents = []
    for i, (_, height, width, shear, cut) in enumerate(parts):
        # Half the longer axis, or what is left of it: the larger singular value of [[width, shear], [0, 1]].
        longest = math.sqrt(1 - cut**2) if cut else (math.hypot(width + 1, shear) + math.hypot(width - 1, shear)) / 2
        extents.append(height * longest)
        rows[i, 5] = extents[-1]
    reach = max(height * math.sqrt(1 - cut**2) for _, height, _, _, cut in parts)
    return Aperture(name, ApertureKind.ELLIPSES, rows, max(extents), reach)


def _rotate(points: Tensor, degrees: float) -> Tensor:
    turn = math.radians(degrees)
    matrix = [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
    return points @ torch.tensor(matrix, dtype=points.dtype)


def _blades(count: int, roundness: float) -> Tensor:
    """Points round a polygon of straight or bent edges, one edge at the bottom."""
    half = math.pi / count
    if roundness == 0:
        edge = torch.tensor([[math.cos(half), -math.sin(half)]], dtype=torch.float64)
    else:  # an arc of curvature `roundness` through two neighbouring vertices of the unit circle
        span = math.asin(roundness * math.sin(half))
        angle = torch.linspace(-span, span, _ARC_POINTS, dtype=torch.float64)[:-1]
        x = angle.cos() / roundness + math.cos(half) - math.cos(span) / roundness
        edge = torch.stack([x, angle.sin() / roundness], dim=1)
    turns = torch.arange(count, dtype=torch.float64) * (360 / count) + 90
    return torch.cat([_rotate(edge, float(turn)) for turn in turns])


def _table(name: str, points: Tensor) -> Aperture:
    """Integrates the edges of a convex outline, given by points in order round it, into cells.

    At the height ``start + t`` of a cell the edges lie at ``edge + 2 bend t``, measured from the line through the
    outline's lowest and highest point (``offset + shear y``), and enclose ``area + t (edge + t bend)`` below.
    """
    x, y = points[:, 0], points[:, 1]
    area = 0.5 * (x * y.roll(-1) - y * x.roll(-1)).sum().abs()
    points = points * torch.sqrt(math.pi / area)
    x, y = points[:, 0], points[:, 1]
    bottom, top = float(y.min()), float(y.max())
    near = _LEVEL * (top - bottom)
    tips = [x[(y - tip).abs() < near] for tip in (bottom, top)]
    low, high = (float(tip.min() + tip.max()) / 2 for tip in tips)
    shear = (high - low) / (top - bottom)
    offset = low - shear * bottom
    leaning = abs(shear) < 1e-12 and abs(offset) < 1e-12
    shear, offset = (0.0, 0.0) if leaning else (shear, offset)
    nodes = _corners(points, near)
    if len(nodes) > _FEW_CELLS + 1:
        nodes = torch.linspace(bottom, top, _CELLS + 1, dtype=torch.float64)
    edges = torch.stack([_edge(points, side, nodes) - offset - shear * nodes for side in (-1, 1)], dim=1)
    heights = nodes.diff()[:, None]
    areas = torch.cumsum(heights * (edges[:-1] + edges[1:]) / 2, dim=0)
    scale = math.pi / float(areas[-1, 1] - areas[-1, 0])  # the table's area is pi, like the outline's
    areas, edges = areas * scale, edges * scale
    areas = torch.nn.functional.pad(areas[:-1], (0, 0, 1, 0))
    cells = torch.cat([areas, edges[:-1], edges.diff(dim=0) / heights / 2, nodes[:-1, None], heights], dim=1)
    head = torch.zeros(1, 8, dtype=torch.float64)
    extent = float(points.norm(dim=1).max())
    head[0, :5] = torch.tensor([bottom, top, shear, offset, extent], dtype=torch.float64)
    rows = torch.cat([head, cells])
    return Aperture(name, ApertureKind.TABLE, rows, extent, reach=max(-bottom, top))


def _corners(points: Tensor, near: float) -> Tensor:
    """Heights of the points of an outline, and of its centre if it is the same after half a turn."""
    y = points[:, 1]
    count = len(points)
    if count % 2 == 0 and bool(((points + points.roll(count // 2, 0)).abs() < near).all()):
        y = torch.nn.functional.pad(y, (0, 1))
    y = y.sort().values
    return torch.cat([y[:1], y[1:][y.diff() > near]])


def _edge(points: Tensor, side: int, nodes: Tensor) -> Tensor:
    """X of the outermost point on one side of a convex outline, at the heights ``nodes``."""
    x0, y0 = points.unbind(1)
    x1, y1 = points.roll(-1, 0).unbind(1)
    y = nodes[:, None]  # (N, 1) against all (P,) pieces of the outline
    slack = _LEVEL * (nodes[-1] - nodes[0])
    crossed = (y >= torch.minimum(y0, y1) - slack) & (y <= torch.maximum(y0, y1) + slack)
    level = (y1 - y0).abs() <= slack
    at = x0 + (x1 - x0) * ((y - y0) / torch.where(level, 1, y1 - y0)).clamp(0, 1)
    at = torch.where(level, torch.maximum(side * x0, side * x1), side * at)
    return side * torch.where(crossed, at, -math.inf).amax(1)
