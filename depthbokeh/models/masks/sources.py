"""Masks that come from elsewhere: from files, or from any function."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from depthbokeh.files import PhotoError, find_map
from depthbokeh.models.inputs import check_photo
from depthbokeh.models.masks.base import MaskModel
from depthbokeh.models.masks.selection import keep_subject
from depthbokeh.models.registry import Pretrained, refuse_weights, register_mask_model

_ROUNDING = 1e-3  # by which a function may miss 0..1


class FileMask(MaskModel):
    """A mask that was made before and lies in a file, or in a folder of files with the photos' names.

    Args:
        path: The file or the folder; files as for :func:`depthbokeh.photo.read_map`, 0..1.

    Raises:
        PhotoError: ``path`` does not exist.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/beach.npy", np.array([[0.0, 1.0]]))
        ...     FileMask(folder)(torch.rand(1, 3, 1, 2), names=["photos/beach.jpg"]).flatten()
        tensor([0., 1.])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path)
        if not self.path.exists():
            raise PhotoError(f"{self.path}: no such file or folder")

    def forward(
        self,
        photo: Tensor,
        box: Tensor | Sequence[float] | None = None,
        point: Tensor | Sequence[float] | None = None,
        *,
        names: Sequence[str | os.PathLike[str]] | None = None,
    ) -> Tensor:
        """Reads the masks of a batch.

        Args:
            photo: ``(B, 3, H, W)``, of which only shape, dtype and device count.
            box: See :class:`MaskModel`.
            point: See :class:`MaskModel`.
            names: Of a folder, the photo's path or name for each of the batch.

        Returns:
            Mask ``(B, 1, H, W)``, 0..1. A single file serves all of the batch.

        Raises:
            ValueError: The photo has another shape, or names are missing or are not B.
            PhotoError: A file is missing, cannot be read, leaves 0..1 or has another aspect ratio than the photo.
        """
        check_photo(photo)
        paths = [self.path]
        if self.path.is_dir():
            if names is None or len(names) != len(photo):
                came = "none" if names is None else len(names)
                raise ValueError(
                    f"names are {came}: expected {len(photo)}, one for each photo, to find its file in the folder "
                    f"{self.path}; a pipeline, which knows no names, is given the mask that this returns"
                )
            paths = [find_map(self.path, name) for name in names]
        masks = [photo.new_zeros(0, 1, *photo.shape[2:]), *(_read_mask(path, photo) for path in paths)]
        return keep_subject(torch.cat(masks).expand(len(photo), -1, -1, -1), box, point)

    def predict(self, photo: Tensor) -> Tensor:
        """Return the mask ``(B, 1, H, W)`` of the single file."""
        mask: Tensor = self(photo)
        return mask


class CallableMask(MaskModel):
    """The mask that any function finds in a photo.

    Args:
        function: Photo ``(B, 3, H, W)``, sRGB 0..1, to mask ``(B, 1, h, w)`` or ``(B, h, w)``, 0..1 or boolean, which
            is resized to the photo. A module becomes a part of this one.

    Example:
        >>> model = CallableMask(lambda photo: photo.mean(1) > 0.5)
        >>> model(torch.tensor([0.2, 0.6]).view(1, 1, 1, 2).expand(1, 3, 1, 2)).flatten()
        tensor([0., 1.])
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def predict(self, photo: Tensor) -> Tensor:
        """Return the function's mask ``(B, 1, H, W)`` of a photo ``(B, 3, H, W)``.

        Raises:
            ValueError: It is no such mask.
        """
        mask = self.function(photo)
        if not isinstance(mask, Tensor) or not (mask.is_floating_point() or mask.dtype == torch.bool):
            came = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"function returned {came}: expected a floating-point or boolean tensor")
        shape, mask = tuple(mask.shape), mask.to(photo)
        if mask.ndim == 3:
            mask = mask[:, None]
        if mask.ndim != 4 or mask.shape[:2] != (len(photo), 1) or 0 in mask.shape[2:]:
            raise ValueError(
                f"function returned shape {shape}: expected ({len(photo)}, 1, H, W) or ({len(photo)}, H, W)"
            )
        if mask.numel() and not bool(((mask >= -_ROUNDING) & (mask <= 1 + _ROUNDING)).all()):
            raise ValueError(f"function returned {_describe_range(mask)}: expected 0..1")
        return resize_mask(mask, photo).clamp(0, 1)


def resize_mask(mask: Tensor, photo: Tensor) -> Tensor:
    """Return a mask ``(B, 1, h, w)`` in the size, dtype and device of its photo ``(B, 3, H, W)``; differentiable."""
    mask = mask.to(photo)
    if mask.shape[2:] == photo.shape[2:]:
        return mask
    return F.interpolate(mask, photo.shape[2:], mode="bilinear", antialias=True)


@register_mask_model("from_file")
def from_file(*, path: str | os.PathLike[str], pretrained: Pretrained = False) -> FileMask:
    """Build a :class:`FileMask`, which has nothing to load."""
    refuse_weights("from_file", pretrained)
    return FileMask(path)


@register_mask_model("from_callable")
def from_callable(*, function: Callable[[Tensor], Tensor], pretrained: Pretrained = False) -> CallableMask:
    """Build a :class:`CallableMask`, whose function has its own weights."""
    refuse_weights("from_callable", pretrained)
    return CallableMask(function)


def _read_mask(path: Path, photo: Tensor) -> Tensor:
    """The mask (1, 1, H, W) in the size of its photo."""
    from depthbokeh.photo import read_map

    mask = read_map(path, (photo.shape[2], photo.shape[3]))
    if mask.min() < 0 or mask.max() > 1:
        raise PhotoError(f"{path}: {_describe_range(mask)}, expected a mask, 0..1")
    return mask.to(photo)


def _describe_range(mask: Tensor) -> str:
    values = mask.detach().float()
    return f"values of {float(values.min()):g} to {float(values.max()):g}"
