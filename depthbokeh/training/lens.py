"""What is not known of the camera behind a photograph, as parameters: blur strength, focus, exposure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

LensQuantity = Literal["strength", "focus", "gain"]
"""Blur strength; the focused disparity; the exposure of every channel."""


class LensState(NamedTuple):
    """The lens of every photo of a batch."""

    strength: Tensor  # (B,), share of the longer side that a disparity of 1 is blurred by (radius)
    focus_offset: Tensor  # (B,), disparity, added to the subject's
    gain: Tensor  # (B, 3, 1, 1), in linear light


class LensParameters(nn.Module):
    """Strength, focus and gain, learned for all photos or for each.

    A photo's value is that of all photos and its own deviation, both learned: on photos never seen the common value
    serves. Strength and gain are learned as logarithms and stay positive.

    Args:
        strength: Where the strength starts, as the share of the longer side by which a disparity of 1 is blurred.
        photos: How many photos there are to learn from.
        learned: What is learned at all.
        per_photo: What of it is learned for each photo too.

    Raises:
        ValueError: If a quantity is unknown or only learned per photo, or the strength is not positive.

    Example:
        >>> lens = LensParameters(strength=0.025, photos=10, learned=["strength"], per_photo=["strength"])
        >>> lens(torch.tensor([3, 7])).strength.detach()
        tensor([0.0250, 0.0250])
        >>> lens(None).gain.shape
        torch.Size([1, 3, 1, 1])
    """

    def __init__(
        self,
        *,
        strength: float,
        photos: int = 0,
        learned: Collection[LensQuantity] = (),
        per_photo: Collection[LensQuantity] = (),
    ) -> None:
        super().__init__()
        for name, quantities in (("learned", learned), ("per_photo", per_photo)):
            unknown = sorted(set(quantities) - set(get_args(LensQuantity)))
            if unknown:
                raise ValueError(f"{name} has {unknown[0]!r}: expected {', '.join(get_args(LensQuantity))}")
        alone = sorted(set(per_photo) - set(learned))
        if alone:
            raise ValueError(f"per_photo has {alone[0]!r}, learned has not: expected it in both")
        if not 0 < strength < 1:
            raise ValueError(f"strength is {strength:g}: expected a share of the longer side, between 0 and 1")
        starts = {"strength": torch.tensor(strength).log().view(1), "focus": torch.zeros(1), "gain": torch.zeros(3)}
        for name, start in starts.items():
            self.register_parameter(name, nn.Parameter(start, requires_grad=name in learned))
            own = torch.zeros(photos if name in per_photo else 0, len(start))
            self.register_parameter(f"{name}_per_photo", nn.Parameter(own, requires_grad=name in per_photo))

    def forward(self, photo: Tensor | None) -> LensState:
        """The lens of some photos.

        Args:
            photo: ``(B,)``, numbers of photos that are learned from; ``None`` for a photo never seen.
        """
        strength, focus, gain = (self._value(name, photo) for name in ("strength", "focus", "gain"))
        return LensState(strength.exp()[:, 0], focus[:, 0], gain.exp()[:, :, None, None])

    def _value(self, name: str, photo: Tensor | None) -> Tensor:
        common: Tensor = getattr(self, name)
        own: Tensor = getattr(self, f"{name}_per_photo")
        if len(own) == 0:
            return common.expand(1 if photo is None else len(photo), -1)
        return (common + own.mean(0))[None] if photo is None else common + own[photo]
