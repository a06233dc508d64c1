"""The blur operators in pure PyTorch: their definition, and what runs where there is no native kernel.

Every row of a disk is a stretch of pixels whose two ends lie between pixels. A source adds its light at the left end
and takes it away at the right end of each of its rows, and a running sum along x turns ends into stretches: O(r) for
a disk of radius r, not O(r^2). Wadhwa et al. (2018) blur with such differences on whole pixels; here the ends carry
exact areas, which makes the result smooth in the radius.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from . import gaussian
from .aperture import Aperture, ApertureKind


def scatter_blur(image: Tensor, radius: Tensor, aperture: Aperture, max_radius: float | None = None) -> Tensor:
    """Spreads every pixel of ``image`` (B, C, H, W) over its own disk; see :func:`depthbokeh.scatter_blur`."""
    return _run(image, radius, aperture, max_radius, adjoint=False)


def gather_blur(image: Tensor, radius: Tensor, aperture: Aperture, max_radius: float | None = None) -> Tensor:
    """Averages ``image`` (B, C, H, W) over every pixel's own disk; see :func:`depthbokeh.gather_blur`."""
    return _run(image, radius, aperture, max_radius, adjoint=True)


def _run(image: Tensor, radius: Tensor, aperture: Aperture, max_radius: float | None, adjoint: bool) -> Tensor:
    if not image.numel():
        return (image + 0 * radius).to(image.dtype)
    if not torch.compiler.is_compiling() and not radius.isfinite().all():
        raise ValueError("radius must be finite")
    if max_radius is None:
        max_radius = float(radius.detach().max())
    blurred: Tensor = _Blur.apply(image, radius, aperture, max_radius, adjoint, False)  # type: ignore[no-untyped-call]
    return blurred


