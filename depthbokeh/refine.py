"""Coarse disparity moved to where the picture has its edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .windows import local_max, local_min

# By default edges may lie off by this share of the longer side: MegaDepth's do.
_REACH = 1 / 48
# At every size edges move by about so many pixels, in a window of so many, so many times.
_STEP, _WINDOW, _ROUNDS = 2, 9, 2
# Standard deviations of the window's weights: of the distance in pixels, of the difference in colour (sum over RGB).
_SIGMA_SPACE, _SIGMA_COLOR = 3.0, 0.05
# Disparity that spans this share of its whole range within a step is near an edge and says little, but not nothing.
_UNSURE, _LEAST = 0.1, 1e-4
# A picture of more pixels takes the edges as they come from half its size.
_MOST_PIXELS = 4_000_000


def refine_disparity(disparity: Tensor, image: Tensor, *, reach: float | None = None) -> Tensor:
    """Moves the edges of a coarse disparity to those of the picture.

    Depth networks of low resolution place edges some pixels off, and softly. From coarse to fine, what lies near an
    edge of the disparity is forgotten and filled in from what is sure around it and has the picture's colour there:
    a joint bilateral filter (Petschnigg et al., Digital photography with flash and no-flash image pairs, 2004), its
    values weighted by how sure they are.

    This is for coarse disparity. Where edges lie within a pixel already, as those of exact disparity or of a network
    of high resolution do, texture pulls them away and the result is worse than the input.

    Args:
        disparity: ``(B, 1, H, W)``, any range.
        image: ``(B, 3, H, W)``, sRGB 0..1.
        reach: How far edges may lie off, pixels; at least 1, by default 1/48 of the longer side.

    Returns:
        ``(B, 1, H, W)``, within the disparity's range. Differentiable in disparity and image.

    Raises:
        ValueError: If a shape does not fit or reach is below 1.

    Example:
        >>> image = torch.zeros(1, 3, 32, 48)
        >>> image[..., 20:] = 1
        >>> coarse = torch.zeros(1, 1, 32, 48)
        >>> coarse[..., 18:] = 1
        >>> refined = refine_disparity(coarse, image, reach=2)
        >>> (refined[0, 0, 16] > 0.5).float().argmax().item()
        20
    """
    _check(disparity, image)
    reach = max(1.0, _REACH * max(disparity.shape[2:])) if reach is None else reach
    if not 1 <= reach <= max(disparity.shape[2:]):
        raise ValueError(f"reach must be 1 to the picture's longer side {max(disparity.shape[2:])}, got {reach}")
    low, high = disparity.amin((2, 3), keepdim=True), disparity.amax((2, 3), keepdim=True)
    # What is the same everywhere stays the same.
    span = torch.where(high > low, high - low, 1)
    with torch.autocast(disparity.device.type, enabled=False):
        height = (disparity - low) / span
        wide = torch.promote_types(torch.float32, disparity.dtype)
        refined = _refine(height.to(wide), image.to(wide), reach).to(disparity.dtype)
    return low + span * refined


def _refine(disparity: Tensor, image: Tensor, reach: float) -> Tensor:
    """The same for disparity that spans 0..1."""
    height, width = disparity.shape[2:]
    if reach > _STEP and max(height, width) > _WINDOW:
        size = (-(-height // 2), -(-width // 2))
        small, photo = (F.interpolate(values, size, mode="bilinear", antialias=True) for values in (disparity, image))
        disparity = F.interpolate(_refine(small, photo, reach / 2), (height, width), mode="bilinear")
    for _ in range(_ROUNDS if height * width <= _MOST_PIXELS else 0):
        disparity = _fill_edges(disparity, image)
    return disparity


def _fill_edges(disparity: Tensor, image: Tensor) -> Tensor:
    """Means over a window, of what is sure and of the same colour."""
    # Loads slowly, and only who refines should wait for it.
    from kornia.filters import joint_bilateral_blur

    span = local_max(disparity, _STEP) - local_min(disparity, _STEP)
    sure = torch.exp(-((span / _UNSURE) ** 2)) + _LEAST
    sums: Tensor = joint_bilateral_blur(
        torch.cat([disparity * sure, sure], 1),
        image,
        _WINDOW,
        _SIGMA_COLOR,
        (_SIGMA_SPACE, _SIGMA_SPACE),
        border_type="replicate",
    )
    return sums[:, :1] / sums[:, 1:]


def _check(disparity: Tensor, image: Tensor) -> None:
    if disparity.dim() != 4 or disparity.shape[1] != 1 or not disparity.is_floating_point():
        raise ValueError(
            f"disparity must be (B, 1, H, W) floating point, got {tuple(disparity.shape)} {disparity.dtype}"
        )
    expected = (disparity.shape[0], 3, *disparity.shape[2:])
    if tuple(image.shape) != expected or not image.is_floating_point():
        raise ValueError(f"image must be {expected} floating point, got {tuple(image.shape)} {image.dtype}")
