"""What is mixed at a depth edge is taken apart: the near surface, its coverage, and the far surface behind it.

An all-in-focus picture holds, along every edge between near and far, pixels that show a part of both. Blurred as one
surface they carry a seam of the other's colour into the picture. Here each of them becomes two pixels again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from . import ops
from .steps import smoothstep
from .windows import find_max, local_max, local_min

# A jump of disparity counts from half of this on, fully from this on: pixels of blur radius.
_JUMP = 1.0
# An edge of estimated disparity is at most this part of the longer side wide, to either side.
_SOFT = 250
# Colours of the two surfaces are taken from pixels within two steps, nearer ones counting more.
_STEPS = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if abs(dy) + abs(dx) <= 2]
_SIGMA = 0.8
# Mixed pixels count this little beside pure ones, so that they decide only where there is nothing else.
_MIXED = 1e-3
# Squared contrast of two surfaces up to which colour says less than disparity about the share of each.
_CONTRAST = 2e-2
# The same where colour helps to tell which side a pixel of soft disparity is on, and how far from all mixtures of both
# sides' colours its own may be for that.
_SOFT_CONTRAST, _OFF_LINE = 0.5, 1 / 16
# Light is a lamp's from this many times the brighter side's and as much more on, fully within the third: a glint on a
# leaf, which belongs to the near side, is less bright.
_OUTSHINES, _BEYOND, _RAMP = 2.0, 0.7, 0.5
# A lamp is made brighter by what hides it, as if at least this much of it were seen.
_LEAST_SEEN = 0.1


class Edges(NamedTuple):
    """Both surfaces at every pixel, the far and the near one; away from edges they are the same.

    Attributes:
        edge: ``(B, 1, H, W)``, 0..1, where there is an edge between two surfaces.
        coverage: ``(B, 2, 1, H, W)``, 0..1: the far surface goes on behind the near one.
        color: ``(B, 2, C, H, W)``, with ``edge`` 0 the picture's.
        disparity: ``(B, 2, 1, H, W)``.
    """

    edge: Tensor
    coverage: Tensor
    color: Tensor
    disparity: Tensor


def separate(linear: Tensor, disparity: Tensor, strength: Tensor, mask: Tensor | None = None) -> Edges:
    """Takes mixed pixels at depth edges apart.

    With F and B the mean colours of the near and the far side around a mixed pixel of colour I, the near side covers
    alpha = (I - B).(F - B) / |F - B|^2 of it, or what the mask says where it follows the edge. What alpha F +
    (1 - alpha) B misses of I is shared out so that it changes F and B least, unless it is a lamp's light: that is
    the far side's.

    Args:
        linear: ``(B, 3, H, W)``, all-in-focus, linear light.
        disparity: ``(B, 1, H, W)``, larger is nearer, with sharp edges.
        strength: Pixels of blur radius for every unit of disparity, ``(B, 1, 1, 1)``.
        mask: ``(B, 1, H, W)``, 0..1, the subject's coverage of every pixel.

    Returns:
        Both surfaces. Differentiable in all arguments.
    """
    strength = strength.expand(len(disparity), 1, 1, 1)
    run = ops.separate if ops.takes(disparity, linear, strength, disparity if mask is None else mask) else find_surfaces
    return Edges(*run(linear, disparity, strength, mask))


def find_surfaces(
    linear: Tensor, disparity: Tensor, strength: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The definition of :func:`depthbokeh.ops.separate`; for the arguments see :func:`separate`.

    Returns:
        What :class:`Edges` are made of.
    """
    jump = _Jump.around(disparity, 1)
    edge = _weigh(jump, strength)
    at = torch.nonzero(edge.detach().flatten() > 0)[:, 0]
    low, high, weight = (values.flatten()[at] for values in (jump.low, jump.high, edge))
    sides = find_sides(linear, disparity, edge, mask, at, low, high)
    surfaces = unmix(sides, low, high, weight, masked=mask is not None)
    covered = torch.ones_like(disparity)
    maps = _put_(torch.cat([covered, covered, linear, linear, disparity, disparity], 1), at, surfaces)
    colors = maps[:, 2:8].view(-1, 2, 3, *disparity.shape[2:])
    return edge, maps[:, :2, None], colors, maps[:, 8:, None]


