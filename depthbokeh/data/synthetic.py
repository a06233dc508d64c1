"""Layered scenes photographed by tracing rays through every point of a lens: the truth that a renderer is held to.

A scene is a stack of planes. A ray through the pixel p and the point u of the unit aperture meets a plane at the point
whose pinhole image is

    q = p - u * defocus(q),        defocus(q) = strength * (disparity(q) - focus),

so that a point of light in front of the focus plane shows the aperture as it is, which is what
:func:`depthbokeh.scatter_blur` does with ``|defocus|``, and one behind it shows the aperture turned by 180 degrees, as
a real lens does. (For shapes that are their own half turn there is no difference.) With a disparity that is affine
in q, ``defocus(q) = defocus(p) / (1 + slope . u)``, slope being the gradient of the defocus: no search is needed.

Every ray is composited front to back by the alphas that it meets, and the rays of a pixel are averaged: hidden
surfaces, partly covered lenses and slanted planes are right by construction. Colour and alpha are constant over each
pixel of a plane, as in the definition of the blur operators. With finitely many rays, each stands for its share of the
lens: it reads a plane's mean over a square somewhat larger than that share there, never less than the pixel itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..aperture import Aperture

# Rows that are rendered together: what a band touches should stay in the processor's cache.
_BAND_ROWS = 64
# Side of the square that a ray reads over the side of its share: whole pixels leave gaps and overlaps at 1.
_SPREAD = 1.3
_FEWEST_SAMPLES, _MOST_SAMPLES = 96, 600


@dataclass(frozen=True, eq=False)
class Layer:
    """A plane with a picture on it; beyond the picture it is transparent.

    Attributes:
        color: ``(3, h, w)`` float32, linear light, may exceed 1; not multiplied by alpha.
        alpha: ``(1, h, w)`` float32, 0..1.
        disparity: At the frame's pixel (0, 0); larger is nearer.
        slope: Change of the disparity per pixel to the right and per pixel down.
        origin: x and y, in pixels of the frame, of the picture's first pixel; negative where it reaches beyond the
            frame, as it must by somewhat more than the blur's radius for light from there to be right.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> wall = Layer(torch.ones(3, 8, 8), torch.ones(1, 8, 8), disparity=0.2, slope=(0.01, 0.0))
        >>> wall.disparity_at(torch.tensor([0.0, 5.0]), torch.tensor(4.0))
        tensor([0.2000, 0.2500])
    """

    color: Tensor
    alpha: Tensor
    disparity: float
    slope: tuple[float, float] = (0.0, 0.0)
    origin: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.color.dim() != 3 or self.color.shape[0] != 3 or self.alpha.shape != (1, *self.color.shape[1:]):
            got = f"{tuple(self.color.shape)} and {tuple(self.alpha.shape)}"
            raise ValueError(f"color and alpha must be (3, h, w) and (1, h, w), got {got}")

    def disparity_at(self, x: Tensor, y: Tensor) -> Tensor:
        """The plane's disparity at pixel coordinates of the frame."""
        return self.disparity + self.slope[0] * x + self.slope[1] * y


@dataclass(frozen=True, eq=False)
class SyntheticPair:
    """A scene as a pinhole and as a lens sees it, with all there is to know about it.

    Attributes:
        all_in_focus: ``(1, 3, H, W)`` linear light, not clipped.
        bokeh: ``(1, 3, H, W)`` linear light, not clipped.
        disparity: ``(1, 1, H, W)`` of the frontmost surface whose alpha exceeds 1/2 at the pixel's centre.
        defocus: ``(1, 1, H, W)`` pixels, positive in front of the focus plane.
        mask: ``(1, 1, H, W)`` 0..1, what is seen of the subject.
        occlusion: ``(1, 1, H, W)`` 0..1, covered by anything in front of the subject.

    Example:
        >>> wall = Layer(torch.rand(3, 32, 32), torch.ones(1, 32, 32), disparity=0.5, origin=(-8, -8))
        >>> pair = Scene((wall,), size=(16, 16), focus=0.5, strength=6.0).render(samples=1)
        >>> pair.bokeh.shape, float(pair.defocus.abs().max()), bool(torch.equal(pair.bokeh, pair.all_in_focus))
        (torch.Size([1, 3, 16, 16]), 0.0, True)
    """

    all_in_focus: Tensor
    bokeh: Tensor
    disparity: Tensor
    defocus: Tensor
    mask: Tensor
    occlusion: Tensor


