"""One pair, from the files of a data set to files to train on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..files import PhotoError, atomic_path
from ..models.choice import choose_depth_model, choose_mask_model
from ..optics import normalize_disparity
from ..photo import read_map, read_photo, write_photo
from .align import Alignment, align_pair, apply_alignment
from .records import PairRecord

_SMALLEST = 32  # pixels of a side
_ASPECT = 0.02  # by which the sides of the two pictures may differ in proportion
_QUALITY = 95
_COPIED = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class PrepareSettings:
    """What is done to every pair.

    Attributes:
        height: What is at least this high becomes exactly so high, pixels.
        align: Whether bokeh pictures are moved onto their photos where that helps.
        depth_model: Model for the disparity maps, see :func:`depthbokeh.models.choice.choose_depth_model`; ``None``
            takes the data set's own where it has them, and ``"auto"`` elsewhere.
        mask_model: The same for masks.
        depth_weights: Checkpoint of the depth model instead of the published one.
        mask_weights: The same for the mask model.

    Raises:
        ValueError: If the height is below 32.
    """

    height: int = 1024
    align: bool = True
    depth_model: str | None = None
    mask_model: str | None = None
    depth_weights: Path | None = None
    mask_weights: Path | None = None

    def __post_init__(self) -> None:
        if self.height < _SMALLEST:
            raise ValueError(f"height must be at least {_SMALLEST}, got {self.height}")


# Once in every process, and only where a pair needs it.
@lru_cache(maxsize=1)
def load_depth_model(settings: PrepareSettings) -> tuple[nn.Module, str | None]:
    """Returns the depth model, and a line for the user if it is only what is left without weights."""
    return choose_depth_model(settings.depth_model or "auto", settings.depth_weights)


@lru_cache(maxsize=1)
def load_mask_model(settings: PrepareSettings) -> tuple[nn.Module, str | None]:
    """The same for the mask model."""
    return choose_mask_model(settings.mask_model or "auto", settings.mask_weights)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A pair as it will be written; a picture that does not change is its file."""

    original: Tensor | Path
    bokeh: Tensor | Path
    disparity: Tensor
    mask: Tensor
    record: dict[str, Any]


def prepare_pair(pair: PairRecord, folder: Path, settings: PrepareSettings) -> dict[str, Any]:
    """Checks, aligns, crops and resizes a pair, makes its maps and writes all of that.

    Args:
        pair: Where it lies. Nothing is written there.
        folder: Has the folders ``original``, ``bokeh``, ``disparity`` and ``mask``, which the files are written to;
            files of the same names are replaced.
        settings: What is done.

    Returns:
        The record for the manifest: ``fate`` is ``"kept"`` or ``"rejected"``, ``reason`` says why.

    Raises:
        PhotoError: If a file cannot be written. A pair that is unfit is a fate, not an error.
    """
    try:
        prepared = _prepare(pair, settings)
    except (PhotoError, ValueError) as error:
        return {"fate": "rejected", "reason": str(error)}
    for kind, picture in (("original", prepared.original), ("bokeh", prepared.bokeh)):
        if isinstance(picture, Path):
            suffix = picture.suffix.lower().replace("jpeg", "jpg")
            with atomic_path(folder / kind / f"{pair.id}{suffix}", overwrite=True) as path:
                shutil.copyfile(picture, path)
        else:
            write_photo(folder / kind / f"{pair.id}.jpg", picture, quality=_QUALITY, overwrite=True)
    for kind, plane in (("disparity", prepared.disparity), ("mask", prepared.mask)):
        write_photo(folder / kind / f"{pair.id}.png", plane, bits=16, overwrite=True)
    return prepared.record


