"""What all depth models have in common: kinds of output, and how each becomes disparity."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from depthbokeh.models.inputs import check_photo

if TYPE_CHECKING:
    from typing_extensions import Self

DepthKind = Literal["disparity", "relative_disparity", "depth", "log_depth"]
"""What a source says of a point at depth z, with a and b unknown: ``a / z``, ``a / z + b``, ``a z``, ``log(a z)``."""

# How far the nearest thousandth of the pixels may stand out from the others: one speck that seems a hundred times
# nearer than all else must not leave the others a hundredth of the range. Networks' maps stay within 1.05, and maps
# within this bound are converted exactly.
_STANDING_OUT = 2.0
_FEW = 1000


def convert_to_disparity(values: Tensor, kind: DepthKind) -> Tensor:
    """Return the disparity, 0..1, that a depth source's values mean.

    Args:
        values: ``(B, 1, H, W)``, floating-point. Depth is positive; it and its logarithm may be infinite, which is
            the sky.
        kind: What they are, see :data:`DepthKind`.

    Returns:
        ``(B, 1, H, W)``, larger is nearer. What is known up to its scale is divided by its maximum, so that 0 is
        infinitely far; ``"relative_disparity"``, whose 0 means nothing, is stretched to 0..1, and is 0 throughout if
        it is constant. Specks, fewer than a thousandth of the pixels, that stand out by more than the range of all
        others are clipped there. Differentiable.

    Raises:
        ValueError: The kind is unknown, the shape is another, or a value is NaN, infinite where that has no meaning,
            or no positive depth.

    Example:
        >>> depth = torch.tensor([1.0, 2.0, 4.0, float("inf")]).view(1, 1, 1, 4)
        >>> convert_to_disparity(depth, "depth").flatten()
        tensor([1.0000, 0.5000, 0.2500, 0.0000])
        >>> convert_to_disparity(depth.log(), "log_depth").flatten()
        tensor([1.0000, 0.5000, 0.2500, 0.0000])
    """
    check_depth_kind(kind)
    if values.ndim != 4 or values.shape[1] != 1 or values.shape[2:].numel() == 0:
        raise ValueError(f"values have shape {tuple(values.shape)}: expected (B, 1, H, W)")
    if not values.is_floating_point():
        raise ValueError(f"values are {values.dtype}: expected floating-point")
    _check_values(values, kind)
    if kind == "relative_disparity":
        return _stretch(values)
    if kind == "log_depth":
        nearest, few = _find_lowest(values)
        nearest = torch.maximum(nearest, few - math.log(_STANDING_OUT))
        # exp(-x) / max exp(-x), without overflow. A picture of sky alone has no nearest.
        return (torch.where(nearest.isinf(), 0, nearest) - values).clamp(max=0).exp()
    if kind == "depth":
        nearest, few = _find_lowest(values)
        nearest = torch.maximum(nearest, few / _STANDING_OUT)
        return (torch.where(nearest.isinf(), 1, nearest) / values).clamp(max=1)
    values = values.clamp(min=0)
    nearest, few = (-lowest for lowest in _find_lowest(-values))
    nearest = torch.where(few > 0, torch.minimum(nearest, few * _STANDING_OUT), nearest)
    return (values / nearest.clamp(min=torch.finfo(values.dtype).tiny)).clamp(max=1)


def check_depth_kind(kind: str) -> None:
    """Raise unless this is a :data:`DepthKind`.

    Args:
        kind: What a source declares.

    Raises:
        ValueError: It is unknown.

    Example:
        >>> check_depth_kind("depth")
    """
    if kind not in get_args(DepthKind):
        raise ValueError(f"kind is {kind!r}: expected one of {', '.join(get_args(DepthKind))}")


class DepthModel(nn.Module):
    """A network or another source photo → disparity.

    A subclass sets :attr:`kind` and implements :meth:`predict`.

    Example:
        >>> class Flat(DepthModel):
        ...     kind = "depth"
        ...     def predict(self, photo):
        ...         return torch.full_like(photo[:, :1], 3.0)
        >>> Flat()(torch.rand(1, 3, 2, 2)).unique()
        tensor([1.])
    """

    kind: DepthKind
    """What :meth:`predict` returns."""

    _frozen = False

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

    def freeze(self) -> Self:
        """Fixes the weights, and BatchNorm's statistics too when a module that holds this one is trained.

        Gradients still pass through to the photo.

        Returns:
            The model itself.
        """
        self._frozen = True
        return self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Sets training mode; a frozen model stays as it is for inference.

        Args:
            mode: Whether to train.

        Returns:
            The model itself.
        """
        return super().train(mode and not self._frozen)


def _check_values(values: Tensor, kind: DepthKind) -> None:
    low, high = (float(end) for end in values.detach().aminmax()) if values.numel() else (1.0, 1.0)
    if math.isnan(low):  # aminmax hands NaN on
        raise ValueError(f"{int(values.isnan().sum())} of {values.numel()} values are NaN: expected {kind}")
    if kind == "depth" and low <= 0:
        raise ValueError(f"values reach down to {low:g}: expected positive depth")
    if math.isinf(low) and low < 0:
        raise ValueError(f"values reach down to {low:g}: expected finite {kind}")
    if math.isinf(high) and kind not in ("depth", "log_depth"):
        raise ValueError(f"values reach up to {high:g}: expected finite {kind}; only depth may be infinite")


def _stretch(values: Tensor) -> Tensor:
    low, few_low = _find_lowest(values)
    high, few_high = (-lowest for lowest in _find_lowest(-values))
    range_of_most = few_high - few_low
    low = torch.where(range_of_most > 0, torch.maximum(low, few_low - range_of_most), low)
    high = torch.where(range_of_most > 0, torch.minimum(high, few_high + range_of_most), high)
    span = high - low
    return ((values - low) / torch.where(span > 0, span, 1)).clamp(0, 1)


def _find_lowest(values: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest value and the lowest without a thousandth of the pixels, each (B, 1, 1, 1)."""
    pixels = values.flatten(1)
    few = pixels.kthvalue(1 + pixels.shape[1] // _FEW, dim=1).values
    return pixels.amin(1).view(-1, 1, 1, 1), few.view(-1, 1, 1, 1)
