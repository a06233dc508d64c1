"""Which photos make up which step: the same for any number of workers and processes, from any step on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

Key = tuple[int, int]
"""Epoch and index: what an item and its augmentation follow from."""


class StepSampler(Sampler[list[Key]]):
    """Yields, without end, the share of one process in every batch.

    The photos of an epoch are shuffled by the seed and the epoch alone. An epoch has as many whole batches as fit; with
    fewer photos than a batch, photos repeat within it.

    Args:
        count: How many photos there are.
        batch: Photos in a batch, of all processes together.
        seed: Another number shuffles otherwise.
        start: The first batch to yield.
        rank: Which process this is.
        processes: How many there are; they must divide the batch.

    Raises:
        ValueError: If there are no photos, or the processes do not divide the batch.

    Example:
        >>> whole = iter(StepSampler(6, 4, seed=0, start=5))
        >>> parts = [iter(StepSampler(6, 4, seed=0, start=5, rank=rank, processes=2)) for rank in (0, 1)]
        >>> next(whole) == next(parts[0]) + next(parts[1])
        True
    """

    def __init__(self, count: int, batch: int, *, seed: int, start: int = 0, rank: int = 0, processes: int = 1) -> None:
        if count < 1:
            raise ValueError(f"count is {count}: expected at least one photo")
        if batch < 1 or batch % processes:
            raise ValueError(f"batch is {batch}: expected a multiple of the {processes} processes")
        self._count, self._batch, self._seed, self._start = count, batch, seed, start
        self._share = slice(rank * (batch // processes), (rank + 1) * (batch // processes))
        self._per_epoch = max(1, count // batch)

    def __iter__(self) -> Iterator[list[Key]]:
        step = self._start
        epoch, order = -1, torch.empty(0)
        while True:
            if epoch != step // self._per_epoch:
                epoch = step // self._per_epoch
                generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
                order = torch.randperm(self._count, generator=generator)
            first = step % self._per_epoch * self._batch
            places = torch.arange(first, first + self._batch) % self._count
            yield [(epoch, int(index)) for index in order[places][self._share]]
            step += 1
