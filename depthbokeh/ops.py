"""The native operators as torch knows them: the only module that names ``torch.ops.depthbokeh``.

Every operator is linear in its image. ``kind`` and ``aperture`` are an :class:`~depthbokeh.aperture.Aperture`'s kind
and rows; ``slope=True`` puts the kernel's derivative to the radius in the place of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from . import _native, pyramid
from .aperture import Aperture

LIBRARY = "depthbokeh"

_registered = False


def load_operators(*, may_compile: bool = True) -> bool:
    """Loads the native library if need be and tells whether its operators can be called."""
    global _registered
    if not _registered and _native.load(may_compile=may_compile).loaded:
        register(LIBRARY)
        _register_layers()
        _registered = True
    return _registered


def has_kernels(device: str) -> bool:
    """Whether the native library, loaded if need be, has kernels for a type of device, ``"cpu"`` or ``"cuda"``."""
    key = {"cpu": "CPU", "cuda": "CUDA"}.get(device)
    if key is None or not load_operators():
        return False
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(f"{LIBRARY}::scatter_blur", key))


def takes(first: Tensor, *others: Tensor) -> bool:
    """Whether there are kernels for such tensors: float32 or float64, all alike, on a device that has them."""
    same = all(values.dtype == first.dtype for values in others)
    return same and first.dtype in (torch.float32, torch.float64) and has_kernels(first.device.type)


# torch.compile then runs them while it traces and takes the answer for granted.
load_operators._dynamo_marked_constant = True  # type: ignore[attr-defined]
has_kernels._dynamo_marked_constant = True  # type: ignore[attr-defined]


def scatter_blur(image: Tensor, radius: Tensor, aperture: Aperture, library: str = LIBRARY) -> Tensor:
    """Spreads every pixel of ``image`` (B, C, H, W) over its own disk; ``radius`` (B, 1, H, W)."""
    operators = getattr(torch.ops, library)
    blurred: Tensor = operators.scatter_blur(image, radius, aperture.rows, int(aperture.kind), False)
    return blurred


def gather_blur(image: Tensor, radius: Tensor, aperture: Aperture, library: str = LIBRARY) -> Tensor:
    """Averages ``image`` (B, C, H, W) over every pixel's own disk; ``radius`` (B, 1, H, W)."""
    operators = getattr(torch.ops, library)
    blurred: Tensor = operators.gather_blur(image, radius, aperture.rows, int(aperture.kind), False)
    return blurred


def gather_blur_backward(image: Tensor, radius: Tensor, weight: Tensor, aperture: Aperture) -> tuple[Tensor, Tensor]:
    """``gather_blur`` and, summed over channels with ``weight`` (B, C, H, W), its derivative to the radius."""
    blurred, slope = torch.ops.depthbokeh.gather_blur_backward(image, radius, weight, aperture.rows, int(aperture.kind))
    return blurred, slope


def take_slice(layers: Sequence[Tensor], index: int) -> tuple[Tensor, Tensor]:
    """Light (B, 4, H, W) and blur radius (B, 1, H, W) of a depth slice.

    ``layers`` are colour (B, K, 3, H, W), alpha and defocus (B, K, 1, H, W) and the two (B, 1, 1, 1, 1) of
    :func:`depthbokeh.layers.place_slices`. See :func:`depthbokeh.layers.iterate_slices`, which defines it.
    """
    light, radius = torch.ops.depthbokeh.take_slice(*layers, index)
    return light, radius


def take_slice_backward(grads: Sequence[Tensor], layers: Sequence[Tensor], index: int, to: Sequence[Tensor]) -> None:
    """Adds the gradients to ``layers`` to ``to``, of the same shapes."""
    torch.ops.depthbokeh.take_slice_backward(*grads, *layers, index, *to)


def cover(spread: Tensor, before: Tensor, picture: Tensor) -> Tensor:
    """Lays a blurred slice (B, 4, H, W) behind what covers ``before`` (B, 1, H, W) of every pixel.

    What is seen of it is added to ``picture`` (B, 3, H, W); returns the coverage with it.
    """
    after: Tensor = torch.ops.depthbokeh.cover(spread, before, picture)
    return after


