"""What every model checks and prepares of the photo it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Box: TypeAlias = tuple[float, float, float, float]
"""``(x, y, width, height)`` in pixels."""

Point: TypeAlias = tuple[float, float]
"""``(x, y)`` in pixels."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def check_photo(photo: Tensor) -> None:
    """Raise unless this is a batch of photos.

    Args:
        photo: ``(B, 3, H, W)``, floating-point, sRGB 0..1.

    Raises:
        ValueError: It has another shape or dtype.
    """
    if photo.ndim != 4 or photo.shape[1] != 3 or photo.shape[2:].numel() == 0:
        raise ValueError(f"photo has shape {tuple(photo.shape)}: expected (B, 3, H, W)")
    if not photo.is_floating_point():
        raise ValueError(f"photo is {photo.dtype}: expected floating-point, sRGB 0..1")


def check_boxes(box: Tensor | Sequence[float], batch: int, height: int, width: int) -> list[Box]:
    """Return a box for each photo, clipped to the frame.

    Args:
        box: ``(x, y, width, height)`` in pixels for all photos, or a tensor ``(B, 4)`` with one for each.
        batch: B.
        height: H.
        width: W.

    Raises:
        ValueError: The shape is another, or a box has nothing in the frame.

    Examples:
        >>> check_boxes((-2, 1, 5, 3), 1, 10, 10)
        [(0.0, 1.0, 3.0, 3.0)]
    """
    boxes = torch.as_tensor(box, dtype=torch.float64, device="cpu")
    if boxes.shape not in ((4,), (batch, 4)):
        raise ValueError(f"box has shape {tuple(boxes.shape)}: expected (4,) or ({batch}, 4), x, y, w, h")
    checked = []
    for x, y, w, h in boxes.expand(batch, 4).tolist():
        left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
        if not (left < right and top < bottom):
            raise ValueError(
                f"box is {(x, y, w, h)}: expected (x, y, w, h) in pixels, inside the {width} x {height} photo"
            )
        checked.append((left, top, right - left, bottom - top))
    return checked


def check_points(point: Tensor | Sequence[float], batch: int, height: int, width: int) -> list[Point]:
    """Return a point for each photo.

    Args:
        point: ``(x, y)`` in pixels for all photos, or a tensor ``(B, 2)`` with one for each.
        batch: B.
        height: H.
        width: W.

    Raises:
        ValueError: The shape is another, or a point lies outside the frame.

    Examples:
        >>> check_points((3, 4.5), 2, 10, 10)
        [(3.0, 4.5), (3.0, 4.5)]
    """
    points = torch.as_tensor(point, dtype=torch.float64, device="cpu")
    if points.shape not in ((2,), (batch, 2)):
        raise ValueError(f"point has shape {tuple(points.shape)}: expected (2,) or ({batch}, 2), x, y")
    checked = []
    for x, y in points.expand(batch, 2).tolist():
        if not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(f"point is {(x, y)}: expected (x, y) in pixels, inside the {width} x {height} photo")
        checked.append((x, y))
    return checked


def normalize_photo(
    photo: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """Subtract the mean of a network's training photos and divide by their standard deviation.

    Args:
        photo: ``(B, 3, H, W)``, sRGB 0..1.
        mean: One value per channel.
        std: One value per channel.

    Returns:
        ``(B, 3, H, W)``.

    Examples:
        >>> normalize_photo(torch.full((1, 3, 1, 1), 0.5), (0.5, 0.5, 0.25), (0.5, 0.5, 0.5)).flatten()
        tensor([0.0000, 0.0000, 0.5000])
    """
    return (photo - photo.new_tensor(mean).view(3, 1, 1)) / photo.new_tensor(std).view(3, 1, 1)


def pad_to_multiple(photo: Tensor, multiple: int) -> Tensor:
    """Continue a picture at the right and at the bottom until its sides are multiples.

    Args:
        photo: ``(B, C, H, W)``.
        multiple: What height and width are to be multiples of.

    Returns:
        ``(B, C, H', W')``; the border is repeated.

    Examples:
        >>> pad_to_multiple(torch.rand(1, 3, 17, 32), 16).shape
        torch.Size([1, 3, 32, 32])
    """
    down, right = (-photo.shape[2] % multiple, -photo.shape[3] % multiple)
    return F.pad(photo, (0, right, 0, down), mode="replicate") if down or right else photo
