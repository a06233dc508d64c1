"""Blurring a picture in layers slice by slice, the nearest first, each covering what is behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import ops
from .aperture import Aperture
from .blur import Backend, scatter_blur
from .layers import DefocusLayers, Span, find_span, iterate_slices, place_slices

# Coverage below this counts as none.
_LEAST = 1e-6


def blur_layers(
    layers: DefocusLayers,
    slices: int | None,
    shape: Aperture,
    *,
    span: Span | None = None,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """What is seen of layers that are blurred one by one, and how much of every pixel they cover.

    Args:
        layers: With colour.
        slices: Sort them into so many depth slices on the way, or ``None`` to take the layers as they are.
        shape: Of the blur.
        span: See :func:`depthbokeh.layers.iterate_slices`.
        backend: See :func:`depthbokeh.scatter_blur`.

    Returns:
        Light ``(B, 3, H, W)`` and coverage ``(B, 1, H, W)``, which may exceed 1. Differentiable in the layers.
    """
    if slices is None:
        return _blur(_each_layer(layers), shape, backend)
    span = find_span(layers.defocus) if span is None else span
    native = backend != "reference" and ops.has_kernels(layers.alpha.device.type)
    if not native:
        return _blur(iterate_slices(layers, slices, span), shape, backend)
    assert layers.color is not None
    origin, scale = place_slices(span, slices)
    inputs = (layers.color, layers.alpha, layers.defocus, origin, scale)
    keep = torch.is_grad_enabled() and any(values.requires_grad for values in inputs)
    light, total = _BlurSlices.apply(*inputs, slices, shape, keep)  # type: ignore[no-untyped-call]
    return light, total


def _each_layer(layers: DefocusLayers) -> Iterator[tuple[Tensor, Tensor]]:
    """Light, which is colour times alpha and alpha, (B, 4, H, W), and defocus."""
    assert layers.color is not None
    for layer in range(len(layers) - 1, -1, -1):
        alpha = layers.alpha[:, layer]
        yield torch.cat([layers.color[:, layer] * alpha, alpha], 1), layers.defocus[:, layer]


def _blur(slices: Iterable[tuple[Tensor, Tensor]], shape: Aperture, backend: Backend) -> tuple[Tensor, Tensor]:
    """The definition."""
    light, total = None, None
    for sources, defocus in slices:
        # Pixels without coverage have nothing to spread: as sharp ones they cost nothing.
        radius = torch.where(sources[:, 3:] > 0, defocus.abs(), 0)
        spread = scatter_blur(sources, radius, shape, backend=backend)
        # The Gaussian, made of levels, falls a little below zero beside what it spreads.
        coverage = spread[:, 3:].clamp(min=0)  # (B, 1, H, W)
        before = torch.zeros_like(coverage) if total is None else total
        total = before + coverage
        seen = (total.clamp(max=1) - before.clamp(max=1)) / coverage.clamp(min=_LEAST)
        light = spread[:, :3] * seen if light is None else torch.addcmul(light, spread[:, :3], seen)
    assert light is not None
    assert total is not None
    return light, total


class _BlurSlices(torch.autograd.Function):
    """The same in few passes: slices are made again for the backward, and their gradients added up in place."""

    @staticmethod
    def forward(
        ctx: Any,
        color: Tensor,
        alpha: Tensor,
        defocus: Tensor,
        origin: Tensor,
        scale: Tensor,
        count: int,
        shape: Aperture,
        keep: bool,
    ) -> tuple[Tensor, Tensor]:
        layers = [values.contiguous() for values in (color, alpha, defocus, origin, scale)]
        light = layers[0].new_zeros(color[:, 0].shape)
        total = layers[1].new_zeros(alpha[:, 0].shape)
        kept = []
        for group in reversed(_group(count, color.device)):
            spread = scatter_blur(*ops.take_slices(layers, group), shape, backend="native")
            after = ops.cover(spread, total, light)
            if keep:
                kept += [spread, total, after]
            total = after[: len(color)]
        ctx.count, ctx.shape = count, shape
        ctx.save_for_backward(color, alpha, defocus, origin, scale, *kept)
        return light, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_light: Tensor, grad_total: Tensor) -> tuple[Tensor | None, ...]:
        inputs, kept = ctx.saved_tensors[:5], ctx.saved_tensors[5:]
        layers = [values.contiguous() for values in inputs]
        grads = [torch.zeros_like(values) for values in layers]
        grad_light, grad_total = grad_light.contiguous(), grad_total.clone(memory_format=torch.contiguous_format)
        groups = _group(ctx.count, grad_light.device)
        for index, group in enumerate(groups):
            at = 3 * (len(groups) - 1 - index)
            spread, before, after = kept[at : at + 3]
            grad_spread = ops.cover_backward(grad_light, spread, before, after, grad_total)
            light, radius = ops.take_slices(layers, group)
            grad_slices = ops.gather_blur_backward(grad_spread, radius, light, ctx.shape)
            ops.take_slices_backward(grad_slices, layers, group, grads)
        return *grads, None, None, None


def _group(count: int, device: torch.device) -> list[range]:
    """The slices that are blurred at once, from the back on.

    One by one they need the least memory. A GPU takes them all together: its host would be busy with starting kernels
    for longer than they run.
    """
    size = count if device.type == "cuda" else 1
    return [range(first, min(first + size, count)) for first in range(0, count, size)]
