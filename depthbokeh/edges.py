"""What is mixed at a depth edge is taken apart: the near surface, its coverage, and the far surface behind it.

An all-in-focus picture holds, along every edge between near and far, pixels that show a part of both. Blurred as one
surface they carry a seam of the other's colour into the picture. Here each of them becomes two pixels again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .windows import find_max, local_max, local_min

# A jump of disparity counts from half of this on, fully from this on: pixels of blur radius.
_JUMP = 1.0
# An edge of estimated disparity is at most this part of the longer side wide, to either side.
_SOFT = 250
# Colours of the two surfaces are taken from pixels within two steps, nearer ones counting more.
_SQUARE = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
_CORE = [i for i, (dy, dx) in enumerate(_SQUARE) if max(abs(dy), abs(dx)) <= 1]
_STEPS = [(dy, dx) for dy, dx in _SQUARE if abs(dy) + abs(dx) <= 2]
_SIGMA = 0.8
# Mixed pixels count this little beside pure ones, so that they decide only where there is nothing else.
_MIXED = 1e-3
# Squared contrast of two surfaces up to which colour says less than disparity about the share of each.
_CONTRAST = 2e-2


class Edges(NamedTuple):
    """Both surfaces at every pixel; away from edges they are the same.

    Attributes:
        edge: ``(B, 1, H, W)``, 0..1, where there is an edge between two surfaces.
        coverage: ``(B, 1, H, W)``, 0..1, of the near surface.
        near: ``(B, C, H, W)``, colour of the near surface, with ``edge`` 0 the picture's.
        far: The same of the far surface.
        near_disparity: ``(B, 1, H, W)``.
        far_disparity: ``(B, 1, H, W)``.
    """

    edge: Tensor
    coverage: Tensor
    near: Tensor
    far: Tensor
    near_disparity: Tensor
    far_disparity: Tensor


def separate(linear: Tensor, disparity: Tensor, strength: Tensor, mask: Tensor | None = None) -> Edges:
    """Takes mixed pixels at depth edges apart.

    With F and B the mean colours of the near and the far side around a mixed pixel of colour I, the near side covers
    alpha = (I - B).(F - B) / |F - B|^2 of it, or what the mask says where it follows the edge. What alpha F +
    (1 - alpha) B misses of I is shared out so that it changes F and B least.

    Args:
        linear: ``(B, 3, H, W)``, all-in-focus, linear light.
        disparity: ``(B, 1, H, W)``, larger is nearer, with sharp edges.
        strength: Pixels of blur radius for every unit of disparity, ``(B, 1, 1, 1)``.
        mask: ``(B, 1, H, W)``, 0..1, the subject's coverage of every pixel.

    Returns:
        Both surfaces. Differentiable in all arguments.
    """
    at = _find_edges(disparity, strength)
    square = _around(disparity, at, _SQUARE)[..., 0]  # (N, 25)
    core = square[:, _CORE]  # (N, 9)
    low, high = core.amin(1, keepdim=True), core.amax(1, keepdim=True)  # (N, 1)
    beyond = square.amax(1, keepdim=True) - square.amin(1, keepdim=True)
    weight = _weigh_jump(2 * (high - low) - beyond, strength.expand(len(disparity), 1, 1, 1)[at[0], 0, 0])  # (N, 1)
    edge = _put(torch.zeros_like(disparity), at, weight)

    known = [linear, disparity, edge] if mask is None else [linear, disparity, edge, mask]
    channels = linear.shape[1]
    around = _around(torch.cat(known, 1), at, _STEPS)  # (N, P, C + 2 or C + 3)
    span = (high - low).clamp(min=torch.finfo(disparity.dtype).tiny)
    height = (around[..., channels] - low) / span  # (N, P): 0 far, 1 near, beyond: a third surface
    share = smoothstep((height - 0.35) / 0.3)
    belongs = smoothstep(2 - (height - 0.5).abs())
    pure = (1 - around[..., channels + 1]).clamp(0, 1) + _MIXED
    # One lamp must not become several: brighter than white, a pixel counts the less.
    dimmed = around[..., :channels].amax(2).clamp(min=1).reciprocal()
    counts = belongs * pure * dimmed * _falloff(linear)
    near_mean = _mean(around, counts * share)
    far_mean = _mean(around, counts * (1 - share))  # (N, C + 2 or C + 3)

    here = around[:, len(_STEPS) // 2]
    mixed, own_disparity = here[:, :channels], here[:, channels, None]  # (N, C), (N, 1)
    own = share[:, len(_STEPS) // 2, None]
    f, b = near_mean[:, :channels], far_mean[:, :channels]
    contrast = f - b
    alpha = ((mixed - b) * contrast).sum(1, keepdim=True) + _CONTRAST * own
    alpha = (alpha / (contrast.square().sum(1, keepdim=True) + _CONTRAST)).clamp(0, 1)
    if mask is not None:
        inside = here[:, -1:]
        subject_is_near = near_mean[:, -1:] - far_mean[:, -1:]
        follows = smoothstep((subject_is_near.abs() - 0.05) / 0.2)
        alpha = alpha + follows * (torch.where(subject_is_near > 0, inside, 1 - inside) - alpha)
    missed = (mixed - alpha * f - (1 - alpha) * b) / (alpha.square() + (1 - alpha).square())
    f, b = (f + alpha * missed).clamp(min=0), (b + (1 - alpha) * missed).clamp(min=0)

    # Where an edge only begins to count, so does what is put in its place.
    return Edges(
        edge,
        _put(torch.ones_like(disparity), at, 1 + weight * (alpha - 1)),
        _put(linear, at, mixed.lerp(f, weight)),
        _put(linear, at, mixed.lerp(b, weight)),
        _put(disparity, at, own_disparity.lerp(near_mean[:, channels, None], weight)),
        _put(disparity, at, own_disparity.lerp(far_mean[:, channels, None], weight)),
    )


def sharpen(disparity: Tensor, strength: Tensor) -> Tensor:
    """Moves what lies between two surfaces at a depth edge to the nearer one of both: nothing is there.

    Estimated disparity passes over from one surface to the next within some pixels. Blurred in proportion, these
    would be a seam that is half in focus. Slopes and sharp edges stay as they are.

    Args:
        disparity: ``(B, 1, H, W)``.
        strength: Pixels of blur radius for every unit of disparity, ``(B, 1, 1, 1)``.

    Returns:
        ``(B, 1, H, W)``, differentiable in both.
    """
    reach = max(1, max(disparity.shape[2:]) // _SOFT)
    at, values = _find_between(disparity, strength, reach)
    own, highest, lowest, beyond = values.unbind()  # (N,) each
    span = highest - lowest
    share = (own - lowest) / span
    scale = strength.expand(len(disparity), 1, 1, 1).flatten()[at // disparity[0].numel()]
    between = _lies_between(share) * _weigh_jump(2 * span - beyond, scale)
    change = between * (torch.where(share > 0.5, highest, lowest) - own)
    return disparity.flatten().index_add(0, at, change).view_as(disparity)


def _find_between(disparity: Tensor, strength: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Where something lies between two surfaces, ``(N,)``, numbered row by row, and ``(4, N)`` disparities there.

    They are the pixel's own, the largest and the smallest around it, and the span of those twice as far around. All
    other pixels stay as they are: neither their values nor derivatives need the rest.
    """
    with torch.no_grad():
        highest, lowest = local_max(disparity, reach), local_min(disparity, reach)
        higher, lower = local_max(highest, reach), local_min(lowest, reach)
        span = highest - lowest
        jump = 2 * span - (higher - lower)
        share = (disparity - lowest) / span.clamp(min=torch.finfo(disparity.dtype).tiny)
        at = torch.nonzero(((2 * strength.abs() * jump > _JUMP) & ((share - 0.5).abs() < 0.45)).flatten())[:, 0]
    values = disparity.flatten()
    if not (torch.is_grad_enabled() and disparity.requires_grad):
        return at, torch.stack([values[at], *(maps.flatten()[at] for maps in (highest, lowest, higher - lower))])
    top = find_max(disparity, reach, torch.cat([at, find_max(highest, reach, at)]))
    bottom = find_max(-disparity, reach, torch.cat([at, find_max(-lowest, reach, at)]))
    (high, higher), (low, lower) = (values[where].chunk(2) for where in (top, bottom))
    return at, torch.stack([values[at], high, low, higher - lower])


