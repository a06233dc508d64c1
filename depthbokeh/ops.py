"""The native operators as torch knows them: the only module that names ``torch.ops.depthbokeh``.

The blurs are linear in their image. ``kind`` and ``aperture`` are an :class:`~depthbokeh.aperture.Aperture`'s kind
and rows; ``slope=True`` puts the kernel's derivative to the radius in the place of the kernel.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

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


def take_slices(layers: Sequence[Tensor], slices: range) -> tuple[Tensor, Tensor]:
    """Light (N B, 4, H, W) and blur radius (N B, 1, H, W) of depth slices, one after the other.

    ``layers`` are colour (B, K, 3, H, W), alpha and defocus (B, K, 1, H, W) and the two (B, 1, 1, 1, 1) of
    :func:`depthbokeh.layers.place_slices`. See :func:`depthbokeh.layers.iterate_slices`, which defines it.
    """
    light, radius = torch.ops.depthbokeh.take_slices(*layers, slices.start, len(slices))
    return light, radius


def take_slices_backward(
    grads: Sequence[Tensor], layers: Sequence[Tensor], slices: range, to: Sequence[Tensor]
) -> None:
    """Adds the gradients to ``layers`` to ``to``, of the same shapes."""
    torch.ops.depthbokeh.take_slices_backward(*grads, *layers, slices.start, *to)


def cover(spread: Tensor, before: Tensor, picture: Tensor) -> Tensor:
    """Lays blurred slices (N B, 4, H, W), the last first, behind what covers ``before`` (B, 1, H, W) of every pixel.

    What is seen of them is added to ``picture`` (B, 3, H, W); returns the coverage with each, (N B, 1, H, W).
    """
    after: Tensor = torch.ops.depthbokeh.cover(spread, before, picture)
    return after


def cover_backward(grad_picture: Tensor, spread: Tensor, before: Tensor, after: Tensor, grad_total: Tensor) -> Tensor:
    """The gradient to the slices; ``grad_total``, that of the last coverage, becomes that of ``before``."""
    grad: Tensor = torch.ops.depthbokeh.cover_backward(grad_picture, spread, before, after, grad_total)
    return grad


def sharpen(disparity: Tensor, strength: Tensor, linear: Tensor | None, reach: int) -> Tensor:
    """Soft depth edges made sharp: see :func:`depthbokeh.edges.move_to_sides`, which defines it."""
    sharp: Tensor = torch.ops.depthbokeh.sharpen(disparity, strength, linear, reach)
    return sharp


def separate(
    linear: Tensor, disparity: Tensor, strength: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mixed pixels at depth edges taken apart: see :func:`depthbokeh.edges.find_surfaces`, which defines it."""
    edge, coverage, color, depth = torch.ops.depthbokeh.separate(linear, disparity, strength, mask)
    return edge, coverage, color, depth


