"""One pair as tensors, and many of them as a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor


class Batch(TypedDict):
    """What a data set gives for one pair, and `collate_samples` for many, then with a first dimension B.

    ``photo`` and ``bokeh`` are (3, H, W), sRGB 0..1; ``disparity`` and ``mask`` (1, H, W), 0..1, or ``None`` if there
    is none. ``strength`` (pixels of the sample for a disparity of 1), ``focus`` (a disparity) and ``f_number`` are
    scalars, NaN where they are not known. ``id`` is the pair's key, in a batch a list of them.
    """

    id: Any
    photo: Tensor
    bokeh: Tensor
    disparity: Tensor | None
    mask: Tensor | None
    strength: Tensor
    focus: Tensor
    f_number: Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """One pair; see `Batch` for shapes and ranges. ``longer_side`` is that of the photo before it was cropped."""

    id: str
    photo: Tensor
    bokeh: Tensor
    disparity: Tensor | None = None
    mask: Tensor | None = None
    strength: float = float("nan")
    focus: float = float("nan")
    f_number: float = float("nan")
    longer_side: int = 0

    def replace(self, **changes: Any) -> Sample:
        """Returns the sample with other values."""
        return dataclasses.replace(self, **changes)

    def map(self, function: Callable[[Tensor], Tensor]) -> Sample:
        """Applies the same to both pictures and the maps."""
        planes = {name: getattr(self, name) for name in ("photo", "bokeh", "disparity", "mask")}
        return self.replace(**{name: plane if plane is None else function(plane) for name, plane in planes.items()})

    def to_dict(self) -> Batch:
        """Returns what a data set gives."""
        return Batch(
            id=self.id,
            photo=self.photo.contiguous(),
            bokeh=self.bokeh.contiguous(),
            disparity=None if self.disparity is None else self.disparity.contiguous(),
            mask=None if self.mask is None else self.mask.contiguous(),
            strength=torch.tensor(self.strength),
            focus=torch.tensor(self.focus),
            f_number=torch.tensor(self.f_number),
        )


def collate_samples(samples: Sequence[Batch]) -> Batch:
    """Stacks what a data set gives to a batch; for ``DataLoader(..., collate_fn=collate_samples)``.

    Args:
        samples: Of one size, all with a disparity or none, and so for the mask.

    Returns:
        The batch; ``id`` is a list.

    Raises:
        ValueError: If sizes differ or maps are missing here and there.

    Example:
        >>> pair = Sample("1", torch.rand(3, 4, 6), torch.rand(3, 4, 6)).to_dict()
        >>> batch = collate_samples([pair, pair])
        >>> batch["photo"].shape, batch["disparity"], batch["id"]
        (torch.Size([2, 3, 4, 6]), None, ['1', '1'])
    """
    sizes = {tuple(sample["photo"].shape[1:]): sample["id"] for sample in samples}
    if len(sizes) > 1:
        told = ", ".join(f"{name} {size}" for size, name in sizes.items())
        raise ValueError(f"pairs of one batch have different sizes (H, W): {told}; give the data set a crop or size")
    names = [sample["id"] for sample in samples]
    return Batch(
        id=names,
        photo=torch.stack([sample["photo"] for sample in samples]),
        bokeh=torch.stack([sample["bokeh"] for sample in samples]),
        disparity=_stack_maps("disparity", names, [sample["disparity"] for sample in samples]),
        mask=_stack_maps("mask", names, [sample["mask"] for sample in samples]),
        strength=torch.stack([sample["strength"] for sample in samples]),
        focus=torch.stack([sample["focus"] for sample in samples]),
        f_number=torch.stack([sample["f_number"] for sample in samples]),
    )


def _stack_maps(kind: str, names: list[Any], maps: list[Tensor | None]) -> Tensor | None:
    there = [plane for plane in maps if plane is not None]
    if there and len(there) < len(maps):
        without = next(name for name, plane in zip(names, maps, strict=True) if plane is None)
        raise ValueError(f"pair {without} has no {kind}, others of the batch do")
    return torch.stack(there) if there else None
