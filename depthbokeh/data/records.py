"""Pairs on disk, and how files of folders are put together by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..files import PhotoError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
MAP_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".jpg", ".jpeg", ".webp")
PARTS = ("Training", "training", "train", "test", "validation", "val")
# Where maps lie beside the pictures; of several the first is taken.
_DISPARITY_FOLDERS = ("disparity", "coarse_disparity", "original_depth", "depth")
_MASK_FOLDERS = ("mask", "focal")


@dataclass(frozen=True)
class PairRecord:
    """Where one pair lies and what is known of it.

    Attributes:
        id: Name within its part, such as ``"4400"``.
        part: Folder that the data set is divided into, such as ``"train"``; empty if it is not.
        original: The picture all in focus.
        bokeh: The same through an open lens.
        disparity: Map in which bright is near, if there is one.
        mask: Mask of the subject, if there is one.
        values: What is known in numbers: ``f_number`` of the bokeh picture, ``original_f_number``, ``focal_length_mm``,
            ``focus_distance_m``, ``strength`` (pixels of the picture for a disparity of 1) and ``focus`` (a disparity).
    """

    id: str
    part: str
    original: Path
    bokeh: Path
    disparity: Path | None = None
    mask: Path | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name within the data set, with the part."""
        return f"{self.part}/{self.id}" if self.part else self.id


@dataclass(frozen=True)
class Listing:
    """The pairs of a data set.

    Attributes:
        layout: Name of the layout they were found in.
        pairs: Sorted by part and number.
        unpaired: Pictures without a partner.
    """

    layout: str
    pairs: tuple[PairRecord, ...]
    unpaired: tuple[Path, ...] = ()


def existing_parts(root: Path, parts: Iterable[str] = PARTS) -> Iterator[tuple[str, Path]]:
    """Parts of a data set that are there, each once even if names differ in case only."""
    seen: set[Path] = set()
    for part in parts:
        folder = subfolder(root, part)
        if folder and folder not in seen:
            seen.add(folder)
            yield (folder.name if part else ""), folder


def index_maps(folder: Path, disparity: str | None) -> tuple[dict[str, Path], dict[str, Path]]:
    """Disparity maps and masks by name, from folders beside the pictures' folders.

    Raises:
        PhotoError: If the folder that disparity is to be taken from is missing.
    """
    if disparity is not None and not subfolder(folder, disparity):
        raise PhotoError(f"{folder / disparity}: no such folder, expected disparity maps")
    names = (disparity,) if disparity else _DISPARITY_FOLDERS
    depths = next((found for name in names if (found := subfolder(folder, name))), None)
    masks = next((found for name in _MASK_FOLDERS if (found := subfolder(folder, name))), None)
    return index_pictures(depths, MAP_SUFFIXES), index_pictures(masks, MAP_SUFFIXES)


def index_pictures(folder: Path | None, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files of a folder by their names without the ending, which may be in capitals."""
    if folder is None:
        return {}
    files = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return {path.stem: path for path in files if path.suffix.lower() in suffixes}


def sort_pairs(pairs: Iterable[PairRecord]) -> tuple[PairRecord, ...]:
    """By part, numbers by their value."""
    return tuple(sorted(pairs, key=lambda pair: (pair.part, not pair.id.isdecimal(), len(pair.id), pair.id)))


def subfolder(folder: Path, name: str) -> Path | None:
    """A folder within another, or that itself if the name is empty; ``None`` if it is not there."""
    inner = folder / name if name else folder
    return inner if inner.is_dir() else None
