"""From mask and disparity to layers of signed defocus: where the picture is in focus, and how far off the rest is."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import ops
from .color import Gamma, decode
from .edges import separate, sharpen
from .fill import enlarge, push_pull
from .optics import signed_defocus
from .steps import smoothstep

Focus = float | Tensor | tuple[float, float] | tuple[float, float, float, float] | None


def find_focus(
    disparity: Tensor, mask: Tensor | None = None, image: Tensor | None = None, focus: Focus = None
) -> Tensor:
    """The disparity that is in focus.

    Args:
        disparity: ``(B, 1, H, W)``, larger is nearer.
        mask: ``(B, 1, H, W)``, 0..1, the subject.
        image: ``(B, 3, H, W)``, sRGB 0..1, used when neither ``focus`` nor ``mask`` says where to look.
        focus: A disparity (float, or a tensor that broadcasts to ``(B, 1, 1, 1)``), a mask ``(B, 1, H, W)`` of what
            to focus on, a point ``(x, y)`` or a box ``(x, y, width, height)`` in pixels, or ``None``: where most of
            the mask is, or else what is near, sharp and about the middle of the image, or its centre.

    Returns:
        ``(B, 1, 1, 1)``. Differentiable in disparity and mask.

    Raises:
        ValueError: If the point lies outside the picture.

    Example:
        >>> disparity = torch.tensor([[[[0.2, 0.8]]]])
        >>> float(find_focus(disparity, focus=(1, 0)))
        0.800000011920929
        >>> round(float(find_focus(disparity, mask=torch.tensor([[[[1.0, 0.0]]]]))), 3)
        0.2
    """
    batch, _, height, width = disparity.shape
    if isinstance(focus, tuple):
        left, top, right, bottom = _window(focus, width, height)
        # The median: one wrong pixel, or what shows beside the subject, must not decide.
        return disparity[:, :, top:bottom, left:right].flatten(1).median(1).values.view(batch, 1, 1, 1)
    if isinstance(focus, Tensor) and focus.shape == disparity.shape and focus[0].numel() > 1:
        return _find_mode(disparity, focus)
    if focus is not None:
        return _as_numbers("focus", focus, disparity)
    if mask is not None:
        return _find_mode(disparity, mask)
    if image is not None:
        return _near_and_sharp(disparity, image)
    return disparity[:, :, height // 2, width // 2].view(batch, 1, 1, 1)


def _window(focus: tuple[float, ...], width: int, height: int) -> tuple[int, int, int, int]:
    """The pixels of a box, or those around a point: left, top, right, bottom."""
    if len(focus) == 2:
        x, y = focus
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"focus must lie within the picture of {width} x {height} pixels, got ({x:g}, {y:g})")
        half = max(height, width) // 200
        return max(0, int(x) - half), max(0, int(y) - half), int(x) + half + 1, int(y) + half + 1
    if len(focus) != 4:
        raise ValueError(f"focus must be (x, y) or (x, y, width, height), got {focus}")
    x, y, wide, high = focus
    left, top, right, bottom = max(0, int(x)), max(0, int(y)), min(width, int(x + wide)), min(height, int(y + high))
    if right <= left or bottom <= top:
        raise ValueError(f"focus must be a box within the picture of {width} x {height} pixels, got {focus}")
    return left, top, right, bottom


def _find_mode(disparity: Tensor, weight: Tensor) -> Tensor:
    """The disparity about which most of the weight lies.

    The mean would lie between a trunk and the leaves behind it that a mask takes along, where nothing is. The mode is
    that of a density estimate, a Gaussian of half the standard deviation for every pixel.
    """
    dtype = disparity.dtype
    disparity, weight = (values.to(torch.promote_types(values.dtype, torch.float32)) for values in (disparity, weight))
    # The least weight keeps an empty mask from dividing by zero; it then focuses on most of the picture.
    weight = weight.clamp(min=0) + 1e-6
    total = weight.sum((2, 3), keepdim=True)
    mean = (weight * disparity).sum((2, 3), keepdim=True) / total
    variance = (weight * (disparity - mean).square()).sum((2, 3), keepdim=True) / total
    width = (variance + 1e-8 * mean.detach().square() + 1e-12).sqrt() / 2  # never 0, in float32 either
    with torch.no_grad():
        # Of 16 000 squares, or fewer, the heaviest pixels tell about where it is, all pixels where just.
        step = 1
        while disparity.shape[2] * disparity.shape[3] > 16_384 * step * step:
            step *= 2
        _, heaviest = F.max_pool2d(weight, step, ceil_mode=True, return_indices=True)
        some = disparity.flatten(2).gather(2, heaviest.flatten(2)).view(heaviest.shape)
        counts = F.avg_pool2d(weight, step, ceil_mode=True)
        tried = mean + width * torch.linspace(-4, 4, 33, dtype=mean.dtype, device=mean.device)  # (B, 1, 1, 33)
        offset = (some.flatten(1)[:, :, None] - tried[:, 0]) / width[:, 0]  # (B, n, 33)
        density = (counts.flatten(1)[:, :, None] * torch.exp(-offset.square() / 2)).sum(1)  # (B, 33)
        mode = tried.flatten(1).gather(1, density.argmax(1, keepdim=True)).view(-1, 1, 1, 1)
        for _ in range(2):
            mode = _climb(mode, some, counts, width)
    # At the mode a step of Newton's is of length 0, and its derivative that of the mode.
    return _climb(mode, disparity, weight, width).to(dtype)


def _climb(place: Tensor, values: Tensor, weight: Tensor, width: Tensor) -> Tensor:
    """One step of Newton's method to where the density is highest."""
    offset = (values - place) / width
    weight = weight * torch.exp(-offset.square() / 2)
    slope = (weight * offset).sum((2, 3), keepdim=True)
    bend = (weight * (1 - offset.square())).sum((2, 3), keepdim=True)
    least = (0.05 * weight.detach().sum((2, 3), keepdim=True)).clamp(min=torch.finfo(weight.dtype).tiny)
    return place + width * slope / torch.maximum(bend, least)