@dataclass(frozen=True, eq=False)
class Scene:
    """Planes from far to near and what the lens makes of them.

    Attributes:
        layers: From far to near.
        size: Height and width of the frame, pixels.
        focus: The disparity that is in focus.
        strength: Blur radius in pixels for every unit of disparity away from the focus.
        subject: Index of the layer that is the subject.

    Raises:
        ValueError: If there is no layer, or ``subject`` is none of them.

    Example:
        >>> wall = Layer(torch.full((3, 28, 28), 0.5), torch.ones(1, 28, 28), disparity=0.0, origin=(-6, -6))
        >>> ball = Layer(torch.ones(3, 6, 6), torch.ones(1, 6, 6), disparity=1.0, origin=(5, 5))
        >>> pair = Scene((wall, ball), size=(16, 16), focus=1.0, strength=4.0, subject=1).render()
        >>> round(float(pair.bokeh[0, 0, 8, 8]), 3), round(float(pair.bokeh[0, 0, 0, 0]), 3)
        (1.0, 0.5)
        >>> pair.defocus[0, 0, 8, 3:7].tolist()
        [-4.0, -4.0, 0.0, 0.0]
    """

    layers: tuple[Layer, ...]
    size: tuple[int, int]
    focus: float
    strength: float
    subject: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.subject < len(self.layers):
            raise ValueError(f"subject must be one of {len(self.layers)} layers, got {self.subject}")

    def defocus_of(self, layer: Layer) -> tuple[float, float, float]:
        """Signed defocus of a layer's plane, pixels: at pixel (0, 0), and its change per pixel along x and y."""
        across, down = layer.slope
        return self.strength * (layer.disparity - self.focus), self.strength * across, self.strength * down

    def largest_radius(self) -> float:
        """The largest blur radius of any layer within the frame, pixels."""
        height, width = self.size
        frame = (0, 0, width, height)
        return max((_largest_defocus(self.defocus_of(layer), frame) for layer in self.layers), default=0.0)

    def render(self, aperture: str | Aperture = "disk", *, samples: int | None = None) -> SyntheticPair:
        """Photographs the scene.

        Args:
            aperture: Shape of the blur, see :class:`depthbokeh.Aperture`.
            samples: Rays per pixel; by default as many as the blur needs, 96 to 600.

        Returns:
            The pictures and maps, float32.

        Raises:
            ValueError: If ``samples`` is below 1 or a plane slants so much that the lens touches it.
        """
        shape = Aperture.parse(aperture)
        radius = self.largest_radius()
        if samples is None:
            samples = min(max(_FEWEST_SAMPLES, math.ceil(2.5 * radius**2)), _MOST_SAMPLES)
        lens = shape.sample(samples)
        height, width = self.size
        sharp, blurred = torch.zeros(2, 3, height, width)
        centre = torch.zeros(1, 2, dtype=torch.float64)
        planes = [_Plane(layer, self.defocus_of(layer), lens) for layer in self.layers]
        whole = [_Plane(layer, self.defocus_of(layer), centre) for layer in self.layers]
        for top in range(0, height, _BAND_ROWS):
            rows = slice(top, min(top + _BAND_ROWS, height))
            _trace(whole, centre, rows, sharp[:, rows])
            _trace(planes, lens, rows, blurred[:, rows])
        disparity, mask, occlusion = self._see_pinhole()
        defocus = self.strength * (disparity - self.focus)
        return SyntheticPair(sharp[None], blurred[None], disparity, defocus, mask, occlusion)

    def _see_pinhole(self) -> tuple[Tensor, Tensor, Tensor]:
        """Disparity of the frontmost surface, the visible subject and what covers it, (1, 1, H, W) each."""
        height, width = self.size
        y = torch.arange(height, dtype=torch.float64)[:, None].expand(height, width)
        x = torch.arange(width, dtype=torch.float64).expand(height, width)
        disparity = self.layers[0].disparity_at(x, y)
        seen, through = torch.zeros(height, width), torch.ones(height, width)
        for index, layer in enumerate(self.layers):
            alpha = torch.zeros(height, width)
            frame, picture = _overlap(layer, self.size)
            alpha[frame] = layer.alpha[0][picture]
            disparity = torch.where(alpha > 0.5, layer.disparity_at(x, y), disparity)
            if index == self.subject:
                seen, through = alpha, torch.ones(height, width)
            elif index > self.subject:
                through = through * (1 - alpha)
        maps = disparity.float(), seen * through, 1 - through
        return maps[0][None, None], maps[1][None, None], maps[2][None, None]


