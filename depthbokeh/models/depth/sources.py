"""Depth that comes from elsewhere: from files, or from any function."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbokeh.files import PhotoError, find_map
from depthbokeh.models.depth.base import DepthKind, DepthModel, check_depth_kind, convert_to_disparity
from depthbokeh.models.inputs import check_photo
from depthbokeh.models.registry import Pretrained, refuse_weights, register_depth_model


def read_disparity_file(
    path: str | os.PathLike[str], kind: DepthKind | None = "disparity", size: tuple[int, int] | None = None
) -> Tensor:
    """Read a depth file as disparity.

    Args:
        path: See :func:`depthbokeh.depth_files.read_depth_values`.
        kind: What its values are. Disparity that lies within 0..1, as that of pictures does, is taken as it is, so
            that the pictures of a series keep their common scale. ``None``: not known; like disparity if it lies within
            0..1, else like relative disparity.
        size: (H, W) to resize to; the aspect ratio must be the same within 5 %.

    Returns:
        ``(1, 1, H, W)`` float32, 0..1, larger is nearer. Resized as disparity, in which the sky is 0 and the mean of
        two pixels lies between them.

    Raises:
        ValueError: ``kind`` is unknown.
        PhotoError: The file cannot be read, its values cannot be what ``kind`` says, or it has another aspect ratio.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/metres.npy", np.array([[2.0, 4.0], [8.0, np.inf]]))
        ...     read_disparity_file(f"{folder}/metres.npy", "depth").flatten()
        tensor([1.0000, 0.5000, 0.2500, 0.0000])
    """
    from depthbokeh.depth_files import read_depth_values
    from depthbokeh.photo import fit_map

    if kind is not None:
        check_depth_kind(kind)
    path = Path(path)
    values = read_depth_values(path)
    if kind not in (None, "disparity") or values.min() < 0 or values.max() > 1:
        try:
            values = convert_to_disparity(values, kind or "relative_disparity")
        except ValueError as error:
            raise PhotoError(f"{path}: {error}") from error
    return values if size is None else fit_map(path, values, size)


class FileDepth(nn.Module):
    """Disparity that was computed before and lies in a file, or in a folder of files with the photos' names.

    Args:
        path: The file, or the folder.
        kind: What its values are, see :func:`read_disparity_file`.

    Raises:
        PhotoError: ``path`` does not exist.
        ValueError: ``kind`` is unknown.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/beach.npy", np.array([[2.0, 4.0]]))
        ...     FileDepth(folder, "depth")(torch.rand(1, 3, 1, 2), names=["beach.jpg"]).flatten()
        tensor([1.0000, 0.5000])
    """

    def __init__(self, path: str | os.PathLike[str], kind: DepthKind = "disparity") -> None:
        super().__init__()
        check_depth_kind(kind)
        self.path = Path(path)
        if not self.path.exists():
            raise PhotoError(f"{self.path}: no such file or folder")
        self.kind = kind

    def forward(
        self,
        photo: Tensor,
        mask: Tensor | None = None,
        *,
        names: Sequence[str | os.PathLike[str]] | None = None,
    ) -> Tensor:
        """Reads the maps of a batch.

        Args:
            photo: ``(B, 3, H, W)``, of which only shape, dtype and device count.
            mask: Not needed.
            names: Of a folder, the photo's path or name for each of the batch.

        Returns:
            Disparity ``(B, 1, H, W)``, 0..1, larger is nearer. A single file serves all of the batch.

        Raises:
            ValueError: The photo has another shape, or names are missing or are not B.
            PhotoError: A file is missing, cannot be read or has another aspect ratio than the photo.
        """
        check_photo(photo)
        batch, _, height, width = photo.shape
        paths = [self.path] * min(batch, 1)
        if self.path.is_dir():
            if names is None or len(names) != batch:
                came = "none" if names is None else len(names)
                raise ValueError(
                    f"names are {came}: expected {batch}, one for each photo, to find its file in the folder "
                    f"{self.path}; a pipeline, which knows no names, is given the map that this returns"
                )
            paths = [find_map(self.path, name) for name in names]
        maps = [read_disparity_file(path, self.kind, (height, width)) for path in paths]
        return torch.cat([photo.new_zeros(0, 1, height, width), *(m.to(photo) for m in maps)]).expand(batch, -1, -1, -1)


class CallableDepth(DepthModel):
    """Disparity from any function of a photo.

    Args:
        function: Photo ``(B, 3, H, W)``, sRGB 0..1, to values ``(B, 1, h, w)`` or ``(B, h, w)``, which are resized to
            the photo. A module becomes a part of this one.
        kind: What the values are.

    Raises:
        ValueError: ``kind`` is unknown.

    Example:
        >>> model = CallableDepth(lambda photo: 1 + photo.mean(1), "depth")
        >>> model(torch.tensor([0.0, 1.0, 3.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)).flatten()
        tensor([1.0000, 0.5000, 0.2500])
    """

    def __init__(self, function: Callable[[Tensor], Tensor], kind: DepthKind) -> None:
        super().__init__()
        check_depth_kind(kind)
        self.function = function
        self.kind = kind

    def predict(self, photo: Tensor) -> Tensor:
        """Return the function's values ``(B, 1, H, W)`` of a photo ``(B, 3, H, W)``.

        Raises:
            ValueError: They have another shape or are no floating-point tensor.
        """
        values = self.function(photo)
        if not isinstance(values, Tensor) or not values.is_floating_point():
            came = values.dtype if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"function returned {came}: expected a floating-point tensor")
        shape = tuple(values.shape)
        if values.ndim == 3:
            values = values[:, None]
        if values.ndim != 4 or values.shape[:2] != (photo.shape[0], 1) or values.shape[2:].numel() == 0:
            raise ValueError(f"function returned shape {shape}: expected ({photo.shape[0]}, 1, H, W) or (B, H, W)")
        return resize_values(values, photo, self.kind)


def resize_values(values: Tensor, photo: Tensor, kind: DepthKind) -> Tensor:
    """Resize a source's values to its photo.

    Args:
        values: ``(B, 1, h, w)``.
        photo: ``(B, 3, H, W)``.
        kind: What the values are. Depth is resized as disparity, in which infinity is 0.

    Returns:
        ``(B, 1, H, W)`` with the photo's dtype and device, differentiable.
    """
    values = values.to(photo)
    if values.shape[2:] == photo.shape[2:]:
        return values
    if kind == "depth":
        return F.interpolate(values.reciprocal(), photo.shape[2:], mode="bilinear", antialias=True).reciprocal()
    return F.interpolate(values, photo.shape[2:], mode="bilinear", antialias=True)


@register_depth_model("from_file")
def from_file(
    *, path: str | os.PathLike[str], kind: DepthKind = "disparity", pretrained: Pretrained = False
) -> FileDepth:
    """Build a :class:`FileDepth`, which has nothing to load."""
    refuse_weights("from_file", pretrained)
    return FileDepth(path, kind)


@register_depth_model("from_callable")
def from_callable(
    *, function: Callable[[Tensor], Tensor], kind: DepthKind, pretrained: Pretrained = False
) -> CallableDepth:
    """Build a :class:`CallableDepth`, whose function has its own weights."""
    refuse_weights("from_callable", pretrained)
    return CallableDepth(function, kind)