def _near_and_sharp(disparity: Tensor, image: Tensor) -> Tensor:
    """The 90 % quantile of disparity; a pixel counts by how near the middle it is and whether it shows detail."""
    height, width = disparity.shape[2:]
    # A grid of some 100 000 cells says as much as all pixels; detail is still that between neighbours.
    step = max(1, math.isqrt(height * width // 100_000))
    grey = image.detach().mean(1, keepdim=True)
    detail = F.pad((grey[:, :, 1:] - grey[:, :, :-1]).abs(), (0, 0, 0, 1))
    detail = detail + F.pad((grey[..., 1:] - grey[..., :-1]).abs(), (0, 1))
    detail = F.avg_pool2d(F.max_pool2d(detail, step, ceil_mode=True), 9, 1, 4)
    # More of it than common counts for no more: a background may have the strongest texture.
    detail = detail / (detail + detail.flatten(1).median(1).values.view(-1, 1, 1, 1) + 1e-6)
    rows, columns = (torch.linspace(-1, 1, n, dtype=grey.dtype, device=grey.device) for n in detail.shape[2:])
    middle = torch.exp(-8 * (rows.square()[:, None] + columns.square()))  # sigma: an eighth of either side
    weight = ((detail + 1e-6) * middle).flatten(1)  # (B, h * w)
    values = disparity[..., ::step, ::step].flatten(1)
    order = values.argsort(1)
    shares = weight.gather(1, order).cumsum(1)
    chosen = (shares < 0.9 * shares[:, -1:]).sum(1, keepdim=True).clamp(max=order.shape[1] - 1)
    return values.gather(1, order.gather(1, chosen)).view(-1, 1, 1, 1)


def fuse_defocus(
    disparity: Tensor | None,
    mask: Tensor | None = None,
    *,
    strength: float | Tensor,
    focus: Focus = None,
    image: Tensor | None = None,
    slab: float | Tensor = 0.0,
) -> Tensor:
    """Signed defocus from disparity, mask or both.

    With both, the subject takes one disparity, that of most of it: its edge is the mask's and not the coarse
    disparity's. With the mask alone there are two planes, the subject at disparity 1 and the rest at 0.

    Args:
        disparity: ``(B, 1, H, W)``, larger is nearer; ``None`` if there is a mask.
        mask: ``(B, 1, H, W)``, 0..1, the subject.
        strength: Radius in pixels for every unit of disparity away from the focus; float or broadcastable tensor.
        focus: See :func:`find_focus`.
        image: ``(B, 3, H, W)``, see :func:`find_focus`.
        slab: Disparities this far from the focus are still in focus, not negative.

    Returns:
        Defocus ``(B, 1, H, W)`` in pixels, positive in front of the focus plane, negative behind it.
        Differentiable in disparity, mask, focus and strength.

    Raises:
        ValueError: If there is neither disparity nor mask, or their shapes differ.

    Example:
        >>> mask = torch.tensor([[[[1.0, 0.0]]]])
        >>> fuse_defocus(None, mask, strength=8.0).round().flatten().tolist()
        [0.0, -8.0]
    """
    _check_maps(disparity, mask, None)
    _check_slab(slab)
    if disparity is None:
        assert mask is not None
        plane = find_focus(mask, focus=1.0 if focus is None else focus)
        return signed_defocus(_beyond_slab(mask - plane, slab), 0.0, strength)
    plane = find_focus(disparity, mask, image, focus)
    if mask is not None:
        subject = plane if focus is None else find_focus(disparity, mask)
        disparity = mask * subject + (1 - mask) * disparity
    return signed_defocus(_beyond_slab(disparity - plane, slab), 0.0, strength)


def _check_slab(slab: float | Tensor) -> None:
    if not isinstance(slab, Tensor) and not 0 <= slab < math.inf:
        raise ValueError(f"slab must be finite and not negative, got {slab}")


def _beyond_slab(offset: Tensor, slab: float | Tensor) -> Tensor:
    return torch.sign(offset) * (offset.abs() - slab).clamp(min=0)


@dataclass(frozen=True)
class DefocusLayers:
    """A picture in layers, back to front: layer 0 is the farthest.

    Attributes:
        alpha: ``(B, K, 1, H, W)``, 0..1: how much of a pixel a layer covers.
        defocus: ``(B, K, 1, H, W)``, signed, pixels, positive in front of the focus plane.
        color: ``(B, K, 3, H, W)``, linear light, not multiplied by alpha; ``None`` if all layers have the picture's.

    Example:
        >>> surfaces = fuse_layers(torch.rand(1, 1, 8, 8), strength=4.0, layers=None)
        >>> surfaces.alpha.shape, surfaces.slice(6).alpha.shape
        (torch.Size([1, 2, 1, 8, 8]), torch.Size([1, 6, 1, 8, 8]))
    """

    alpha: Tensor
    defocus: Tensor
    color: Tensor | None = None

    def __post_init__(self) -> None:
        if self.alpha.dim() != 5 or self.alpha.shape[2] != 1:
            raise ValueError(f"alpha must be (B, K, 1, H, W), got {tuple(self.alpha.shape)}")
        if self.defocus.shape != self.alpha.shape:
            raise ValueError(f"defocus must have alpha's shape {tuple(self.alpha.shape)}, got {self.defocus.shape}")
        batch, count, _, height, width = self.alpha.shape
        if self.color is not None and self.color.shape != (batch, count, 3, height, width):
            expected = (batch, count, 3, height, width)
            raise ValueError(f"color must be {expected}, got {tuple(self.color.shape)}")

    def __len__(self) -> int:
        return self.alpha.shape[1]

    def limit(self, max_radius: float | None) -> DefocusLayers:
        """The same with :func:`limit_defocus`."""
        return DefocusLayers(self.alpha, limit_defocus(self.defocus, max_radius), self.color)

    def slice(self, count: int) -> DefocusLayers:
        """Sorts what is in the layers by defocus into ``count`` new ones, each pixel shared by the nearest two.

        Raises:
            ValueError: If count is not positive.
        """
        slices = list(iterate_slices(self, count))[::-1]
        light, defocus = (torch.stack(part, 1) for part in zip(*slices, strict=True))
        alpha = light[:, :, -1:]
        color = None if self.color is None else light[:, :, :-1] / alpha.clamp(min=torch.finfo(alpha.dtype).tiny)
        return DefocusLayers(alpha, defocus, color)


def limit_defocus(defocus: Tensor, max_radius: float | None) -> Tensor:
    """Cuts defocus to at most ``max_radius`` pixels, where its gradient is 0; ``None`` leaves it as it is.

    Raises:
        ValueError: If max_radius is negative or not finite.
    """
    if max_radius is None:
        return defocus
    if not 0 <= max_radius < math.inf:
        raise ValueError(f"max_radius must be finite and not negative, got {max_radius}")
    return defocus.clamp(-max_radius, max_radius)


Span = tuple[Tensor, Tensor]


def iterate_slices(layers: DefocusLayers, count: int, span: Span | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields what lies in each of ``count`` depth slices, the nearest first, as light and defocus.

    Light is colour times alpha and, last, alpha: ``(B, 4, H, W)``, or alpha alone where the layers have no colour.

    Slices are equally far apart in defocus, and a surface belongs to the two slices around it, more to the nearer
    one. Surfaces of one pixel that fall into the same slice are laid over each other. ``span`` is the least and the
    largest defocus, ``(B, 1, 1, 1, 1)``, by default those of the layers.
    """
    defocus = layers.defocus
    origin, scale = place_slices(span or find_span(defocus), count)
    position = ((defocus - origin) * scale).unbind(1)  # (B, 1, H, W) each
    # Colour times alpha, alpha, defocus times alpha: what one weight is for. (B, 5 or 2, H, W) each
    alphas = layers.alpha.unbind(1)
    colors = [] if layers.color is None else [layers.color * layers.alpha]
    parts = torch.cat([*colors, layers.alpha, defocus * layers.alpha], 2).unbind(1)
    tiny = torch.finfo(defocus.dtype).tiny
    for index in range(count - 1, -1, -1):
        total: Tensor | None = None
        nearer: list[tuple[Tensor, Tensor]] = []
        for layer in range(len(layers) - 1, -1, -1):
            share = (1 - (position[layer] - index).abs()).clamp(min=0)  # (B, 1, H, W)
            # What is nearer hides as much of this surface as both have in this slice.
            free = share
            for other, alpha in nearer:
                free = free - alpha * torch.minimum(other, free)
            total = parts[layer] * free if total is None else torch.addcmul(total, parts[layer], free)
            nearer.append((share, alphas[layer]))
        assert total is not None
        yield total[:, :-1], total[:, -1:] / total[:, -2:-1].clamp(min=tiny)


def find_span(defocus: Tensor) -> Span:
    """The least and the largest value of each picture's layers, ``(B, 1, 1, 1, 1)``."""
    return defocus.amin((1, 2, 3, 4), keepdim=True), defocus.amax((1, 2, 3, 4), keepdim=True)


def place_slices(span: Span, count: int) -> tuple[Tensor, Tensor]:
    """The defocus of slice 0, and how many slices there are to a pixel of defocus, ``(B, 1, 1, 1, 1)`` each.

    Raises:
        ValueError: If count is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    origin, scale = _PlaceSlices.apply(*span, count)  # type: ignore[no-untyped-call]
    return origin, scale


class _PlaceSlices(torch.autograd.Function):
    """Autograd would take three times as many steps back."""

    @staticmethod
    def forward(ctx: Any, low: Tensor, high: Tensor, count: int) -> tuple[Tensor, Tensor]:
        # A little more than the whole range: no surface lies just where a slice begins.
        margin = 1e-3 * (high - low) + torch.finfo(low.dtype).eps
        extent = high - low + 2 * margin
        ctx.save_for_backward(extent)
        ctx.count = count
        return low - margin, (count - 1) / extent

    @staticmethod
    def backward(ctx: Any, grad_origin: Tensor, grad_scale: Tensor) -> tuple[Tensor, Tensor, None]:
        (extent,) = ctx.saved_tensors
        wider = (1 - ctx.count) * grad_scale / extent.square()  # to the extent
        return 1.001 * grad_origin - 1.002 * wider, 1.002 * wider - 1e-3 * grad_origin, None


def fuse_layers(
    disparity: Tensor | None,
    mask: Tensor | None = None,
    *,
    focus: Focus = None,
    strength: float | Tensor,
    image: Tensor | None = None,
    gamma: Gamma = "srgb",
    layers: int | None = 8,
    slab: float | Tensor = 0.0,
) -> DefocusLayers:
    """Fuses mask and coarse disparity into layers of defocus.

    The mask makes the subject one surface: its edge is the mask's and not the disparity's, and disparity that belongs
    to the other side of the edge is replaced by what is around it on its own side. Everything else is graded by
    disparity; what is in front of the subject stays in front. With an image, pixels that show two surfaces at once
    are taken apart into the colours of both (:func:`depthbokeh.edges.separate`), and the far one goes on behind the
    near one.

    Args:
        disparity: ``(B, 1, H, W)``, larger is nearer; ``None`` if there is a mask: then the subject lies at 1, the
            rest at 0.
        mask: ``(B, 1, H, W)``, 0..1, the subject's share of every pixel.
        focus: See :func:`find_focus`.
        strength: Pixels of blur radius for every unit of disparity away from the focus; float or ``(B, 1, 1, 1)``.
        image: ``(B, 3, H, W)``, all-in-focus, encoded as ``gamma`` says.
        gamma: ``"srgb"``, ``"linear"`` or an exponent.
        layers: How many depth slices to sort the surfaces into, or ``None`` for the surfaces themselves: layer 1 in
            front, layer 0 behind it.
        slab: Disparities this far from the focus are still in focus, not negative; float or ``(B, 1, 1, 1)``.

    Returns:
        Layers with colour if there is an image. Differentiable in disparity, mask, focus, strength, slab and image.

    Raises:
        ValueError: If there is neither disparity nor mask, or a shape does not fit.

    Example:
        >>> mask = torch.tensor([[[[1.0, 0.0]]]])
        >>> surfaces = fuse_layers(None, mask, strength=8.0, layers=None)
        >>> surfaces.alpha[0, 1].flatten().tolist(), surfaces.defocus[0, 0].flatten().tolist()
        ([1.0, 0.0], [-8.0, -8.0])
    """
    _check_maps(disparity, mask, image)
    disparity, mask, image = _promote(disparity, mask, image)
    reference = disparity if disparity is not None else mask
    assert reference is not None
    linear = None if image is None else decode(image, gamma)
    _check_slab(slab)
    scale, slab = _as_numbers("strength", strength, reference), _as_numbers("slab", slab, reference)
    if disparity is None:
        subject, rest = torch.ones_like(reference), torch.zeros_like(reference)
        plane = find_focus(reference, focus=1.0 if focus is None else focus)
    else:
        plane = find_focus(disparity, mask, image, focus)
        disparity = sharpen(disparity, scale, linear)
        subject, rest = (disparity, disparity) if mask is None else part_subject(disparity, mask)
    if linear is None:
        surfaces = DefocusLayers(*lay_surfaces(subject, rest, mask, None, None, None, plane, scale, slab))
    else:
        seen = rest if mask is None else torch.where(mask > 0.5, subject, rest)
        edges = separate(linear, seen, scale, mask)
        native = ops.takes(subject, rest, subject if mask is None else mask, edges.edge, plane, scale, slab)
        run = ops.lay_surfaces if native else lay_surfaces
        parts = edges.edge, edges.coverage, edges.disparity
        surfaces = DefocusLayers(*run(subject, rest, mask, *parts, plane, scale, slab), edges.color)
    return surfaces if layers is None else surfaces.slice(layers)


def lay_surfaces(
    subject: Tensor,
    rest: Tensor,
    mask: Tensor | None,
    edge: Tensor | None,
    coverage: Tensor | None,
    depth: Tensor | None,
    focus: Tensor,
    strength: Tensor,
    slab: Tensor,
) -> tuple[Tensor, Tensor]:
    """The definition of :func:`depthbokeh.ops.lay_surfaces`: the far and the near surface of every pixel.

    Args:
        subject: ``(B, 1, H, W)``, disparity.
        rest: The same of everything else.
        mask: ``(B, 1, H, W)``, 0..1; ``None`` if both are the same.
        edge: ``(B, 1, H, W)``, 0..1, how far the next two decide; ``None`` if there are none.
        coverage: ``(B, 2, 1, H, W)``, see :class:`depthbokeh.edges.Edges`.
        depth: ``(B, 2, 1, H, W)``, their disparity.
        focus: ``(B, 1, 1, 1)``, the disparity in focus.
        strength: ``(B, 1, 1, 1)``, pixels for every unit of disparity.
        slab: ``(B, 1, 1, 1)``, see :func:`fuse_layers`.

    Returns:
        Coverage and signed defocus, ``(B, 2, 1, H, W)`` each.
    """
    in_front = subject >= rest
    front = torch.ones_like(subject) if mask is None else torch.where(in_front, mask, 1 - mask)
    alpha = torch.stack([1 - front, front], 1)
    own = torch.stack([torch.where(in_front, rest, subject), torch.where(in_front, subject, rest)], 1)
    if edge is not None:
        assert coverage is not None
        assert depth is not None
        at = edge[:, None]
        own = _mix(at, own, alpha, depth, coverage)
        alpha = alpha + at * (coverage - alpha)
    offset = _beyond_slab(own - focus[:, None], slab[:, None])
    return alpha, strength[:, None] * offset


def _as_numbers(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    """One for every picture, ``(B, 1, 1, 1)``."""
    if isinstance(value, int | float):  # made where it is needed: a copy would wait for the device
        return like.new_full((len(like), 1, 1, 1), value)
    value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if value.numel() not in (1, len(like)):
        raise ValueError(f"{name} must be a number or one for each of {len(like)} pictures, got {tuple(value.shape)}")
    return value.reshape(-1, 1, 1, 1).expand(len(like), 1, 1, 1)


def _promote(*given: Tensor | None) -> tuple[Tensor | None, ...]:
    """The same of one dtype: a mask that a network made under autocast may lie beside a picture in float32."""
    dtype = functools.reduce(torch.promote_types, (values.dtype for values in given if values is not None))
    return tuple(None if values is None else values.to(dtype) for values in given)


def _mix(share: Tensor, old: Tensor, old_cover: Tensor, new: Tensor, new_cover: Tensor) -> Tensor:
    """Of two surfaces the one that covers more counts more: what lies in an empty one is nowhere."""
    least = torch.finfo(old.dtype).eps
    # A mask that was resized may exceed 1 by rounding.
    was, comes = (1 - share) * (old_cover.clamp(min=0) + least), share * (new_cover.clamp(min=0) + least)
    return old + comes / (was + comes) * (new - old)


def part_subject(disparity: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The subject's disparity and that of everything else, each going on beneath the other.

    Coarse disparity misses the subject's edge by some pixels. What lies within the mask with a disparity nearer to
    its surroundings' is replaced by the subject's around it, and the other way round; far from the edge all stays.

    Args:
        disparity: ``(B, 1, H, W)``, larger is nearer.
        mask: ``(B, 1, H, W)``, 0..1, the subject.

    Returns:
        Subject and rest, ``(B, 1, H, W)`` each.
    """
    batch = len(disparity)
    sides, both = torch.cat([mask, 1 - mask]), disparity.repeat(2, 1, 1, 1)
    # Both sides as coarse means over 4 x 4 pixels. Well within, either side is sure; elsewhere it counts only where
    # nothing surer is near.
    reach = max(1, max(disparity.shape[2:]) // 400)
    sure = -F.max_pool2d(F.max_pool2d(-sides, 4, ceil_mode=True), 2 * reach + 1, 1, reach)
    means = _fill_coarsely(both, sides.square(), sure)
    least = 1e-3 * (disparity.amax((1, 2, 3), keepdim=True) - disparity.amin((1, 2, 3), keepdim=True)) + 1e-12
    run = ops.weigh_sides if ops.takes(disparity, mask) else weigh_sides
    weight, occluder = run(disparity, mask, means, _refine(sure[batch:], mask), least)
    subject, rest = push_pull(both, weight).chunk(2)
    return subject, rest + occluder * (disparity - rest)


def weigh_sides(disparity: Tensor, mask: Tensor, means: Tensor, sure: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """The definition of :func:`depthbokeh.ops.weigh_sides`: how much of a pixel's disparity either side may believe.

    Args:
        disparity: ``(B, 1, H, W)``.
        mask: ``(B, 1, H, W)``, 0..1, the subject.
        means: ``(2 B, 1, H, W)``, what the subject's disparity is about, and then what everything else's is.
        sure: ``(B, 1, H, W)``, 0..1, where it is sure that a pixel is not the subject's.
        least: ``(B, 1, 1, 1)``, the contrast of both means from which on disparity tells one side from the other.

    Returns:
        What the subject and then what the rest may believe, ``(2 B, 1, H, W)``, and what is in front of the subject,
        ``(B, 1, H, W)``; all 0..1.
    """
    inner, outer = means.chunk(2)
    contrast = inner - outer
    contrast = torch.where(contrast.abs() < least, least, contrast)
    # 0: as what is around the subject, 1: as the subject. A subject is seldom behind all that is around it.
    height = (disparity - outer) / contrast
    belongs = smoothstep((torch.cat([height, 1 - height]) - 0.5) / 0.3)
    # Where both are equally near, disparity tells no side from the other: it belongs to either.
    told = smoothstep(contrast.abs() / least - 1).repeat(2, 1, 1, 1)
    as_subject, as_rest = (1 - told * (1 - belongs)).chunk(2)
    occluder = smoothstep((height - 1.1) / 0.15) * (contrast > 0)
    without = (1 - mask).square()
    other = without * torch.maximum(sure, as_rest) * (1 - occluder)
    return torch.cat([mask.square() * as_subject, other]), without * occluder


def _fill_coarsely(values: Tensor, weight: Tensor, sure: Tensor) -> Tensor:
    """Weighted means of values over 4 x 4 pixels, filled in from where it is ``sure``, which is as coarse."""
    known = F.avg_pool2d(weight, 4, ceil_mode=True)
    means = F.avg_pool2d(values * weight, 4, ceil_mode=True) / known.clamp(min=1e-9)
    return _refine(push_pull(means, (1e-3 * known + sure.square()) / (1 + 1e-3)), values)


def _refine(coarse: Tensor, like: Tensor) -> Tensor:
    return enlarge(coarse, 4, *like.shape[2:])


def _check_maps(disparity: Tensor | None, mask: Tensor | None, image: Tensor | None) -> None:
    if disparity is None and mask is None:
        raise ValueError("disparity or mask must be given, got neither")
    shapes = {"disparity": disparity, "mask": mask}
    size = None
    for name, given in shapes.items():
        if given is None:
            continue
        if given.dim() != 4 or given.shape[1] != 1 or not given.is_floating_point():
            raise ValueError(f"{name} must be (B, 1, H, W) floating point, got {tuple(given.shape)} {given.dtype}")
        if size is not None and given.shape != size:
            raise ValueError(f"{name} must have the disparity's shape {tuple(size)}, got {tuple(given.shape)}")
        size = given.shape
    assert size is not None
    if image is not None and tuple(image.shape) != (size[0], 3, *size[2:]):
        raise ValueError(f"image must be {(size[0], 3, *size[2:])}, as the maps are, got {tuple(image.shape)}")