def _overlap(layer: Layer, size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a layer's picture lies in the frame, and which part of the picture that is."""
    spans = []
    for start, length, full in zip(reversed(layer.origin), layer.alpha.shape[1:], size, strict=True):
        first, last = min(max(start, 0), full), min(max(start + length, 0), full)
        spans.append((slice(first, last), slice(first - start, last - start) if last > first else slice(0, 0)))
    (rows, from_rows), (columns, from_columns) = spans
    return (rows, columns), (from_rows, from_columns)


def _largest_defocus(defocus: tuple[float, float, float], box: tuple[int, int, int, int]) -> float:
    start, across, down = defocus
    left, top, right, bottom = box
    return max(abs(start + across * x + down * y) for x in (left, right - 1) for y in (top, bottom - 1))


class _Plane:
    """A layer made ready for rays: premultiplied, averaged over a ray's share of the lens, a clear rim round it."""

    def __init__(self, layer: Layer, defocus: tuple[float, float, float], lens: Tensor) -> None:
        self.defocus = defocus
        start, across, down = defocus
        self.flat = across == 0 and down == 0
        tilt = 1 + lens @ torch.tensor([across, down], dtype=lens.dtype)
        if float(tilt.min()) <= 0.1:
            steep = math.hypot(across, down)
            raise ValueError(f"slope must let the plane clear the lens: defocus changes by {steep:g} px per px")
        share = _SPREAD * math.sqrt(math.pi / len(lens)) if len(lens) > 1 else 0.0
        height, width = layer.alpha.shape[1:]
        left, top = layer.origin
        reach = _largest_defocus(defocus, (left, top, left + width, top + height))
        rim = math.ceil(share * reach / 2) + 1
        planes = torch.cat([layer.color * layer.alpha, layer.alpha])  # (4, h, w)
        planes = torch.nn.functional.pad(planes, (rim, rim, rim, rim))
        self.left, self.top = left - rim, top - rim
        if share * reach > 1:
            y = torch.arange(planes.shape[1], dtype=torch.float64)[:, None] + self.top
            x = torch.arange(planes.shape[2], dtype=torch.float64) + self.left
            side = share * (start + across * x + down * y).abs()  # (h, w)
            planes = _average(_average(planes, side, 2), side, 1)
        planes[3] = 1 - planes[3]
        self.planes = planes.contiguous()
        self.light, self.through = planes[:3], planes[3:]
        # Rays that end anywhere in the picture start within this distance of it.
        self.reach = reach * float(lens.norm(dim=1).max() / tilt.min()) + 1

    def meet(self, u: tuple[float, float], rows: slice, width: int) -> tuple[slice, slice, Tensor, Tensor] | None:
        """What the rays of a band meet: rows and columns of the frame, light (3, h, w), share let through (1, h, w)."""
        high, wide = self.light.shape[1:]
        if self.flat:
            shift_x, shift_y = (-round(component * self.defocus[0]) for component in u)
            left, top = self.left - shift_x, self.top - shift_y
            x0, x1 = max(0, left), min(width, left + wide)
            y0, y1 = max(rows.start, top), min(rows.stop, top + high)
            if x0 >= x1 or y0 >= y1:
                return None
            part = (slice(None), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
            return slice(y0 - rows.start, y1 - rows.start), slice(x0, x1), self.light[part], self.through[part]
        reach = math.ceil(self.reach)
        x0, x1 = max(0, self.left - reach), min(width, self.left + wide + reach)
        y0, y1 = max(rows.start, self.top - reach), min(rows.stop, self.top + high + reach)
        if x0 >= x1 or y0 >= y1:
            return None
        start, across, down = self.defocus
        x = torch.arange(x0, x1, dtype=torch.float32)
        y = torch.arange(y0, y1, dtype=torch.float32)[:, None]
        scale = 1 / (1 + across * u[0] + down * u[1])
        defocus = scale * (start + across * x) + scale * down * y  # (h, w), or one column where across is 0
        if across == 0:
            defocus = scale * (start + down * y)
        to_x = (x - u[0] * defocus).round_().sub_(self.left).clamp_(0, wide - 1)
        to_y = (y - u[1] * defocus).round_().sub_(self.top).clamp_(0, high - 1)
        index = (to_y.long() * wide + to_x.long()).view(-1)
        met = self.planes.view(4, -1).index_select(1, index).view(4, y1 - y0, x1 - x0)
        return slice(y0 - rows.start, y1 - rows.start), slice(x0, x1), met[:3], met[3:]


def _average(planes: Tensor, side: Tensor, dim: int) -> Tensor:
    """Mean over a stretch of ``side`` pixels (h, w), at least one, round each pixel, along one dimension."""
    length = planes.shape[dim]
    sums = planes.double().cumsum(dim)
    sums = torch.cat([torch.zeros_like(sums.narrow(dim, 0, 1)), sums], dim)
    middle = torch.arange(length, dtype=torch.float64) + 0.5
    middle = middle if dim == 2 else middle[:, None]
    half = side.clamp(min=1) / 2
    ends = []
    for end in (middle - half, middle + half):
        inside = end.clamp(0, length)
        at = inside.long().clamp(max=length - 1)
        index = at.expand_as(planes)
        below, above = sums.gather(dim, index), sums.gather(dim, index + 1)
        ends.append(below + (inside - at) * (above - below))
    return ((ends[1] - ends[0]) / (2 * half)).to(planes.dtype)


def _trace(planes: list[_Plane], lens: Tensor, rows: slice, out: Tensor) -> None:
    """Averages what the rays of a band (3, h, W) see over all points of the lens."""
    canvas = torch.empty(out.shape)
    for u_x, u_y in lens.tolist():
        canvas.zero_()
        for plane in planes:
            met = plane.meet((u_x, u_y), rows, out.shape[2])
            if met is not None:
                down, across, light, through = met
                canvas[:, down, across].mul_(through).add_(light)
        out += canvas
    out /= len(lens)
