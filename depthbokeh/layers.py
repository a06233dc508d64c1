"""From mask and disparity to signed defocus: where the picture is in focus, and how far off the rest is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .optics import signed_defocus

Focus = float | Tensor | tuple[float, float] | None


def find_focus(
    disparity: Tensor, mask: Tensor | None = None, image: Tensor | None = None, focus: Focus = None
) -> Tensor:
    """The disparity that is in focus.

    Args:
        disparity: ``(B, 1, H, W)``, larger is nearer.
        mask: ``(B, 1, H, W)``, 0..1, the subject.
        image: ``(B, 3, H, W)``, sRGB 0..1, used when neither ``focus`` nor ``mask`` says where to look.
        focus: A disparity (float, or a tensor that broadcasts to ``(B, 1, 1, 1)``), a point ``(x, y)`` in pixels, or
            ``None``: the mean over the mask, or else what is both near and sharp in the image, or the centre.

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
        x, y = focus
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"focus must lie within the picture of {width} x {height} pixels, got ({x:g}, {y:g})")
        # The median of a small window: one wrong pixel must not decide.
        half = max(height, width) // 200
        top, left = max(0, int(y) - half), max(0, int(x) - half)
        window = disparity[:, :, top : int(y) + half + 1, left : int(x) + half + 1]
        return window.flatten(1).median(1).values.view(batch, 1, 1, 1)
    if focus is not None:
        value = torch.as_tensor(focus, dtype=disparity.dtype, device=disparity.device)
        return (value.view(-1, 1, 1, 1) if value.dim() < 4 else value).expand(batch, 1, 1, 1)
    if mask is not None:
        # The clamp keeps an empty mask from dividing by zero; it then focuses on the mean.
        weight = mask + 1e-6
        return (weight * disparity).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)
    if image is not None:
        return _near_and_sharp(disparity, image)
    return disparity[:, :, height // 2, width // 2].view(batch, 1, 1, 1)


def _near_and_sharp(disparity: Tensor, image: Tensor) -> Tensor:
    """The 80 % quantile of disparity, every pixel counting by how much detail there is at it."""
    height, width = disparity.shape[2:]
    # A grid of about 100 000 pixels says as much as all of them; detail is still that between neighbours.
    step = max(1, math.isqrt(height * width // 100_000))
    rows, columns = slice(min(1, height - 1), None, step), slice(min(1, width - 1), None, step)
    picture = image.detach()
    at, above, left = (
        picture[..., rows, columns].mean(1),
        picture[..., : max(1, height - 1) : step, columns].mean(1),
        picture[..., rows, : max(1, width - 1) : step].mean(1),
    )  # (B, h, w)
    detail = (at - above).abs() + (at - left).abs()
    values = disparity[..., rows, columns].flatten(1)  # (B, h * w)
    order = values.argsort(1)
    shares = (detail.flatten(1) + 1e-6).gather(1, order).cumsum(1)
    chosen = (shares < 0.8 * shares[:, -1:]).sum(1, keepdim=True).clamp(max=order.shape[1] - 1)
    return values.gather(1, order.gather(1, chosen)).view(-1, 1, 1, 1)


def fuse_defocus(
    disparity: Tensor | None,
    mask: Tensor | None = None,
    *,
    strength: float | Tensor,
    focus: Focus = None,
    image: Tensor | None = None,
) -> Tensor:
    """Signed defocus from disparity, mask or both.

    With both, the subject takes one disparity, its mean: its edge is the mask's and not the coarse disparity's.
    With the mask alone there are two planes, the subject at disparity 1 and the rest at 0.

    Args:
        disparity: ``(B, 1, H, W)``, larger is nearer; ``None`` if there is a mask.
        mask: ``(B, 1, H, W)``, 0..1, the subject.
        strength: Radius in pixels for every unit of disparity away from the focus; float or broadcastable tensor.
        focus: See :func:`find_focus`.
        image: ``(B, 3, H, W)``, see :func:`find_focus`.

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
    if disparity is None and mask is None:
        raise ValueError("disparity or mask must be given, got neither")
    if disparity is not None and mask is not None and disparity.shape != mask.shape:
        raise ValueError(f"mask must have the disparity's shape {tuple(disparity.shape)}, got {tuple(mask.shape)}")
    if disparity is None:
        assert mask is not None
        return signed_defocus(mask, 1.0 if focus is None else find_focus(mask, focus=focus), strength)
    plane = find_focus(disparity, mask, image, focus)
    if mask is not None:
        disparity = mask * find_focus(disparity, mask) + (1 - mask) * disparity
    return signed_defocus(disparity, plane, strength)