def cover_backward(grad_picture: Tensor, spread: Tensor, before: Tensor, after: Tensor, grad_total: Tensor) -> Tensor:
    """The gradient to the slice; ``grad_total``, that of ``after``, becomes that of ``before``."""
    grad: Tensor = torch.ops.depthbokeh.cover_backward(grad_picture, spread, before, after, grad_total)
    return grad


def side_means(
    color: Tensor, disparity: Tensor, edge: Tensor, mask: Tensor | None, at: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """What is on both sides of depth edges: see :func:`depthbokeh.edges.find_sides`, which defines it."""
    means: Tensor = torch.ops.depthbokeh.side_means(color, disparity, edge, mask, at, low, high)
    return means


def unmix(sides: Tensor, low: Tensor, high: Tensor, weight: Tensor, *, masked: bool) -> Tensor:
    """What mixed pixels are made of: see :func:`depthbokeh.edges.unmix`, which defines it."""
    surfaces: Tensor = torch.ops.depthbokeh.unmix(sides, low, high, weight, masked)
    return surfaces


def push_pull(values: Tensor, weight: Tensor, library: str = LIBRARY) -> Tensor:
    """Fills in what is not known: see :func:`depthbokeh.pyramid.push_pull`, which defines it."""
    filled: Tensor = getattr(torch.ops, library).push_pull(values, weight)
    return filled


def fill_behind(values: Tensor, defocus: Tensor, reach: int, library: str = LIBRARY) -> Tensor:
    """Carries surfaces on beneath what is nearer: see :func:`depthbokeh.pyramid.fill_behind`, which defines it.

    Only CUDA has a kernel, for float32 and float64.
    """
    lowest = pyramid.find_lowest(defocus)
    filled: Tensor = getattr(torch.ops, library).fill_behind(values, defocus, lowest, reach)
    return filled


def local_extremes(values: Tensor, reach: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`depthbokeh.windows.local_extremes`."""
    highest, lowest, higher, lower = torch.ops.depthbokeh.local_extremes(values, reach)
    return highest, lowest, higher, lower


def find_max(values: Tensor, reach: int, at: Tensor) -> Tensor:
    """See :func:`depthbokeh.windows.find_max`."""
    found: Tensor = torch.ops.depthbokeh.find_max(values, reach, at)
    return found


def build_info() -> str:
    """The fingerprint of the sources that the loaded library was compiled from."""
    return str(torch.ops.depthbokeh.build_info())


def register(library: str) -> None:
    """Tells torch the shapes and derivatives of a library's operators."""
    backward = _Backward(getattr(torch.ops, library))
    for name in ("scatter_blur", "gather_blur"):
        torch.library.register_fake(f"{library}::{name}", _fake_blur)
    torch.library.register_fake(f"{library}::gather_blur_backward", _fake_backward)
    torch.library.register_autograd(f"{library}::scatter_blur", backward.of_scatter, setup_context=_save_blur)
    torch.library.register_autograd(f"{library}::gather_blur", backward.of_gather, setup_context=_save_blur)
    torch.library.register_autograd(
        f"{library}::gather_blur_backward", backward.of_backward, setup_context=_save_backward
    )
    torch.library.register_fake(f"{library}::push_pull", _fake_fill)
    torch.library.register_fake(f"{library}::push_pull_backward", _fake_fill_backward)
    torch.library.register_autograd(f"{library}::push_pull", backward.of_fill, setup_context=_save_fill)
    torch.library.register_fake(f"{library}::fill_behind", _fake_behind)
    torch.library.register_fake(f"{library}::fill_behind_backward", _fake_behind_backward)
    torch.library.register_autograd(f"{library}::fill_behind", backward.of_behind, setup_context=_save_behind)


def _register_layers() -> None:
    """The same for the layers' operators of the native library."""
    torch.library.register_fake("depthbokeh::take_slice", _fake_slice)
    torch.library.register_fake("depthbokeh::take_slice_backward", _fake_slice_backward)
    torch.library.register_fake("depthbokeh::side_means", _fake_means)
    torch.library.register_fake("depthbokeh::side_means_backward", _fake_means_backward)
    torch.library.register_autograd("depthbokeh::side_means", _means_backward, setup_context=_save_means)
    torch.library.register_fake("depthbokeh::unmix", _fake_surfaces)
    torch.library.register_fake("depthbokeh::unmix_backward", _fake_surfaces_backward)
    torch.library.register_autograd("depthbokeh::unmix", _unmix_backward, setup_context=_save_mixtures)
    torch.library.register_fake("depthbokeh::local_extremes", _fake_extremes)
    torch.library.register_fake("depthbokeh::find_max", _fake_places)
    torch.library.register_fake("depthbokeh::cover", _fake_cover)
    torch.library.register_fake("depthbokeh::cover_backward", _fake_cover_backward)


def _fake_blur(image: Tensor, radius: Tensor, aperture: Tensor, kind: int, slope: bool) -> Tensor:
    return image.new_empty(image.shape)


def _fake_backward(image: Tensor, radius: Tensor, weight: Tensor, aperture: Tensor, kind: int) -> tuple[Tensor, Tensor]:
    return image.new_empty(image.shape), radius.new_empty(radius.shape)


def _fake_slice(
    color: Tensor, alpha: Tensor, defocus: Tensor, origin: Tensor, scale: Tensor, index: int
) -> tuple[Tensor, Tensor]:
    batch, _, _, height, width = color.shape
    return color.new_empty(batch, 4, height, width), color.new_empty(batch, 1, height, width)


def _fake_slice_backward(*tensors: Any) -> None:
    """Adds to what it is given."""


def _fake_cover(spread: Tensor, before: Tensor, picture: Tensor) -> Tensor:
    return torch.empty_like(before)


def _fake_cover_backward(
    grad_picture: Tensor, spread: Tensor, before: Tensor, after: Tensor, grad_total: Tensor
) -> Tensor:
    return torch.empty_like(spread)


def _fake_means(color: Tensor, disparity: Tensor, edge: Tensor, mask: Any, at: Tensor, *_: Tensor) -> Tensor:
    return color.new_empty(at.shape[0], 3, 5)


def _fake_means_backward(
    grad: Tensor, color: Tensor, disparity: Tensor, edge: Tensor, mask: Any, at: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(values) for values in (color, disparity, edge, disparity, low, high))


def _save_means(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _means_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        from .edges import find_sides  # it imports this module

        return _differentiate(find_sides, ctx.saved_tensors, ctx.needs_input_grad, grad)
    color, disparity, edge, mask, low, high = torch.ops.depthbokeh.side_means_backward(grad, *ctx.saved_tensors)
    return color, disparity, edge, mask if ctx.saved_tensors[3] is not None else None, None, low, high


def _fake_surfaces(sides: Tensor, low: Tensor, high: Tensor, weight: Tensor, masked: bool) -> Tensor:
    return sides.new_empty(sides.shape[0], 10)


def _fake_surfaces_backward(
    grad: Tensor, sides: Tensor, low: Tensor, high: Tensor, weight: Tensor, masked: bool
) -> tuple[Tensor, ...]:
    return tuple(values.new_empty(values.shape) for values in (sides, low, high, weight))


def _save_mixtures(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.masked = inputs
    ctx.save_for_backward(*tensors)


def _unmix_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        from .edges import unmix  # it imports this module

        define = partial(unmix, masked=ctx.masked)
        return *_differentiate(define, ctx.saved_tensors, ctx.needs_input_grad[:4], grad), None
    return *torch.ops.depthbokeh.unmix_backward(grad, *ctx.saved_tensors, ctx.masked), None


def _fake_extremes(values: Tensor, reach: int) -> tuple[Tensor, ...]:
    return tuple(values.new_empty(values.shape) for _ in range(4))


def _fake_places(values: Tensor, reach: int, at: Tensor) -> Tensor:
    return at.new_empty(at.shape)


def _fake_fill(values: Tensor, weight: Tensor) -> Tensor:
    return values.new_empty(values.shape)


def _fake_fill_backward(grad: Tensor, values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return values.new_empty(values.shape), weight.new_empty(weight.shape)


def _save_fill(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _fake_behind(values: Tensor, defocus: Tensor, lowest: Tensor, reach: int) -> Tensor:
    batch, channels, height, width = values.shape
    return values.new_empty(batch, channels + 1, height, width)


def _fake_behind_backward(
    grad: Tensor, values: Tensor, defocus: Tensor, lowest: Tensor, reach: int
) -> tuple[Tensor, Tensor]:
    return values.new_empty(values.shape), defocus.new_empty(defocus.shape)


def _save_behind(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    values, defocus, lowest, ctx.reach = inputs
    ctx.save_for_backward(values, defocus, lowest)


def _save_blur(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, radius, aperture, ctx.kind, ctx.slope = inputs
    # The image is needed for the radius alone.
    ctx.save_for_backward(image if ctx.needs_input_grad[1] else None, radius, aperture)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    image, radius, weight, aperture, ctx.kind = inputs
    ctx.save_for_backward(image, radius, weight, aperture)
    ctx.set_materialize_grads(False)


class _Backward:
    """The operators' derivatives, made of the operators themselves."""

    def __init__(self, operators: Any) -> None:
        self.operators = operators

    def of_scatter(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        image, radius, aperture = ctx.saved_tensors
        grad_image = grad_radius = None
        if ctx.needs_input_grad[1]:
            _refuse_second_slope(ctx.slope)
            grad_image, grad_radius = self.operators.gather_blur_backward(grad, radius, image, aperture, ctx.kind)
        elif ctx.needs_input_grad[0]:
            grad_image = self.operators.gather_blur(grad, radius, aperture, ctx.kind, ctx.slope)
        return grad_image, grad_radius, None, None, None

    def of_gather(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        image, radius, aperture = ctx.saved_tensors
        grad_image = grad_radius = None
        if ctx.needs_input_grad[0]:
            grad_image = self.operators.scatter_blur(grad, radius, aperture, ctx.kind, ctx.slope)
        if ctx.needs_input_grad[1]:
            _refuse_second_slope(ctx.slope)
            _, grad_radius = self.operators.gather_blur_backward(image, radius, grad, aperture, ctx.kind)
        return grad_image, grad_radius, None, None, None

    def of_backward(self, ctx: Any, grad_blur: Tensor | None, grad_slope: Tensor | None) -> tuple[Tensor | None, ...]:
        image, radius, weight, aperture = ctx.saved_tensors
        ops = self.operators
        grad_image = grad_radius = grad_weight = None
        if grad_slope is not None:
            _refuse_second_slope(ctx.needs_input_grad[1])
            if ctx.needs_input_grad[0]:
                grad_image = ops.scatter_blur(weight * grad_slope, radius, aperture, ctx.kind, True)
            if ctx.needs_input_grad[2]:
                grad_weight = ops.gather_blur(image, radius, aperture, ctx.kind, True) * grad_slope
        if grad_blur is not None:
            if ctx.needs_input_grad[0]:
                spread = ops.scatter_blur(grad_blur, radius, aperture, ctx.kind, False)
                grad_image = spread if grad_image is None else grad_image + spread
            if ctx.needs_input_grad[1]:
                _, grad_radius = ops.gather_blur_backward(image, radius, grad_blur, aperture, ctx.kind)
        return grad_image, grad_radius, grad_weight, None, None

    def of_fill(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return tuple(self.operators.push_pull_backward(grad, values, weight))
        return _differentiate(pyramid.push_pull, (values, weight), ctx.needs_input_grad, grad)

    def of_behind(self, ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values, defocus, lowest = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return (*self.operators.fill_behind_backward(grad, values, defocus, lowest, ctx.reach), None, None)
        define = partial(pyramid.fill_behind, reach=ctx.reach)
        return (*_differentiate(define, (values, defocus), ctx.needs_input_grad[:2], grad), None, None)


def _differentiate(
    define: Callable[..., Tensor], inputs: tuple[Tensor | None, ...], needs: tuple[bool, ...], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """A gradient that is to be differentiated again: the definition's can be."""
    # Of views, as one argument may be made of the other.
    leaves = [None if leaf is None else leaf.view_as(leaf) for leaf in inputs]
    asked = [leaf for leaf, needed in zip(leaves, needs, strict=True) if needed and leaf is not None]
    found = iter(torch.autograd.grad(define(*leaves), asked, grad, create_graph=True))
    return tuple(next(found) if needed else None for needed in needs)


def _refuse_second_slope(asked: bool) -> None:
    if asked:
        raise NotImplementedError("the blur is differentiable once in the radius, not twice")