def unmix(sides: Tensor, low: Tensor, high: Tensor, weight: Tensor, *, masked: bool) -> Tensor:
    """Takes mixed pixels apart; for the formulas see :func:`separate`.

    Args:
        sides: ``(N, 3, 5)``, see :func:`find_sides`.
        low: ``(N,)``, disparity of the far side.
        high: The same of the near side.
        weight: ``(N,)``, 0..1: where an edge only begins to count, so does what is put in its place.
        masked: Whether there is a mask.

    Returns:
        ``(N, 10)``: the coverage of the far surface, which is 1, and of the near one, their colours, their disparities.
    """
    near, far, here = sides.unbind(1)  # (N, 5) each
    f, b, mixed = near[:, :3], far[:, :3], here[:, :3]
    own = _near_share(_find_height(here[:, 3], low, high))[:, None]
    contrast = f - b
    alpha = ((mixed - b) * contrast).sum(1, keepdim=True) + _CONTRAST * own
    alpha = (alpha / (contrast.square().sum(1, keepdim=True) + _CONTRAST)).clamp(0, 1)
    if masked:
        inside = here[:, 4:]
        subject_is_near = near[:, 4:] - far[:, 4:]
        follows = smoothstep((subject_is_near.abs() - 0.05) / 0.2)
        alpha = alpha + follows * (torch.where(subject_is_near > 0, inside, 1 - inside) - alpha)
    missed = mixed - alpha * f - (1 - alpha) * b
    shared = missed / (alpha.square() + (1 - alpha).square())
    # What outshines both sides by far is a lamp that shines past the near one.
    brightest = torch.maximum(f, b).amax(1, keepdim=True)
    lamp = smoothstep((missed.amax(1, keepdim=True) - _OUTSHINES * brightest - _BEYOND) / _RAMP)
    behind = (1 - alpha) * shared
    behind = behind + lamp * (missed / (1 - alpha).clamp(min=_LEAST_SEEN) - behind)
    f, b = (f + (1 - lamp) * alpha * shared).clamp(min=0), (b + behind).clamp(min=0)
    whole = torch.ones_like(alpha)
    was = torch.cat([whole, whole, mixed, mixed, here[:, 3:4], here[:, 3:4]], 1)
    becomes = torch.cat([whole, alpha, b, f, far[:, 3:4], near[:, 3:4]], 1)
    return was + weight[:, None] * (becomes - was)


