"""Pairs in tar files of WebDataset, read one after the other: for data sets that do not fit on a disk.

Needs the extra ``depthbokeh[train]``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from ..files import PhotoError, atomic_path
from ..photo import read_map, read_photo
from .augment import make_generator
from .ebb import make_sample
from .records import PairRecord
from .sample import Batch, Sample

_INDEX = "shards.json"
_FILES = ("original", "bokeh", "disparity", "mask")
# Streams of random numbers of one epoch, apart from those of the pairs, whose indices are not negative.
_ORDER, _BUFFER = 2**32 + 1, 2**32 + 2


def write_shards(pairs: Sequence[PairRecord], out: str | Path, *, pairs_per_shard: int = 100) -> list[Path]:
    """Packs pairs into tar files, their files as they are, byte for byte.

    Args:
        pairs: Such as ``EBBDataset(root, "train4400").pairs``; shuffle them if they are sorted by what they show.
        out: Folder for ``pairs-000000.tar`` and so on, and ``shards.json``, which lists them; made if it is missing.
        pairs_per_shard: How many pairs go into a file; it is good to have several files for every process that reads.

    Returns:
        The tar files.

    Raises:
        PhotoError: If the folder holds shards already, or a file cannot be read or written.
        ValueError: If there are no pairs, or fewer than one goes into a file.
    """
    import webdataset

    if not pairs or pairs_per_shard < 1:
        raise ValueError(f"{len(pairs)} pairs, {pairs_per_shard} per shard: expected at least 1 of each")
    out = Path(out)
    if (out / _INDEX).exists():
        raise PhotoError(f"{out}: holds shards already, expected another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{out}: cannot be made: {error.strerror}") from error
    shards, listed = [], []
    for number, start in enumerate(range(0, len(pairs), pairs_per_shard)):
        share = pairs[start : start + pairs_per_shard]
        shard = out / f"pairs-{number:06d}.tar"
        with (
            atomic_path(shard, overwrite=True) as path,
            webdataset.TarWriter(str(path), encoder=False, mtime=0) as writer,
        ):
            for index, pair in enumerate(share, start):
                writer.write(_pack(index, pair))
        shards.append(shard)
        listed.append({"name": shard.name, "pairs": len(share)})
    with atomic_path(out / _INDEX, overwrite=False) as path:
        path.write_text(json.dumps({"shards": listed}) + "\n")
    return shards


def _pack(index: int, pair: PairRecord) -> dict[str, Any]:
    """A pair as WebDataset writes it; its own name, which may have dots, stands in the JSON."""
    note = {"index": index, "id": pair.id, "part": pair.part, "values": dict(pair.values)}
    packed = {"__key__": f"{index:08d}", "json": json.dumps(note).encode()}
    for kind in _FILES:
        path: Path | None = getattr(pair, kind)
        if path is not None:
            try:
                packed[f"{kind}{path.suffix.lower()}"] = path.read_bytes()
            except OSError as error:
                raise PhotoError(f"{path}: cannot be read: {error.strerror}") from error
    return packed


@dataclass(frozen=True)
class _Shard:
    url: str
    pairs: int


class ShardDataset(IterableDataset[Batch]):
    """Streams the pairs that `write_shards` has packed, each to one worker of one process.

    With one process every pair comes once in an epoch. With several, all workers of all processes get the same number
    of pairs, so that none waits for another; what is left over is another part of the data in every epoch if the order
    is shuffled. Augmentation depends on seed, epoch and the pair alone. Do not let a framework divide the loader a
    second time, as ``accelerate`` does with what it prepares.

    Args:
        folder: Folder or URL that ``shards.json`` lies in; URLs are read by WebDataset.
        size: (H, W) that pairs are resized to, before the augmentation.
        augmentation: Changes every pair.
        seed: Another number gives another order and other changes.
        shuffle: How many pairs wait, still packed, for one of them to be drawn; with 0 the order is that of the files.
        rank: Which of the processes this is; by default what ``torch.distributed`` says.
        processes: How many there are; likewise.

    Raises:
        PhotoError: If the list of shards cannot be read.
        ValueError: If an argument does not fit.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        size: tuple[int, int] | None = None,
        augmentation: Callable[[Sample, torch.Generator], Sample] | None = None,
        seed: int = 0,
        shuffle: int = 0,
        rank: int | None = None,
        processes: int | None = None,
    ) -> None:
        if shuffle < 0:
            raise ValueError(f"shuffle must not be negative, got {shuffle}")
        self._shards = _read_index(str(folder))
        self.size = size
        self.augmentation = augmentation
        self.seed = seed
        self.shuffle = shuffle
        joined = torch.distributed.is_available() and torch.distributed.is_initialized()
        self._rank = rank if rank is not None else torch.distributed.get_rank() if joined else 0
        self._processes = processes if processes is not None else torch.distributed.get_world_size() if joined else 1
        if not 0 <= self._rank < self._processes:
            raise ValueError(f"rank is {self._rank}: expected 0 to {self._processes - 1}")
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def pairs(self) -> int:
        """How many pairs the shards hold, for all processes together."""
        return sum(shard.pairs for shard in self._shards)

    def set_epoch(self, epoch: int) -> None:
        """Makes order and augmentation those of another epoch, in running workers too; call it between epochs."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Batch]:
        """Yields this worker's pairs of the epoch.

        Raises:
            ValueError: If there are several processes and fewer shards than their workers.
            PhotoError: If a pair cannot be read.
        """
        epoch = int(self._epoch)
        shards, count = self._share(epoch)
        packed = _unpack(shards)
        if self.shuffle:
            packed = self._mix(packed, make_generator(self.seed, epoch, _BUFFER + self._rank))
        for number, one in enumerate(packed):
            if number == count:
                return
            yield self._read(one, epoch)

    def _share(self, epoch: int) -> tuple[list[_Shard], int]:
        """This worker's shards, and how many of their pairs it yields."""
        shards = self._shards
        if self.shuffle:
            order = torch.randperm(len(shards), generator=make_generator(self.seed, epoch, _ORDER)).tolist()
            shards = [shards[place] for place in order]
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        readers = self._processes * workers
        shares = [shards[reader::readers] for reader in range(readers)]
        mine = shares[self._rank * workers + number]
        if self._processes == 1:
            return mine, sum(shard.pairs for shard in mine)
        if len(shards) < readers:
            told = f"{self._processes} processes with {workers} workers each"
            raise ValueError(
                f"{len(shards)} shards for {told}: expected at least {readers} shards; pack fewer pairs in each"
            )
        return mine, min(sum(shard.pairs for shard in share) for share in shares)

    def _mix(self, packed: Iterator[dict[str, Any]], generator: torch.Generator) -> Iterator[dict[str, Any]]:
        """Draws from what waits at random."""
        waiting: list[dict[str, Any]] = []
        for one in packed:
            waiting.append(one)
            if len(waiting) > self.shuffle:
                place = int(torch.randint(len(waiting), (), generator=generator))
                waiting[place], waiting[-1] = waiting[-1], waiting[place]
                yield waiting.pop()
        for place in torch.randperm(len(waiting), generator=generator).tolist():
            yield waiting[place]

    def _read(self, packed: dict[str, Any], epoch: int) -> Batch:
        where = f"{packed['__url__']}/{packed['__key__']}"
        names = {name.partition(".")[0]: name for name in packed}
        files = {kind: Path(f"{where}.{names[kind]}") for kind in _FILES if kind in names}
        data = {kind: packed[names[kind]] for kind in files}
        try:
            note = json.loads(packed["json"])
            maps = files.get("disparity"), files.get("mask")
            pair = PairRecord(note["id"], note["part"], files["original"], files["bokeh"], *maps, note["values"])
            index = int(note["index"])
        except (ValueError, KeyError, TypeError) as error:
            raise PhotoError(f"{where}: is not a pair: {error!r}") from error
        photo = read_photo(pair.original, data=data["original"]).image
        bokeh = read_photo(pair.bokeh, data=data["bokeh"]).image
        size = (photo.shape[2], photo.shape[3])
        disparity, mask = (
            read_map(files[kind], size, data=data[kind]) if kind in files else None for kind in ("disparity", "mask")
        )
        sample = make_sample(pair, photo, bokeh, disparity, mask, self.size)
        if self.augmentation is not None:
            sample = self.augmentation(sample, make_generator(self.seed, epoch, index))
        return sample.to_dict()


def _unpack(shards: Sequence[_Shard]) -> Iterator[dict[str, Any]]:
    import webdataset
    from webdataset.tariterators import group_by_keys, tar_file_iterator

    for shard in shards:
        with webdataset.gopen(shard.url) as stream:
            entries = ({**entry, "__url__": shard.url} for entry in tar_file_iterator(stream))
            yield from group_by_keys(entries)


def _read_index(folder: str) -> list[_Shard]:
    import webdataset

    base = folder.rstrip("/")
    try:
        with webdataset.gopen(f"{base}/{_INDEX}") as stream:
            listed = json.loads(stream.read())["shards"]
        shards = [_Shard(f"{base}/{shard['name']}", int(shard["pairs"])) for shard in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PhotoError(f"{base}/{_INDEX}: cannot be read as a list of shards: {error}") from error
    return shards
