"""What all depth models have in common: kinds of output, and how each becomes disparity."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from depthbokeh.models.inputs import check_photo
from depthbokeh.optics import normalize_disparity

DepthKind = Literal["disparity", "relative_disparity", "depth", "log_depth"]
"""What a source says of a point at depth z, with a and b unknown: ``a / z``, ``a / z + b``, ``a z``, ``log(a z)``."""


def convert_to_disparity(values: Tensor, kind: DepthKind) -> Tensor:
    """Return the disparity, 0..1, that a depth source's values mean.

    Args:
        values: ``(B, 1, H, W)``; depth must be positive.
        kind: What they are, see :data:`DepthKind`.

    Returns:
        ``(B, 1, H, W)``, larger is nearer. What is known up to its scale is divided by its maximum, so that 0 is
        infinitely far; ``"relative_disparity"``, whose 0 means nothing, is stretched to 0..1. Differentiable.

    Raises:
        ValueError: The kind is unknown, or a depth is not positive.

    Example:
        >>> depth = torch.tensor([1.0, 2.0, 4.0]).view(1, 1, 1, 3)
        >>> convert_to_disparity(depth, "depth").flatten()
        tensor([1.0000, 0.5000, 0.2500])
        >>> convert_to_disparity(depth.log(), "log_depth").flatten()
        tensor([1.0000, 0.5000, 0.2500])
    """
    if kind not in get_args(DepthKind):
        raise ValueError(f"kind is {kind!r}: expected one of {', '.join(get_args(DepthKind))}")
    if kind == "relative_disparity":
        return normalize_disparity(values)
    if kind == "log_depth":
        # exp(-x) / max exp(-x), without overflow.
        return (values.amin((2, 3), keepdim=True) - values).exp()
    if kind == "depth":
        if bool((values <= 0).any()):
            raise ValueError(f"values reach down to {float(values.min()):g}: expected positive depth")
        return values.amin((2, 3), keepdim=True) / values
    values = values.clamp(min=0)
    return values / values.amax((2, 3), keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)


class DepthModel(nn.Module):
    """A network or another source photo → disparity.

    A subclass sets :attr:`kind` and implements :meth:`predict`.
    """

    kind: DepthKind
    """What :meth:`predict` returns."""

    def forward(self, photo: Tensor, mask: Tensor | None = None) -> Tensor:
        """Estimates the scene's disparity.

        Args:
            photo: ``(B, 3, H, W)``, sRGB 0..1.
            mask: ``(B, 1, H, W)``, 0..1, the subject's; most networks do without.

        Returns:
            Disparity ``(B, 1, H, W)``, 0..1, larger is nearer, with the photo's dtype and device; differentiable in
            photo and weights.

        Raises:
            ValueError: The photo has another shape or is not floating-point.
        """
        check_photo(photo)
        return convert_to_disparity(self.predict(photo), self.kind)

    @abstractmethod
    def predict(self, photo: Tensor) -> Tensor:
        """Return the model's own values ``(B, 1, H, W)``, of its :attr:`kind`, for a checked photo."""
