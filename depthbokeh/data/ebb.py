"""EBB! and its relatives as a data set of PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from ..optics import normalize_disparity
from ..photo import PhotoError, read_map, read_photo
from .augment import make_generator
from .layouts import find_pairs
from .records import MAP_SUFFIXES, PairRecord, index_pictures, subfolder
from .sample import Batch, Sample

# EBB! has 4694 public pairs; the last 294 are what most papers validate on.
_SPLITS = {"train4400": range(4400), "val294": range(4400, 4694)}
# What is known of one disparity map says nothing of another.
_OF_DISPARITY = ("strength", "focus")
_PARTS = {"train": ("train", "training"), "val": ("val", "validation"), "test": ("test",)}


class EBBDataset(Dataset[Batch]):
    """Pairs of a photo and its bokeh picture, with disparity and mask where there are some.

    Reads every layout of :func:`depthbokeh.data.layouts.find_pairs`, among them what ``depthbokeh synthesize`` and
    ``depthbokeh prepare`` write. Augmentation depends on seed, epoch and index alone, not on the number of workers.

    Args:
        root: The data set's folder.
        split: ``"all"``; ``"train4400"`` (ids 0 to 4399) and ``"val294"`` (4400 to 4693); ``"train"``, ``"val"``,
            ``"test"``, a part of a data set that is divided into folders; a file with an id on each line; or ids.
        layout: The data set's layout; by default found out.
        size: (H, W) that pairs are resized to, before the augmentation.
        augmentation: Changes every pair, differently in every epoch; see :meth:`set_epoch`.
        seed: Another number gives other changes.
        disparity: Folder beside the pictures that the disparity is taken from, such as ``"coarse_disparity"``.
        maps: Folder with ``disparity/ID.png`` and ``mask/ID.png`` (below the part, if there are parts) that go before
            the data set's own, for a data set that cannot be written to.

    Raises:
        PhotoError: If there are no pairs, or none of this split.
        ValueError: If an argument does not fit.

    Example:
        >>> import tempfile
        >>> from depthbokeh.data import Augmentation
        >>> from depthbokeh.photo import write_photo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for kind in ("original", "bokeh"):
        ...         Path(folder, "Training", kind).mkdir(parents=True)
        ...         write_photo(Path(folder, "Training", kind, "4400.png"), torch.rand(3, 12, 16))
        ...     dataset = EBBDataset(folder, "val294", augmentation=Augmentation(crop=(8, 8)))
        ...     sample = dataset[0]
        >>> len(dataset), sample["id"], sample["bokeh"].shape, sample["mask"]
        (1, '4400', torch.Size([3, 8, 8]), None)
    """

    def __init__(
        self,
        root: str | Path,
        split: str | Path | Iterable[str | int] = "all",
        *,
        layout: str | None = None,
        size: tuple[int, int] | None = None,
        augmentation: Callable[[Sample, torch.Generator], Sample] | None = None,
        seed: int = 0,
        disparity: str | None = None,
        maps: str | Path | None = None,
    ) -> None:
        if size is not None and min(size) < 1:
            raise ValueError(f"size must be (H, W) of at least 1 pixel, got {size}")
        listing = find_pairs(root, layout, disparity=disparity)
        if listing.unpaired:
            missing = f"{len(listing.unpaired)} pictures have no partner, such as {listing.unpaired[0]}"
            warnings.warn(f"{root}: {missing}", stacklevel=2)
        pairs = select_pairs(listing.pairs, split, root)
        self.pairs = tuple(_find_maps(pairs, Path(maps))) if maps is not None else pairs
        self.layout = listing.layout
        self.size = size
        self.augmentation = augmentation
        self.seed = seed
        # In shared memory: workers that live on see the next epoch too.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Makes the augmentation that of another epoch, in running workers too; call it between epochs."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: int | tuple[int, int]) -> Batch:
        """Reads a pair, by its index or by (epoch, index), which needs no `set_epoch`."""
        return self.sample(key).to_dict()

    def sample(self, key: int | tuple[int, int]) -> Sample:
        """Reads a pair as `__getitem__` does."""
        epoch, index = key if isinstance(key, tuple) else (int(self._epoch), key)
        sample = read_sample(self.pairs[index], self.size)
        if self.augmentation is not None:
            sample = self.augmentation(sample, make_generator(self.seed, epoch, range(len(self))[index]))
        return sample


class TrainingItems(Dataset[dict[str, Tensor]]):
    """The same pairs as the trainer takes them: tensors alone.

    An item has ``photo`` and ``bokeh`` (3, H, W), ``disparity`` and ``mask`` (1, H, W) where there are some,
    ``number``, the pair's place in the data set, and ``longer_side``, the pixels of the photo it was cut from.

    Args:
        dataset: Where the pairs come from; either all or none of them should have a disparity, and so for masks.
    """

    def __init__(self, dataset: EBBDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        """Reads a pair, by its index or by (epoch, index)."""
        sample = self.dataset.sample(key)
        number = range(len(self))[key[1] if isinstance(key, tuple) else key]
        item = {"number": torch.tensor(number), "longer_side": torch.tensor(float(sample.longer_side))}
        planes = {name: getattr(sample, name) for name in ("photo", "bokeh", "disparity", "mask")}
        return item | {name: plane.contiguous() for name, plane in planes.items() if plane is not None}


def read_sample(pair: PairRecord, size: tuple[int, int] | None = None) -> Sample:
    """Reads a pair's files.

    Args:
        pair: Where they lie.
        size: (H, W) to resize to.

    Raises:
        PhotoError: If a file cannot be read, or the pictures differ in size.
    """
    photo, bokeh = read_photo(pair.original).image, read_photo(pair.bokeh).image
    disparity = None if pair.disparity is None else read_map(pair.disparity, (photo.shape[2], photo.shape[3]))
    mask = None if pair.mask is None else read_map(pair.mask, (photo.shape[2], photo.shape[3]))
    return make_sample(pair, photo, bokeh, disparity, mask, size)


def make_sample(
    pair: PairRecord,
    photo: Tensor,
    bokeh: Tensor,
    disparity: Tensor | None,
    mask: Tensor | None,
    size: tuple[int, int] | None,
) -> Sample:
    """Puts decoded pictures and maps (1, C, H, W) together; resizes them, and the strength with them."""
    if photo.shape != bokeh.shape:
        sizes = " and ".join(f"{picture.shape[3]} x {picture.shape[2]}" for picture in (photo, bokeh))
        raise PhotoError(f"{pair.bokeh}: the pictures have {sizes} pixels; 'depthbokeh prepare' makes them one size")
    values = dict(pair.values)
    if disparity is not None and (disparity.min() < 0 or disparity.max() > 1):
        disparity = normalize_disparity(disparity)
    strength = values.get("strength", float("nan"))
    planes = [photo, bokeh, disparity, mask]
    if size is not None and size != tuple(photo.shape[2:]):
        strength *= size[0] / photo.shape[2]
        planes = [
            plane if plane is None else functional.interpolate(plane, size, mode="bilinear", antialias=True)
            for plane in planes
        ]
    first, second, third, fourth = (plane if plane is None else plane[0] for plane in planes)
    assert first is not None
    assert second is not None
    focus, f_number = (values.get(name, float("nan")) for name in ("focus", "f_number"))
    longer_side = max(first.shape[1:])
    return Sample(pair.key, first, second, third, fourth, strength, focus, f_number, longer_side)


def select_pairs(
    pairs: tuple[PairRecord, ...], split: str | Path | Iterable[str | int], root: str | Path
) -> tuple[PairRecord, ...]:
    """Takes the pairs of a split.

    Raises:
        PhotoError: If there are none, or an id that was asked for is missing.
        ValueError: If a name is unknown.
    """
    if split == "all":
        return pairs
    if isinstance(split, str) and split in _SPLITS:
        ids = _SPLITS[split]
        chosen = tuple(pair for pair in pairs if pair.id.isdecimal() and int(pair.id) in ids)
        if len({pair.id for pair in chosen}) < len(chosen):
            raise PhotoError(
                f"{root}: the same id lies in several folders, split {split!r} is ambiguous; name a folder"
            )
    elif isinstance(split, str) and split in _PARTS:
        chosen = tuple(pair for pair in pairs if pair.part.lower() in _PARTS[split])
    elif isinstance(split, (str, Path)):
        return _select_ids(pairs, _read_ids(Path(split)), root)
    else:
        return _select_ids(pairs, [str(name) for name in split], root)
    if not chosen:
        ids_there = ", ".join(pair.key for pair in pairs[:3])
        raise PhotoError(f"{root}: none of its {len(pairs)} pairs ({ids_there} ...) is in split {split!r}")
    return chosen


def _select_ids(pairs: tuple[PairRecord, ...], names: list[str], root: str | Path) -> tuple[PairRecord, ...]:
    """Pairs by key, in the order of the names."""
    by_key = {pair.key: pair for pair in pairs}
    missing = [name for name in names if name not in by_key]
    if missing or not names:
        told = f"no pair {missing[0]!r}, {len(missing)} of {len(names)} are missing" if missing else "no pairs named"
        raise PhotoError(f"{root}: {told}")
    return tuple(by_key[name] for name in names)


def _read_ids(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(["all", *_SPLITS, *_PARTS])
        raise ValueError(f"split is {str(path)!r}: expected {names}, or a file of ids that can be read") from error


def _find_maps(pairs: tuple[PairRecord, ...], maps: Path) -> Iterable[PairRecord]:
    """Pairs with the maps of another folder."""
    if not maps.is_dir():
        raise PhotoError(f"{maps}: no such folder, expected maps")
    found = {
        (part, kind): index_pictures(subfolder(maps / part, kind), MAP_SUFFIXES)
        for part in {pair.part for pair in pairs}
        for kind in ("disparity", "mask")
    }
    for pair in pairs:
        disparity, mask = (found[pair.part, kind].get(pair.id) for kind in ("disparity", "mask"))
        values = {key: value for key, value in pair.values.items() if not disparity or key not in _OF_DISPARITY}
        yield replace(pair, disparity=disparity or pair.disparity, mask=mask or pair.mask, values=values)
