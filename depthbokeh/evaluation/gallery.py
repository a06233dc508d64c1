"""Keeps, while pictures are judged, small copies of those worth looking at."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import torch.nn.functional as F
from torch import Tensor

ERROR_SCALE = 5
"""By how much errors are made brighter to be seen."""

_LONGER_SIDE = 480
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Example:
    """One id, as JPEG files.

    Attributes:
        name: The id.
        psnr_db: By method.
        pictures: By method.
        errors: By method: ``ERROR_SCALE`` times the absolute difference to the target, at full size, then reduced.
        target: The photograph through the open lens.
        photo: The input, if there is one.
    """

    name: str
    psnr_db: dict[str, float]
    pictures: dict[str, bytes]
    errors: dict[str, bytes]
    target: bytes
    photo: bytes | None


@dataclass
class _Ranking:
    """The examples that come first by some key."""

    count: int
    entries: list[tuple[float, Example]] = field(default_factory=list)

    def admits(self, key: float) -> bool:
        return len(self.entries) < self.count or (self.count > 0 and key > self.entries[-1][0])

    def add(self, key: float, example: Example) -> None:
        self.entries.append((key, example))
        self.entries.sort(key=lambda entry: -entry[0])
        del self.entries[self.count :]


class Gallery:
    """The worst and best pictures of every method by PSNR, and those on which the methods differ most.

    Args:
        count: How many of each.
    """

    def __init__(self, count: int = 4) -> None:
        self.count = count
        self._worst: dict[str, _Ranking] = {}
        self._best: dict[str, _Ranking] = {}
        self._differing = _Ranking(count)

    def offer(
        self,
        name: str,
        target: Tensor,
        photo: Tensor | None,
        pictures: Mapping[str, Tensor],
        psnr_db: Mapping[str, float],
    ) -> None:
        """Keeps an example if it ranks; all pictures ``(1, 3, H, W)`` of one size, sRGB 0..1."""

        @cache
        def make() -> Example:
            return Example(
                name,
                dict(psnr_db),
                {method: _encode(picture) for method, picture in pictures.items()},
                {method: _encode(ERROR_SCALE * (picture - target).abs()) for method, picture in pictures.items()},
                _encode(target),
                None if photo is None else _encode(photo),
            )

        entries = [(self._differing, max(psnr_db.values()) - min(psnr_db.values()))] if len(psnr_db) > 1 else []
        for method, value in psnr_db.items():
            entries.append((self._worst.setdefault(method, _Ranking(self.count)), -value))
            entries.append((self._best.setdefault(method, _Ranking(self.count)), value))
        for ranking, key in entries:
            if ranking.admits(key):
                ranking.add(key, make())

    def methods(self) -> list[str]:
        """Those whose pictures are kept."""
        return list(self._worst) if self.count > 0 else []

    def worst(self, method: str) -> list[Example]:
        """From the worst on."""
        return [example for _, example in self._worst[method].entries]

    def best(self, method: str) -> list[Example]:
        """From the best on; none of them is among the worst."""
        worst = {example.name for example in self.worst(method)}
        return [example for _, example in self._best[method].entries if example.name not in worst]

    def differing(self) -> list[Example]:
        """Those with the largest differences in PSNR between methods; none if there is one method."""
        return [example for _, example in self._differing.entries]


def _encode(picture: Tensor) -> bytes:
    """A small JPEG."""
    from PIL import Image

    scale = min(1.0, _LONGER_SIDE / max(picture.shape[2:]))
    if scale < 1:
        height, width = (max(1, round(scale * side)) for side in picture.shape[2:])
        picture = F.interpolate(picture, (height, width), mode="bilinear", antialias=True)
    pixels = (picture[0].clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).contiguous()
    stream = io.BytesIO()
    Image.fromarray(pixels.cpu().numpy()).save(stream, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return stream.getvalue()