def _lies_between(share: Tensor) -> Tensor:
    return smoothstep(torch.minimum(share, 1 - share) / 0.1 - 0.5)


def smoothstep(x: Tensor) -> Tensor:
    """0 up to x = 0, 1 from x = 1 on, smooth between."""
    t = x.clamp(0, 1)
    return t * t * (3 - 2 * t)


Pixels = tuple[Tensor, Tensor, Tensor]  # batch, row, column: (N,) each


@torch.no_grad()
def _find_edges(disparity: Tensor, strength: Tensor) -> Pixels:
    """Where disparity jumps: as much over 3 pixels as over 5, where a slope spans twice as much over 5."""
    largest, smallest = local_max(disparity, 1), local_min(disparity, 1)
    jump = 2 * (largest - smallest) - (local_max(largest, 1) - local_min(smallest, 1))
    batch, row, column = torch.nonzero(_weigh_jump(jump, strength)[:, 0], as_tuple=True)
    return batch, row, column


def _weigh_jump(jump: Tensor, strength: Tensor) -> Tensor:
    return smoothstep(2 * strength.abs() * jump / _JUMP - 1)


def _falloff(like: Tensor) -> Tensor:
    weights = [math.exp(-(dy * dy + dx * dx) / (2 * _SIGMA**2)) for dy, dx in _STEPS]
    return torch.tensor(weights, dtype=like.dtype, device=like.device)


def _around(values: Tensor, at: Pixels, steps: list[tuple[int, int]]) -> Tensor:
    """The neighbours of some pixels, those at the border counted again beyond it: (N, P, C)."""
    batch, row, column = at
    height, width = values.shape[2:]
    dy, dx = torch.tensor(steps, device=values.device).unbind(1)
    rows = (row[:, None] + dy).clamp(0, height - 1)
    columns = (column[:, None] + dx).clamp(0, width - 1)
    return values.movedim(1, -1)[batch[:, None], rows, columns]


def _mean(around: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
    return (around * weight[..., None]).sum(1) / total


def _put(values: Tensor, at: Pixels, new: Tensor) -> Tensor:
    """A copy with some pixels replaced; ``new`` is (N, C)."""
    return values.movedim(1, -1).index_put(at, new).movedim(-1, 1)
