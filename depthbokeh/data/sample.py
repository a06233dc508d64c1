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

    ``photo`` and ``bokeh`` are (3, H, W), sRGB 0..1; ``disparity`` and ``mask`` (1, H, W), 0..1, or ``None`` if there is
    none. ``strength`` (pixels of the sample for a disparity of 1), ``focus`` (a disparity) and ``f_number`` are scalars,
    NaN where they are not known. ``id`` is the pair's key, in a batch a list of them.
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
    """One pair; see `Batch` for shapes and ranges."""

    id: str
    photo: Tensor
    bokeh: Tensor
    disparity: Tensor | None = None
    mask: Tensor | None = None
    strength: float = float("nan")
    focus: float = float("nan")
    f_number: float = float("nan")

    def replace(self, **changes: Any) -> Sample:
        """Returns the sample with other values."""
        return dataclasses.replace(self, **changes)

    def map(self, function: Callable[[Tensor], Tensor]) -> Sample:
        """Applies the same to both pictures and the maps."""
        planes = {name: getattr(self, name) for name in ("photo", "bokeh", "disparity", "mask")}
        return self.replace(**{name: plane if plane is None else function(plane) for name, plane in planes.items()})

    def to_dict(self) -> Batch:
        """Returns what a data set gives."""
        scalars = {name: torch.tensor(getattr(self, name)) for name in ("strength", "focus", "f_number")}
        planes: dict[str, Any] = {
            name: plane if (plane := getattr(self, name)) is None else plane.contiguous()
            for name in ("photo", "bokeh", "disparity", "mask")
        }
        return Batch(id=self.id, **planes, **scalars)


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
    batch: dict[str, Any] = {"id": [sample["id"] for sample in samples]}
    for name in ("photo", "bokeh", "disparity", "mask", "strength", "focus", "f_number"):
        values = [sample[name] for sample in samples]  # type: ignore[literal-required]
        without = [sample["id"] for sample, value in zip(samples, values, strict=True) if value is None]
        if without and len(without) < len(samples):
            raise ValueError(f"pair {without[0]} has no {name}, others of the batch do")
        batch[name] = None if without else torch.stack(values)
    return Batch(**batch)  # type: ignore[typeddict-item]