def sharpen(disparity: Tensor, strength: Tensor, linear: Tensor | None = None) -> Tensor:
    """Moves what lies between two surfaces at a depth edge to one of both: nothing is there.

    Estimated disparity passes over from one surface to the next within some pixels. Blurred in proportion, these
    would be a seam that is half in focus. Slopes and sharp edges stay as they are. A pixel goes to the side whose
    disparity is closer to its own or, where both sides differ much in colour, to the one that it looks like.

    Args:
        disparity: ``(B, 1, H, W)``.
        strength: Pixels of blur radius for every unit of disparity, ``(B, 1, 1, 1)``.
        linear: ``(B, 3, H, W)``, all-in-focus, linear light; without it disparity alone decides.

    Returns:
        ``(B, 1, H, W)``, differentiable in disparity and strength.
    """
    reach = max(1, max(disparity.shape[2:]) // _SOFT)
    strength = strength.expand(len(disparity), 1, 1, 1)
    linear = None if linear is None else linear.detach()  # it decides, without a derivative
    if ops.takes(disparity, strength, disparity if linear is None else linear):
        return ops.sharpen(disparity, strength, linear, reach)
    return move_to_sides(disparity, strength, linear, reach)


def move_to_sides(disparity: Tensor, strength: Tensor, linear: Tensor | None, reach: int) -> Tensor:
    """The definition of :func:`depthbokeh.ops.sharpen`; for the arguments see :func:`sharpen`.

    ``reach`` says how far an edge is wide to either side, in pixels.
    """
    jump = _Jump.around(disparity, reach)
    share = _find_height(disparity, jump.low, jump.high)
    between = smoothstep(torch.minimum(share, 1 - share) / 0.1 - 0.5) * _weigh(jump, strength)
    # A third surface between the two is flat; what passes over from one to the other is steep.
    span = (jump.high - jump.low).clamp(min=torch.finfo(disparity.dtype).tiny)
    steepness = (local_max(disparity, 1) - local_min(disparity, 1)) / span
    between = between * smoothstep((steepness - 0.15) / 0.25)
    is_near = (share if linear is None else _share_by_color(linear, disparity, share, reach)) > 0.5
    return disparity + between * (torch.where(is_near, jump.high, jump.low) - disparity)


@torch.no_grad()
def _share_by_color(linear: Tensor, disparity: Tensor, share: Tensor, reach: int) -> Tensor:
    """How much pixels look like the near side of their edge, where colour says nothing as ``share`` does.

    What is no mixture of both sides' colours, such as a pixel of a texture, says nothing.
    """
    own = linear.clamp(0, 1)
    near, far = (_take(own, find_max(values, reach).flatten(1)).mT for values in (disparity, -disparity))
    near, far = near.reshape(linear.shape), far.reshape(linear.shape)
    contrast, own = near - far, own - far
    squared, along = contrast.square().sum(1, keepdim=True), (own * contrast).sum(1, keepdim=True)
    mixture = (along / squared.clamp(min=torch.finfo(share.dtype).tiny)).clamp(0, 1)
    off = (own - mixture * contrast).square().sum(1, keepdim=True)
    doubt = _SOFT_CONTRAST + off / _OFF_LINE**2
    return (along + doubt * share) / (squared + doubt)


class _Jump(NamedTuple):
    """The largest and the smallest disparity around every pixel, and twice as far around: ``(B, 1, H, W)`` each."""

    high: Tensor
    low: Tensor
    higher: Tensor
    lower: Tensor

    @staticmethod
    def around(disparity: Tensor, reach: int) -> _Jump:
        return _Jump(*(find(disparity, extent) for extent in (reach, 2 * reach) for find in (local_max, local_min)))


def _weigh(jump: _Jump, strength: Tensor) -> Tensor:
    """How far there is a jump: it spans as much over some pixels as over twice as many, a slope half as much."""
    size = 2 * (jump.high - jump.low) - (jump.higher - jump.lower)
    return smoothstep(2 * strength.abs() * size / _JUMP - 1)


def _find_height(disparity: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """0 at the far side, 1 at the near one, beyond them a third surface."""
    return (disparity - low) / (high - low).clamp(min=torch.finfo(disparity.dtype).tiny)


def _near_share(height: Tensor) -> Tensor:
    return smoothstep((height - 0.35) / 0.3)


def find_sides(
    linear: Tensor, disparity: Tensor, edge: Tensor, mask: Tensor | None, at: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Means of the near and of the far side around some pixels, and the pixels themselves.

    Args:
        linear: ``(B, 3, H, W)``.
        disparity: ``(B, 1, H, W)``.
        edge: ``(B, 1, H, W)``, 0..1, where pixels are mixed.
        mask: ``(B, 1, H, W)`` or ``None``.
        at: ``(N,)``, pixels, numbered row by row through all pictures, ascending.
        low: ``(N,)``, disparity of their far side.
        high: The same of their near side.

    Returns:
        ``(N, 3, 5)``: near, far, here; their colour, disparity and mask, which is 0 without one.
    """
    known = torch.cat([linear, disparity, torch.zeros_like(disparity) if mask is None else mask, edge], 1)
    around = _around(known, at)  # (N, P, 6)
    height = _find_height(around[..., 3], low[:, None], high[:, None])  # (N, P)
    share = _near_share(height)
    belongs = smoothstep(2 - (height - 0.5).abs())
    pure = (1 - around[..., 5]).clamp(0, 1) + _MIXED
    # One lamp must not become several: brighter than white, a pixel counts the less.
    dimmed = around[..., :3].amax(2).clamp(min=1).reciprocal()
    counts = belongs * pure * dimmed * _falloff(linear)
    values = around[..., :5]
    return torch.stack(
        [_mean(values, counts * share), _mean(values, counts * (1 - share)), values[:, len(_STEPS) // 2]], 1
    )


def _falloff(like: Tensor) -> Tensor:
    weights = [math.exp(-(dy * dy + dx * dx) / (2 * _SIGMA**2)) for dy, dx in _STEPS]
    return torch.tensor(weights, dtype=like.dtype, device=like.device)


def _around(values: Tensor, at: Tensor) -> Tensor:
    """The neighbours of some pixels, those at the border counted again beyond it: (N, P, C)."""
    height, width = values.shape[2:]
    dy, dx = torch.tensor(_STEPS, device=values.device).unbind(1)
    line = (at // width)[:, None]
    first = line // height * height  # row of the picture
    rows = (line + dy).clamp(first, first + height - 1)
    columns = (at[:, None] % width + dx).clamp(0, width - 1)
    return _take(values, rows * width + columns)


def _mean(around: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
    return (around * weight[..., None]).sum(1) / total


def _take(values: Tensor, at: Tensor) -> Tensor:
    """Some pixels, numbered row by row through all pictures: (..., C)."""
    pixels = values[0, 0].numel()
    return values.flatten(2)[at // pixels, :, at % pixels]


def _put_(values: Tensor, at: Tensor, new: Tensor) -> Tensor:
    """Replaces some pixels of what nobody else has; ``new`` is (N, C)."""
    _, channels, height, width = values.shape
    offset = at + at // (height * width) * ((channels - 1) * height * width)
    where = offset[:, None] + height * width * torch.arange(channels, device=at.device)
    return values.flatten().index_put_((where,), new).view_as(values)
