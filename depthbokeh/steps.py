"""Decisions that pass over from no to yes, so that gradients do."""

from __future__ import annotations

from torch import Tensor


def smoothstep(x: Tensor) -> Tensor:
    """0 up to x = 0, 1 from x = 1 on, smooth between."""
    t = x.clamp(0, 1)
    return t * t * (3 - 2 * t)