@torch.no_grad()
def _prepare(pair: PairRecord, settings: PrepareSettings) -> _Prepared:
    photo, bokeh, resized = _read_pair(pair)
    height, width = photo.shape[2:]
    alignment = align_pair(photo, bokeh) if settings.align else _as_it_is(height, width)
    left, top, across, down = alignment.crop
    size = (down, across)
    if height >= settings.height:
        size = (settings.height, round(across * settings.height / down))
    if min(size) < _SMALLEST:
        raise PhotoError(f"{size[1]} x {size[0]} pixels are left, expected at least {_SMALLEST} of each side")
    still = np.eye(3)
    cut = apply_alignment(photo, still, alignment.crop, size)
    untouched = alignment.kind == "none" and size == (height, width)
    copied = [untouched and path.suffix.lower() in _COPIED for path in (pair.original, pair.bokeh)]
    mask, mask_source = _make_mask(pair, cut, alignment, (height, width), settings)
    disparity, disparity_source = _make_disparity(pair, cut, mask, alignment, (height, width), settings)
    record = {
        "fate": "kept",
        "alignment": alignment.kind,
        "reason": alignment.reason,
        "matches": alignment.matches,
        "inliers": alignment.inliers,
        "error_before": round(alignment.error_before, 5) if settings.align else None,
        "error_after": round(alignment.error_after, 5) if settings.align else None,
        "matrix": alignment.matrix.tolist(),
        "crop": [left, top, across, down],
        "width": size[1],
        "height": size[0],
        "disparity": disparity_source,
        "mask": mask_source,
        "values": _scale_values(pair, size[0] / down, disparity_source),
    }
    return _Prepared(
        original=pair.original if copied[0] else cut,
        bokeh=pair.bokeh
        if copied[1] and not resized
        else apply_alignment(bokeh, alignment.matrix, alignment.crop, size),
        disparity=disparity,
        mask=mask,
        record=record,
    )


def _read_pair(pair: PairRecord) -> tuple[Tensor, Tensor, bool]:
    """Both pictures at the photo's size, and whether the bokeh picture had another.

    Raises:
        PhotoError: If one cannot be read to its end, or they are no pair.
    """
    photo, bokeh = read_photo(pair.original).image, read_photo(pair.bokeh).image
    height, width = photo.shape[2:]
    other_height, other_width = bokeh.shape[2:]
    sizes = f"{width} x {height} and {other_width} x {other_height} pixels"
    if abs(width * other_height / (height * other_width) - 1) > _ASPECT:
        raise PhotoError(f"{sizes}, expected the same proportions")
    if min(height, width) < _SMALLEST:
        raise PhotoError(f"{sizes}, expected at least {_SMALLEST} of each side")
    for name, picture in (("original", photo), ("bokeh", bokeh)):
        low, high = picture.aminmax()
        if high - low < 2 / 255:
            raise PhotoError(f"the {name} picture has one colour")
    resized = bokeh.shape != photo.shape
    if resized:
        bokeh = nn.functional.interpolate(bokeh, (height, width), mode="bilinear", antialias=True)
    elif torch.equal(photo, bokeh):
        raise PhotoError("the two pictures are the same")
    return photo, bokeh, resized


def _make_mask(
    pair: PairRecord, photo: Tensor, alignment: Alignment, size: tuple[int, int], settings: PrepareSettings
) -> tuple[Tensor, str]:
    """The data set's own mask, or a model's, and which."""
    if pair.mask and not settings.mask_model:
        return _cut_map(read_map(pair.mask, size).clamp(0, 1), photo, alignment), "source"
    model, _ = load_mask_model(settings)
    return model(photo), type(model).__name__


def _make_disparity(
    pair: PairRecord,
    photo: Tensor,
    mask: Tensor,
    alignment: Alignment,
    size: tuple[int, int],
    settings: PrepareSettings,
) -> tuple[Tensor, str]:
    """The data set's own disparity, or a model's, and which."""
    if pair.disparity and not settings.depth_model:
        disparity = read_map(pair.disparity, size)
        if disparity.min() < 0 or disparity.max() > 1:
            disparity = normalize_disparity(disparity)
        return _cut_map(disparity, photo, alignment), "source"
    model, _ = load_depth_model(settings)
    return model(photo, mask), type(model).__name__


def _cut_map(plane: Tensor, photo: Tensor, alignment: Alignment) -> Tensor:
    return apply_alignment(plane, np.eye(3), alignment.crop, (photo.shape[2], photo.shape[3]))


def _scale_values(pair: PairRecord, scale: float, disparity_source: str) -> dict[str, float]:
    """What is known of the pair after it was resized; strength and focus go with the data set's own disparity."""
    values = dict(pair.values)
    if disparity_source != "source":
        return {key: value for key, value in values.items() if key not in ("strength", "focus")}
    if "strength" in values:
        values["strength"] *= scale
    return values


def _as_it_is(height: int, width: int) -> Alignment:
    return Alignment("none", np.eye(3), 0, 0, float("nan"), float("nan"), (0, 0, width, height), "not looked for")