def weigh_sides(disparity: Tensor, mask: Tensor, means: Tensor, sure: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """What a subject and the rest may believe: see :func:`depthbokeh.layers.weigh_sides`, which defines it."""
    weight, occluder = torch.ops.depthbokeh.weigh_sides(disparity, mask, means, sure, least)
    return weight, occluder


def lay_surfaces(subject: Tensor, rest: Tensor, mask: Tensor | None, *others: Tensor) -> tuple[Tensor, Tensor]:
    """Both surfaces of every pixel: see :func:`depthbokeh.layers.lay_surfaces`, which defines it."""
    alpha, defocus = torch.ops.depthbokeh.lay_surfaces(subject, rest, mask, *others)
    return alpha, defocus


def dim_lights(color: Tensor, brightest: Tensor) -> Tensor:
    """Lights dimmed to what is common: see :func:`depthbokeh.compositing.dim_lights`, which defines it."""
    dimmed: Tensor = torch.ops.depthbokeh.dim_lights(color, brightest)
    return dimmed


def find_farthest(alpha: Tensor, color: Tensor, defocus: Tensor) -> tuple[Tensor, Tensor]:
    """Of two layers: see :func:`depthbokeh.compositing.find_farthest`, which defines it."""
    mixed, depth = torch.ops.depthbokeh.find_farthest(alpha, color, defocus)
    return mixed, depth


def extend_layers(
    color: Tensor, alpha: Tensor, defocus: Tensor, brightest: Tensor, margin: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Layers gone on beyond the frame: see :func:`depthbokeh.compositing.extend_planes`, which defines it.

    Only CUDA has a kernel.
    """
    color, alpha, defocus = torch.ops.depthbokeh.extend_layers(color, alpha, defocus, brightest, margin)
    return color, alpha, defocus


def enlarge(values: Tensor, factor: int, height: int, width: int) -> Tensor:
    """Bilinear enlargement: see :func:`depthbokeh.enlarging.enlarge`, which defines it.

    Only CUDA has a kernel.
    """
    enlarged: Tensor = torch.ops.depthbokeh.enlarge(values, factor, height, width)
    return enlarged


def srgb_to_linear(x: Tensor) -> Tensor:
    """See :func:`depthbokeh.color.srgb_to_linear`. Only CUDA has a kernel, as for its inverse."""
    linear: Tensor = torch.ops.depthbokeh.srgb_to_linear(x)
    return linear


def linear_to_srgb(x: Tensor) -> Tensor:
    """See :func:`depthbokeh.color.linear_to_srgb`."""
    encoded: Tensor = torch.ops.depthbokeh.linear_to_srgb(x)
    return encoded


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
    torch.library.register_fake("depthbokeh::take_slices", _fake_slices)
    torch.library.register_fake("depthbokeh::take_slices_backward", _fake_slices_backward)
    torch.library.register_fake("depthbokeh::sharpen", _fake_sharp)
    torch.library.register_fake("depthbokeh::sharpen_backward", _fake_sharp_backward)
    torch.library.register_autograd("depthbokeh::sharpen", _sharpen_backward, setup_context=_save_soft)
    for name, operator in _DEFINED.items():
        torch.library.register_fake(f"depthbokeh::{name}", operator.fake)
        torch.library.register_fake(f"depthbokeh::{name}_backward", partial(_fake_gradients, operator.results))
        torch.library.register_autograd(
            f"depthbokeh::{name}", partial(_defined_backward, name), setup_context=_save_all
        )
    torch.library.register_fake("depthbokeh::extend_layers", _fake_extended)
    torch.library.register_fake("depthbokeh::extend_layers_backward", _fake_extended_backward)
    torch.library.register_autograd("depthbokeh::extend_layers", _extend_backward, setup_context=_save_extended)
    torch.library.register_fake("depthbokeh::enlarge", _fake_squares)
    torch.library.register_fake("depthbokeh::enlarge_backward", _fake_squares)
    torch.library.register_autograd("depthbokeh::enlarge", _enlarge_backward, setup_context=_save_squares)
    torch.library.register_autograd("depthbokeh::enlarge_backward", _shrink_backward, setup_context=_save_squares)
    torch.library.register_fake("depthbokeh::cover", _fake_cover)
    torch.library.register_fake("depthbokeh::cover_backward", _fake_cover_backward)


def _fake_blur(image: Tensor, radius: Tensor, aperture: Tensor, kind: int, slope: bool) -> Tensor:
    return image.new_empty(image.shape)


def _fake_backward(image: Tensor, radius: Tensor, weight: Tensor, aperture: Tensor, kind: int) -> tuple[Tensor, Tensor]:
    return image.new_empty(image.shape), radius.new_empty(radius.shape)


def _fake_slices(
    color: Tensor, alpha: Tensor, defocus: Tensor, origin: Tensor, scale: Tensor, first: int, count: int
) -> tuple[Tensor, Tensor]:
    batch, _, _, height, width = color.shape
    return color.new_empty(count * batch, 4, height, width), color.new_empty(count * batch, 1, height, width)


def _fake_slices_backward(*tensors: Any) -> None:
    """Adds to what it is given."""


def _fake_cover(spread: Tensor, before: Tensor, picture: Tensor) -> Tensor:
    return spread.new_empty(spread.shape[0], 1, *spread.shape[2:])


def _fake_cover_backward(
    grad_picture: Tensor, spread: Tensor, before: Tensor, after: Tensor, grad_total: Tensor
) -> Tensor:
    return torch.empty_like(spread)


def _fake_sharp(disparity: Tensor, strength: Tensor, linear: Tensor | None, reach: int) -> Tensor:
    return disparity.new_empty(disparity.shape)


def _fake_sharp_backward(
    grad: Tensor, disparity: Tensor, strength: Tensor, linear: Tensor | None, reach: int
) -> tuple[Tensor, Tensor]:
    return disparity.new_empty(disparity.shape), strength.new_empty(strength.shape)


def _save_soft(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.reach = inputs
    ctx.save_for_backward(*tensors)


def _sharpen_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        from .edges import move_to_sides  # it imports this module

        define = partial(move_to_sides, reach=ctx.reach)
        needs = (*ctx.needs_input_grad[:2], False)  # colour decides, without a derivative
        return *_differentiate(define, ctx.saved_tensors, needs, grad), None
    return *torch.ops.depthbokeh.sharpen_backward(grad, *ctx.saved_tensors, ctx.reach), None, None


def _fake_surfaces(linear: Tensor, disparity: Tensor, strength: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    batch, _, height, width = disparity.shape
    surfaces = (disparity.new_empty(batch, 2, channels, height, width) for channels in (1, 3, 1))
    return disparity.new_empty(disparity.shape), *surfaces


def _fake_sides(disparity: Tensor, mask: Tensor, means: Tensor, sure: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    return means.new_empty(means.shape), disparity.new_empty(disparity.shape)


def _fake_layers(subject: Tensor, rest: Tensor, mask: Tensor | None, *others: Tensor) -> tuple[Tensor, Tensor]:
    coverage = others[1]
    return coverage.new_empty(coverage.shape), coverage.new_empty(coverage.shape)


def _fake_dimmed(color: Tensor, brightest: Tensor) -> Tensor:
    return color.new_empty(color.shape)


def _fake_farthest(alpha: Tensor, color: Tensor, defocus: Tensor) -> tuple[Tensor, Tensor]:
    return color.new_empty(color[:, 0].shape), alpha.new_empty(alpha[:, 0].shape)


def _fake_curve(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


class _Defined(NamedTuple):
    """An operator of tensors alone, whose backward takes the gradients and then its inputs."""

    module: str  # of the package, that has its definition
    definition: str
    fake: Callable[..., Any]
    results: int


_DEFINED = {
    "separate": _Defined("edges", "find_surfaces", _fake_surfaces, 4),
    "weigh_sides": _Defined("layers", "weigh_sides", _fake_sides, 2),
    "lay_surfaces": _Defined("layers", "lay_surfaces", _fake_layers, 2),
    "dim_lights": _Defined("compositing", "dim_lights", _fake_dimmed, 1),
    "find_farthest": _Defined("compositing", "find_farthest", _fake_farthest, 2),
    "srgb_to_linear": _Defined("color", "_define_srgb_to_linear", _fake_curve, 1),
    "linear_to_srgb": _Defined("color", "_define_linear_to_srgb", _fake_curve, 1),
}


def _fake_gradients(results: int, *given: Tensor | None) -> Tensor | tuple[Tensor, ...]:
    """One for every input, empty for one that is missing; ``given`` are the gradients and then the inputs."""
    like = given[0]
    assert like is not None
    made = tuple(like.new_empty(0 if values is None else values.shape) for values in given[results:])
    return made[0] if len(made) == 1 else made


def _save_all(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _defined_backward(name: str, ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    inputs = ctx.saved_tensors
    if torch.is_grad_enabled():
        module = importlib.import_module(f".{_DEFINED[name].module}", __package__)  # it imports this one
        return _differentiate(getattr(module, _DEFINED[name].definition), inputs, ctx.needs_input_grad, *grads)
    found = getattr(torch.ops.depthbokeh, f"{name}_backward")(*grads, *inputs)
    found = (found,) if isinstance(found, Tensor) else found
    return tuple(None if values is None else grad for values, grad in zip(inputs, found, strict=True))


def _fake_extended(color: Tensor, alpha: Tensor, defocus: Tensor, brightest: Tensor, margin: int) -> tuple[Tensor, ...]:
    *_, height, width = color.shape
    larger = height + 2 * margin, width + 2 * margin
    return tuple(values.new_empty(*values.shape[:-2], *larger) for values in (color, alpha, defocus))


def _fake_extended_backward(
    grad_color: Tensor, grad_alpha: Tensor, grad_defocus: Tensor, color: Tensor, brightest: Tensor, margin: int
) -> tuple[Tensor, ...]:
    batch, count, _, height, width = color.shape
    planes = (color.new_empty(batch, count, channels, height, width) for channels in (3, 1, 1))
    return *planes, brightest.new_empty(brightest.shape)


def _save_extended(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    color, alpha, defocus, brightest, ctx.margin = inputs
    ctx.save_for_backward(color, alpha, defocus, brightest)


def _extend_backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    color, alpha, defocus, brightest = ctx.saved_tensors
    if torch.is_grad_enabled():
        from .compositing import extend_planes  # it imports this module

        define = partial(extend_planes, margin=ctx.margin)
        return *_differentiate(define, (color, alpha, defocus, brightest), ctx.needs_input_grad[:4], *grads), None
    return *torch.ops.depthbokeh.extend_layers_backward(*grads, color, brightest, ctx.margin), None


def _fake_squares(values: Tensor, factor: int, height: int, width: int) -> Tensor:
    return values.new_empty(*values.shape[:2], height, width)


def _save_squares(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    values, ctx.factor, *_ = inputs
    ctx.size = values.shape[2:]


def _enlarge_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return torch.ops.depthbokeh.enlarge_backward(grad, ctx.factor, *ctx.size), None, None, None


def _shrink_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return torch.ops.depthbokeh.enlarge(grad, ctx.factor, *ctx.size), None, None, None


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
    define: Callable[..., Tensor | tuple[Tensor, ...]],
    inputs: tuple[Tensor | None, ...],
    needs: tuple[bool, ...],
    *grads: Tensor,
) -> tuple[Tensor | None, ...]:
    """A gradient that is to be differentiated again: the definition's can be."""
    # Of views, as one argument may be made of the other.
    leaves = [None if leaf is None else leaf.view_as(leaf) for leaf in inputs]
    asked = [leaf for leaf, needed in zip(leaves, needs, strict=True) if needed and leaf is not None]
    outputs = define(*leaves)
    pairs = zip((outputs,) if isinstance(outputs, Tensor) else outputs, grads, strict=True)
    outputs, grads = zip(*(pair for pair in pairs if pair[0].requires_grad), strict=True)
    found = iter(torch.autograd.grad(outputs, asked, grads, create_graph=True))
    return tuple(next(found) if needed else None for needed in needs)


def _refuse_second_slope(asked: bool) -> None:
    if asked:
        raise NotImplementedError("the blur is differentiable once in the radius, not twice")
