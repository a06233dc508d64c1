"""Bilinear enlargement whose backward runs on all threads."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def enlarge(values: Tensor, factor: int, height: int, width: int) -> Tensor:
    """Bilinear interpolation between the middles of squares of ``factor`` x ``factor`` pixels.

    ``torch.nn.functional.interpolate`` shares its backward out by channels: maps, which have one, take it five times as
    long.

    Args:
        values: ``(B, C, h, w)``, one for every square.
        factor: Pixels.
        height: Of the picture; squares at its border may reach beyond it.
        width: The same.

    Returns:
        ``(B, C, height, width)``, differentiable.

    Example:
        >>> enlarge(torch.tensor([[[[0.0, 4.0]]]]), 2, 1, 3)
        tensor([[[[0., 1., 3.]]]])
    """
    enlarged: Tensor = _Enlarge.apply(values, factor, height, width)  # type: ignore[no-untyped-call]
    return enlarged


class _Enlarge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: int, height: int, width: int) -> Tensor:
        ctx.factor, ctx.size = factor, (factor * values.shape[2], factor * values.shape[3])
        enlarged = F.interpolate(values, scale_factor=factor, mode="bilinear", align_corners=False)
        return enlarged[..., :height, :width]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        height, width = ctx.size
        grad = F.pad(grad, (0, width - grad.shape[3], 0, height - grad.shape[2]))
        return _gather(_gather(grad, ctx.factor, 2), ctx.factor, 3), None, None, None


def _gather(grad: Tensor, factor: int, axis: int) -> Tensor:
    """The adjoint of the interpolation along one axis."""
    count = grad.shape[axis] // factor
    phases = grad.reshape(*grad.shape[:axis], count, factor, *grad.shape[axis + 1 :]).unbind(axis + 1)
    total = torch.zeros_like(phases[0])
    for phase, part in enumerate(phases):
        # Every pixel lies between the middle of its own square and that of the next one, or of the one before it.
        offset = (phase + 0.5) / factor - 0.5
        total = total.add_(part, alpha=1 - abs(offset))
        own, other, border = (1, 0, 0) if offset < 0 else (0, 1, count - 1)
        total.narrow(axis, other, count - 1).add_(part.narrow(axis, own, count - 1), alpha=abs(offset))
        # Beyond the border there is only its own.
        total.narrow(axis, border, 1).add_(part.narrow(axis, border, 1), alpha=abs(offset))
    return total
