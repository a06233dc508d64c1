"""Large photos in overlapping tiles: the layout of the whole from a reduced photo, detail from the tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbokeh.models.depth.base import DepthModel
from depthbokeh.models.inputs import check_photo
from depthbokeh.models.masks.base import MaskModel
from depthbokeh.models.masks.selection import keep_subject

Alignment: TypeAlias = Literal["scale_and_shift", "scale", "none"]
"""What is unknown of a map of a part when it is compared with the map of the whole."""


class TiledModel(nn.Module):
    """A mask or depth model that sees a large photo as a whole and in parts.

    For inference: no gradient passes, so that only one part is in memory at a time. A photo whose longer side is at
    most ``size`` is handed to the model as it is, still without gradients.

    Args:
        model: The model. Depth of known zero is aligned by scale, relative disparity by scale and shift, masks not.
        size: Pixels of the longer side of the reduced photo, and of the tiles' sides. Good is the size that the network
            works at: more memory is not taken for any photo.
        overlap: Of neighbouring tiles, as a part of their side.

    Raises:
        ValueError: ``size`` or ``overlap`` is out of range.

    Example:
        >>> from depthbokeh.models import create_depth_model
        >>> model = TiledModel(create_depth_model("megadepth", input_mode="full").eval(), size=48)
        >>> model(torch.rand(1, 3, 40, 80)).shape
        torch.Size([1, 1, 40, 80])
    """

    def __init__(self, model: MaskModel | DepthModel, size: int = 768, overlap: float = 0.25) -> None:
        super().__init__()
        _check_tiles(size, overlap)
        self.model = model
        self.size = size
        self.overlap = overlap

    @torch.no_grad()
    def forward(
        self,
        photo: Tensor,
        *arguments: Tensor | Sequence[float] | None,
        **named: Tensor | Sequence[float] | None,
    ) -> Tensor:
        """Estimates the map of a photo.

        Args:
            photo: ``(B, 3, H, W)``, sRGB 0..1.
            *arguments: What the model takes beside the photo; a mask model's box and point, in pixels of the photo,
                choose from the mask of the whole photo.
            **named: The same, by name.

        Returns:
            Mask or disparity ``(B, 1, H, W)``, 0..1, with the photo's dtype and device.

        Raises:
            ValueError: The photo has another shape or is not floating-point.
        """
        check_photo(photo)
        if isinstance(self.model, MaskModel):
            mask = predict_tiled(self.model.predict, photo, "none", size=self.size, overlap=self.overlap)
            return keep_subject(mask.clamp(0, 1), *arguments, **named)
        align: Alignment = "scale_and_shift" if self.model.kind == "relative_disparity" else "scale"
        disparity = predict_tiled(self.model, photo, align, size=self.size, overlap=self.overlap)
        return disparity.clamp(0, 1)


def gains_from_tiles(model: nn.Module | None) -> bool:
    """Whether a model shows more in parts of a photo than in the whole.

    So do networks. A model that tells instances apart must see them whole; maps from files and what needs no weights
    have no resolution of their own.

    Example:
        >>> from depthbokeh.models import create_depth_model, create_mask_model
        >>> gains_from_tiles(create_depth_model("megadepth")), gains_from_tiles(create_mask_model("grabcut"))
        (True, False)
    """
    if isinstance(model, MaskModel):
        return type(model).forward is MaskModel.forward
    return isinstance(model, DepthModel)


@torch.no_grad()
def predict_tiled(
    predict: Callable[[Tensor], Tensor], photo: Tensor, align: Alignment, *, size: int = 768, overlap: float = 0.25
) -> Tensor:
    """Predicts a map of the reduced photo and of overlapping tiles, and joins them without seams.

    Each tile's map is brought to the map of the whole by least squares, both at the resolution of the reduced photo:
    detail that only the tile shows must not lower its contrast. It then counts as far as it explains the whole's map
    (the coefficient of determination, 0..1): in the middle of a wall or of the sky a network sees no context, and where
    its map contradicts the whole's, the whole's stays. Tiles fade into each other along their overlaps.

    Args:
        predict: Photo ``(B, 3, h, w)`` to map ``(B, 1, h, w)``, for any size of at most ``size``.
        photo: ``(B, 3, H, W)``.
        align: What is fitted for every tile: scale and shift, scale alone, or nothing. Scales are not negative.
        size: Pixels of the longer side of the reduced photo and, at most, of the tiles' sides.
        overlap: Of neighbouring tiles, as a part of their side, above 0 and at most 0.5.

    Returns:
        ``(B, 1, H, W)``, without gradient. Memory beyond ``predict``'s is a few maps of the photo's size.

    Raises:
        ValueError: ``align`` is unknown, or ``size`` or ``overlap`` is out of range.

    Example:
        >>> photo = torch.rand(1, 3, 40, 90)
        >>> joined = predict_tiled(lambda part: part.mean(1, keepdim=True), photo, "none", size=32)
        >>> joined.shape
        torch.Size([1, 1, 40, 90])
    """
    if align not in get_args(Alignment):
        raise ValueError(f"align is {align!r}: expected one of {', '.join(get_args(Alignment))}")
    _check_tiles(size, overlap)
    height, width = photo.shape[2:]
    if max(height, width) <= size:
        return predict(photo)
    scale = size / max(height, width)
    reduced = (max(1, round(height * scale)), max(1, round(width * scale)))
    whole = _resize(predict(_resize(photo, reduced)), (height, width))  # (B, 1, H, W)
    total, weights = torch.zeros_like(whole), whole.new_zeros(height, width)
    for rows, row_window in _cut(height, size, overlap):
        for columns, column_window in _cut(width, size, overlap):
            window = (row_window[:, None] * column_window).to(whole)
            tile = predict(photo[:, :, rows, columns])
            target = whole[:, :, rows, columns]
            total[:, :, rows, columns] += window * _align(tile.to(whole), target, align, scale)
            weights[rows, columns] += window
    return total / weights


def _align(tile: Tensor, whole: Tensor, align: Alignment, scale: float) -> Tensor:
    """The tile's map at the whole's scale, as far as the two agree."""
    coarse = tuple(max(1, round(side * scale)) for side in tile.shape[2:])
    few, target = (_resize(values, coarse).flatten(1).double() for values in (tile, whole))  # (B, N)
    if align == "scale_and_shift":
        centre, level = few.mean(1, keepdim=True), target.mean(1, keepdim=True)
    else:
        centre = level = torch.zeros_like(few[:, :1])
    deviation = few - centre
    power = deviation.square().sum(1, keepdim=True)
    factor = torch.ones_like(power)
    if align != "none":
        fitted = (deviation * (target - level)).sum(1, keepdim=True) / power.clamp(min=torch.finfo(power.dtype).tiny)
        factor = fitted.clamp(min=0)
    left = (level + factor * deviation - target).square().mean(1)
    # Differences of a thousandth of the range are rounding, not relief that a tile could contradict or explain.
    spread = target.var(1, correction=0)
    agreement = (1 - left / spread.clamp(min=1e-6)).clamp(min=0)
    factor, centre, level = (value.view(-1, 1, 1, 1).to(tile) for value in (factor, centre, level))
    aligned = level + factor * (tile - centre)
    return whole + agreement.view(-1, 1, 1, 1).to(tile) * (aligned - whole)


def _cut(length: int, size: int, overlap: float) -> Iterator[tuple[slice, Tensor]]:
    """Evenly spaced parts of a line with windows that are 1 at its ends and fall smoothly over the overlaps."""
    size = min(size, length)
    step = max(1, int(size * (1 - overlap)))
    gaps = -(-(length - size) // step)
    starts = [round(index * (length - size) / gaps) for index in range(gaps + 1)] if gaps else [0]
    position = torch.arange(size, dtype=torch.float32) + 0.5
    for index, start in enumerate(starts):
        window = torch.ones(size)
        if index > 0:
            window = window * _rise(position / (starts[index - 1] + size - start))
        if index < gaps:
            window = window * _rise((size - position) / (start + size - starts[index + 1]))
        yield slice(start, start + size), window


def _rise(ramp: Tensor) -> Tensor:
    """From 0 to 1 with level ends."""
    ramp = ramp.clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _resize(picture: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(picture, tuple(size), mode="bilinear", antialias=True)


def _check_tiles(size: int, overlap: float) -> None:
    if size < 2:
        raise ValueError(f"size is {size}: expected pixels, at least 2")
    if not 0 < overlap <= 0.5:
        raise ValueError(f"overlap is {overlap}: expected a part of a tile's side, 0 < overlap <= 0.5")