class _Blur(torch.autograd.Function):
    """y = K(r) x, its adjoint, or either with dK/dr in the place of K. Linear in x, so backward is made of the same."""

    @staticmethod
    def forward(
        image: Tensor, radius: Tensor, aperture: Aperture, max_radius: float, adjoint: bool, slope: bool
    ) -> Tensor:
        work = torch.float32 if image.dtype in (torch.float16, torch.bfloat16) else image.dtype
        x, r = image.to(work), radius.to(work)
        if aperture.kind is ApertureKind.GAUSSIAN:
            y = (gaussian.gather if adjoint else gaussian.scatter)(x, r, max_radius, slope)
        else:
            y = (_gather if adjoint else _scatter)(x, r, aperture, max_radius, slope)
        return y.to(image.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        image, radius, *ctx.settings = inputs
        ctx.save_for_backward(image, radius)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        image, radius = ctx.saved_tensors
        aperture, max_radius, adjoint, slope = ctx.settings
        grad_image = grad_radius = None
        if ctx.needs_input_grad[0]:
            grad_image = _Blur.apply(grad, radius, aperture, max_radius, not adjoint, slope)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            if slope:
                raise NotImplementedError("the blur is differentiable once in the radius, not twice")
            source, weight = (image, grad) if adjoint else (grad, image)
            moved = _Blur.apply(source, radius, aperture, max_radius, True, True)  # type: ignore[no-untyped-call]
            grad_radius = (moved * weight).sum(1, keepdim=True).to(radius.dtype)
        return grad_image, grad_radius, None, None, None, None


def _scatter(image: Tensor, radius: Tensor, aperture: Aperture, max_radius: float, slope: bool) -> Tensor:
    batch, channels, height, width = image.shape
    # Ends are summed in double: what a bright source adds and takes away must cancel.
    summed = torch.float64 if image.device.type != "mps" else image.dtype
    starts = torch.zeros(batch, channels, height, width + 1, dtype=summed, device=image.device)
    shares = torch.zeros_like(starts)
    blurred_radius = _blurred_radius(radius, aperture)
    for dy, sign, ends in _rows(radius, aperture, max_radius, slope):
        source = slice(max(0, -dy), min(height, height - dy))
        target = slice(max(0, dy), min(height, height + dy))
        light = (image * _density(radius, aperture)).to(summed)[:, :, source] * sign  # (B, C, h, W)
        weight = light * (-2 / blurred_radius[:, :, source]) if slope else light
        for side, (at, part, moved) in zip((1, -1), ends, strict=True):
            at = at[:, :, source].expand_as(light)
            starts[:, :, target].scatter_add_(3, at, side * weight)
            share = weight * part[:, :, source] + (light * moved[:, :, source] if slope else 0)
            shares[:, :, target].scatter_add_(3, at, side * share)
    blurred = (starts.cumsum(3) - shares)[..., :width].to(image.dtype)
    return blurred if slope else blurred + image * _sharp(radius, aperture)


def _gather(image: Tensor, radius: Tensor, aperture: Aperture, max_radius: float, slope: bool) -> Tensor:
    height = image.shape[2]
    summed = torch.float64 if image.device.type != "mps" else image.dtype
    sums = torch.nn.functional.pad(image.to(summed).cumsum(3), (1, 1))
    sums[..., -1] = sums[..., -2]  # (B, C, H, W + 2): light left of each pixel
    density, blurred_radius = _density(radius, aperture), _blurred_radius(radius, aperture)
    blurred = torch.zeros_like(image, dtype=summed)
    for dy, sign, ends in _rows(radius, aperture, max_radius, slope):
        source = slice(max(0, dy), min(height, height + dy))
        target = slice(max(0, -dy), min(height, height - dy))
        for side, (at, part, moved) in zip((-1, 1), ends, strict=True):
            at = at[:, :, target].expand(-1, image.shape[1], -1, -1)
            below, above = sums[:, :, source].gather(3, at), sums[:, :, source].gather(3, at + 1)
            light = below + part[:, :, target] * (above - below)
            if slope:
                light = moved[:, :, target] * (above - below) - light * (2 / blurred_radius[:, :, target])
            blurred[:, :, target] += side * sign * density[:, :, target] * light
    blurred = blurred.to(image.dtype)
    return blurred if slope else blurred + image * _sharp(radius, aperture)


def _sharp(radius: Tensor, aperture: Aperture) -> Tensor:
    """Where the whole shape lies within its pixel, which thus stays as it is."""
    return (radius * aperture.extent <= 0.5).to(radius.dtype)


def _blurred_radius(radius: Tensor, aperture: Aperture) -> Tensor:
    """The radius where it blurs anything, else the largest that does not."""
    return radius.clamp(min=0.5 / aperture.extent)


def _density(radius: Tensor, aperture: Aperture) -> Tensor:
    """Light per area of a blurred pixel."""
    blurred_radius = _blurred_radius(radius, aperture)
    return torch.where(radius * aperture.extent <= 0.5, 0, 1 / (math.pi * blurred_radius**2))


_End = tuple[Tensor, Tensor, Tensor]


def _rows(
    radius: Tensor, aperture: Aperture, max_radius: float, slope: bool
) -> Iterator[tuple[int, float, tuple[_End, _End]]]:
    """Yields the rows of the shape: offset dy, sign, and the left and the right end at every pixel.

    An end is the pixel it falls into, the share of that pixel left of it, and its derivative to the radius,
    all (B, 1, H, W). Ends beyond the frame are moved to its edge.
    """
    height, width = radius.shape[2:]
    r = _blurred_radius(radius, aperture)
    x = torch.arange(width, device=radius.device, dtype=radius.dtype)
    reach = min(height - 1, math.ceil(aperture.reach * max_radius + 0.5))
    parts = aperture.rows.tolist() if aperture.kind is ApertureKind.ELLIPSES else [None]
    for part in parts:
        for dy in range(-reach, reach + 1):
            ends = _ellipse_row(r, part, dy, slope) if part else _table_row(r, aperture.rows, dy)
            placed = []
            for end, moved in ends:
                inside = (x + 0.5 + end).clamp(0, width)
                at = inside.floor()
                moved = torch.where(inside == x + 0.5 + end, moved, 0)
                placed.append((at.long(), inside - at, moved))
            yield dy, part[0] if part else 1.0, (placed[0], placed[1])


def _ellipse_row(radius: Tensor, part: list[float], dy: int, slope: bool) -> tuple[tuple[Tensor, Tensor], ...]:
    """Mean ends of row dy of an ellipse, and their derivatives.

    The unit circle's half-width sqrt(1 - s^2) has the integral (s sqrt(1 - s^2) + asin s) / 2; over the row, times
    the squared radius, that is the row's mean half-width. A cut takes a constant from it where anything is left.
    """
    _, height, width, shear, cut, *_ = part
    r = radius * height
    top = math.sqrt(1 - cut**2)
    low, high = (((dy + side) / r).clamp(-top, top) for side in (-0.5, 0.5))
    enclosed = [s * ((1 - s**2).clamp(min=0).sqrt() / 2 - cut) + torch.asin(s) / 2 for s in (low, high)]
    half = width * r**2 * (enclosed[1] - enclosed[0])
    # 2 (area) - s (edge at s): the derivative of r^2 area(s / r) over r.
    angles = [torch.asin(s) - cut * s for s in (low, high)]
    moved = width * height * r * (angles[1] - angles[0]) if slope else r
    return (shear * dy - half, -moved), (shear * dy + half, moved)


def _table_row(radius: Tensor, rows: Tensor, dy: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Mean ends of row dy of a tabulated shape, and their derivatives."""
    bottom, top, shear, offset, *_ = rows[0].tolist()
    cells = rows[1:].to(radius)  # (N, 8)
    starts = cells[1:, 6].contiguous()
    areas, moments = [], []
    for side in (-0.5, 0.5):
        y = (dy + side) / radius
        inside = y.clamp(bottom, top)
        at = torch.bucketize(inside, starts)
        area, edge, bend, start = cells[at].view(*at.shape, 4, 2).unbind(-2)  # left and right: (B, 1, H, W, 2)
        t = inside[..., None] - start[..., :1]
        areas.append(area + t * (edge + t * bend))
        height = torch.where(y == inside, y, 0)[..., None]
        moments.append(height * (edge + 2 * t * bend))
    ends = radius[..., None] ** 2 * (areas[1] - areas[0])
    moved = offset + 2 * ends / radius[..., None] - radius[..., None] * (moments[1] - moments[0])
    ends = ends + offset * radius[..., None] + shear * dy
    return (ends[..., 0], moved[..., 0]), (ends[..., 1], moved[..., 1])
