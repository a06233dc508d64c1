"""Changing a pair at random, both pictures and their maps alike, so that it remains a pair."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..color import linear_to_srgb, srgb_to_linear
from .sample import Sample


@dataclass(frozen=True)
class Augmentation:
    """Crop, flip, colour and errors of the disparity, each at random.

    The colours change in linear light and by a matrix, with which blurring commutes: the bokeh picture of the changed
    photo is the changed bokeh picture (but for what is clipped). A change of contrast would not be so.

    Attributes:
        crop: (H, W) of the part that is taken; pictures that are smaller are refused. ``None`` takes all.
        flip: Whether half of the pairs are mirrored, left to right.
        exposure: Largest change of exposure, stops.
        white_balance: Largest change of the gain of red and of blue, stops.
        saturation: Largest relative change of the distance from grey.
        disparity_gamma: Largest change of the disparity's exponent, as a power of 2.
        disparity_scale: Largest part of 0..1 that is lost at the far and the near end together.
        disparity_noise: Standard deviation of slow errors over the frame.
        disparity_blur: Largest standard deviation of a blur, share of the longer side.

    Raises:
        ValueError: If a value is negative, a change is total, or the crop empty.

    Example:
        >>> augmentation = Augmentation(crop=(8, 8), exposure=0.5)
        >>> sample = Sample("1", torch.rand(3, 12, 16), torch.rand(3, 12, 16))
        >>> augmentation(sample, torch.Generator().manual_seed(0)).photo.shape
        torch.Size([3, 8, 8])
    """

    crop: tuple[int, int] | None = None
    flip: bool = True
    exposure: float = 0.0
    white_balance: float = 0.0
    saturation: float = 0.0
    disparity_gamma: float = 0.0
    disparity_scale: float = 0.0
    disparity_noise: float = 0.0
    disparity_blur: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name not in ("crop", "flip") and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        for name in ("saturation", "disparity_scale"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must be below 1, got {getattr(self, name)}")
        if self.crop is not None and min(self.crop) < 1:
            raise ValueError(f"crop must be (H, W) of at least 1 pixel, got {self.crop}")

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Changes a sample.

        Args:
            sample: Photo, bokeh picture and maps of one pair.
            generator: Source of randomness, on the CPU. A pair of another size, or without maps, takes as many
                numbers from it.

        Returns:
            The changed sample; ``strength`` and ``focus`` are those of the disparity without errors.

        Raises:
            ValueError: If the pictures are smaller than the crop.
        """
        # All at once, so that one setting does not change what the others draw.
        draw = torch.rand(12, generator=generator, dtype=torch.float64).tolist()
        noise = torch.randn(1, 1, 5, 7, generator=generator)
        sample = self._flip(self._crop(sample, draw[0], draw[1]), draw[2])
        matrix = self._color_matrix(draw[3:7])
        photo, bokeh = (_recolor(picture, matrix) for picture in (sample.photo, sample.bokeh))
        disparity = sample.disparity
        if disparity is not None:
            disparity = self._disturb(disparity, draw[7:11], noise)
        return sample.replace(photo=photo, bokeh=bokeh, disparity=disparity)

    def _crop(self, sample: Sample, down: float, across: float) -> Sample:
        if self.crop is None:
            return sample
        height, width = sample.photo.shape[1:]
        if height < self.crop[0] or width < self.crop[1]:
            raise ValueError(f"pair {sample.id} has {width} x {height} pixels, less than the crop (H, W) {self.crop}")
        top = int(down * (height - self.crop[0] + 1))
        left = int(across * (width - self.crop[1] + 1))
        return sample.map(lambda plane: plane[:, top : top + self.crop[0], left : left + self.crop[1]])  # type: ignore[index]

    def _flip(self, sample: Sample, chance: float) -> Sample:
        return sample.map(lambda plane: plane.flip(2)) if self.flip and chance < 0.5 else sample

    def _color_matrix(self, draw: list[float]) -> Tensor | None:
        """(3, 3) on linear RGB, or ``None`` if the colours stay."""
        if not (self.exposure or self.white_balance or self.saturation):
            return None
        exposure, red, blue, saturation = (2 * number - 1 for number in draw)
        gains = [red * self.white_balance, 0.0, blue * self.white_balance]
        gain = torch.tensor([2 ** (exposure * self.exposure + stops) for stops in gains])
        grey = torch.tensor([0.2126, 0.7152, 0.0722]).expand(3, 3)
        amount = 1 + saturation * self.saturation
        return (amount * torch.eye(3) + (1 - amount) * grey) @ gain.diag()

    def _disturb(self, disparity: Tensor, draw: list[float], noise: Tensor) -> Tensor:
        """Disparity (1, H, W) with the errors of a network."""
        gamma, lost, share, blur = draw
        if self.disparity_gamma:
            disparity = disparity.clamp(0, 1) ** 2 ** ((2 * gamma - 1) * self.disparity_gamma)
        if self.disparity_blur:
            sigma = blur * self.disparity_blur * max(disparity.shape[1:])
            disparity = _blur(disparity[None], sigma)[0]
        if self.disparity_noise:
            slow = F.interpolate(noise, disparity.shape[1:], mode="bicubic", align_corners=False)[0]
            disparity = disparity + self.disparity_noise * slow
        if self.disparity_scale:
            lost *= self.disparity_scale
            disparity = lost * share + (1 - lost) * disparity
        return disparity.clamp(0, 1)


def _recolor(picture: Tensor, matrix: Tensor | None) -> Tensor:
    """A picture (3, H, W) under a matrix in linear light."""
    if matrix is None:
        return picture
    linear = torch.einsum("dc,chw->dhw", matrix, srgb_to_linear(picture))
    return linear_to_srgb(linear.clamp(0, 1))


def _blur(plane: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (1, 1, H, W); the border is repeated."""
    radius = min(math.ceil(3 * sigma), min(plane.shape[2:]) - 1)
    if radius < 1:
        return plane
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum()
    plane = F.conv2d(F.pad(plane, (0, 0, radius, radius), mode="replicate"), weights.view(1, 1, -1, 1))
    return F.conv2d(F.pad(plane, (radius, radius, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))


def make_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """Randomness for one pair in one epoch, whichever process asks.

    Example:
        >>> torch.rand(1, generator=make_generator(0, 1, 2)) == torch.rand(1, generator=make_generator(0, 1, 2))
        tensor([True])
    """
    import numpy as np

    words = np.random.SeedSequence((seed, epoch, index)).generate_state(2, np.uint32)
    return torch.Generator().manual_seed((int(words[0]) << 31) ^ int(words[1]))
