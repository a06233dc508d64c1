"""What a rendered picture is compared with the photograph by, and what keeps a mask from collapsing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbokeh.color import linear_to_srgb, srgb_to_linear


def match_gain(prediction: Tensor, target: Tensor) -> Tensor:
    """Expose a picture as the photograph was: every channel times its best factor, in linear light.

    A factor for the display values (sRGB) would do for metrics; a lens that lets more light in multiplies linear light.

    Args:
        prediction: ``(B, 3, H, W)``, sRGB 0..1.
        target: The same.

    Returns:
        ``(B, 3, H, W)``, sRGB. The factors, by least squares, count as constants: a loss of this does not change when
        the exposure does, and its gradient does not try to change it.

    Example:
        >>> photo = torch.rand(1, 3, 8, 8) * 0.5
        >>> brighter = linear_to_srgb(1.5 * srgb_to_linear(photo))
        >>> bool(torch.allclose(match_gain(photo, brighter), brighter, atol=1e-5))
        True
    """
    light = srgb_to_linear(prediction.clamp(min=0))
    with torch.no_grad():
        goal = srgb_to_linear(target)
        power = light.square().sum((2, 3), keepdim=True)
        gain = (light * goal).sum((2, 3), keepdim=True) / power.clamp(min=torch.finfo(power.dtype).tiny)
    return linear_to_srgb(light * gain)


def area_loss(mask: Tensor, least: float = 0.02, most: float = 0.9) -> Tensor:
    """How far a mask's area lies outside of what subjects have, ``(B,)``.

    All sharp and all blurred are local optima of a bokeh loss: where no pixel is blurred, or none sharp, the edge that
    would have to move is not there. Within the bounds this is 0 and pulls at nothing.

    Args:
        mask: ``(B, 1, H, W)``, 0..1.
        least: Share of the frame.
        most: Share of the frame.

    Example:
        >>> area_loss(torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 0.5)]), least=0.1)
        tensor([0.1000, 0.0000])
    """
    area = mask.mean((1, 2, 3))
    return (least - area).clamp(min=0) + (area - most).clamp(min=0)


def binary_loss(mask: Tensor) -> Tensor:
    """How undecided a mask is, ``(B,)``: the mean of 4 m (1 - m), 0 for a mask of 0 and 1, 1 for one of a half.

    Half a sharp picture over half a blurred one is a compromise that no lens makes.

    Example:
        >>> binary_loss(torch.tensor([0.0, 0.5]).view(2, 1, 1, 1))
        tensor([0., 1.])
    """
    return (4 * mask * (1 - mask)).mean((1, 2, 3))


def sparsity_loss(mask: Tensor) -> Tensor:
    """A mask's area, ``(B,)``.

    Where a picture is flat, sharp and blurred are the same, and a bokeh loss says nothing. With this at a weight of w,
    a pixel is the subject's if being sharp explains the photograph better than being blurred by more than w (of the L1
    loss); of the rest the network learns from what is like it.

    Example:
        >>> sparsity_loss(torch.tensor([0.0, 0.5]).view(1, 1, 1, 2))
        tensor([0.2500])
    """
    return mask.mean((1, 2, 3))


def smoothness_loss(mask: Tensor, photo: Tensor, sharpness: float = 20.0) -> Tensor:
    """How much a mask varies where the photo does not, ``(B,)``: an edge of the subject is an edge of the photo.

    The mean over neighbours of their difference, times ``exp(-sharpness d)`` with d the photo's own difference.

    Args:
        mask: ``(B, 1, H, W)``, 0..1.
        photo: ``(B, 3, H, W)``, sRGB 0..1.
        sharpness: How soon a difference of the photo counts as an edge.

    Example:
        >>> mask = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
        >>> flat, edge = torch.zeros(1, 3, 1, 2), torch.tensor([0.0, 1.0]).expand(1, 3, 1, 2)
        >>> float(smoothness_loss(mask, flat)), float(smoothness_loss(mask, edge)) < 1e-6
        (1.0, True)
    """
    total = torch.zeros_like(mask[:, 0, 0, 0])
    for dim in (2, 3):
        if mask.shape[dim] > 1:
            edge = photo.detach().diff(dim=dim).abs().mean(1, keepdim=True)
            total = total + (mask.diff(dim=dim).abs() * (-sharpness * edge).exp()).mean((1, 2, 3))
    return total


@dataclass(frozen=True)
class LossWeights:
    """How much each part of :class:`BokehLoss` counts.

    Example:
        >>> LossWeights(ssim=0.2).l1
        1.0
    """

    l1: float = 1.0
    ssim: float = 0.0
    lpips: float = 0.0
    area: float = 1.0
    sparsity: float = 0.004
    smoothness: float = 0.01
    binary: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"{name} is {weight:g}: expected a weight, finite and not negative")
        if self.l1 == self.ssim == self.lpips == 0:
            raise ValueError("l1, ssim and lpips are all 0: expected one that compares with the photograph")


class BokehLoss(nn.Module):
    """The loss of a rendered picture and the mask that it was rendered with.

    Args:
        weights: How much each part counts.
        match_exposure: Whether the picture is exposed as the photograph first, see :func:`match_gain`.

    Example:
        >>> loss = BokehLoss(LossWeights(ssim=0.2))
        >>> photo, target, mask = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16)
        >>> sorted(loss(photo, target, mask, photo))
        ['area', 'l1', 'smoothness', 'sparsity', 'ssim', 'total']
    """

    def __init__(self, weights: LossWeights | None = None, *, match_exposure: bool = False) -> None:
        super().__init__()
        self.weights = weights if weights is not None else LossWeights()
        self.match_exposure = match_exposure
        self._lpips = None
        if self.weights.lpips:
            from depthbokeh.evaluation.lpips import Lpips

            self._lpips = Lpips().requires_grad_(False)

    def forward(
        self, prediction: Tensor, target: Tensor, mask: Tensor | None, photo: Tensor, *, settled: float = 1.0
    ) -> dict[str, Tensor]:
        """Compares.

        Args:
            prediction: ``(B, 3, H, W)``, sRGB.
            target: ``(B, 3, H, W)``, sRGB 0..1.
            mask: ``(B, 1, H, W)``, 0..1.
            photo: ``(B, 3, H, W)``, sRGB 0..1, what it is a mask of.
            settled: By how much sparsity and smoothness count already, 0..1: before a mask has found the subject, they
                would rather have none.

        Returns:
            ``total``, and its parts before they are weighed; scalars, means over the batch.
        """
        weights = self.weights
        if self.match_exposure:
            prediction = match_gain(prediction, target)
        parts: dict[str, Tensor] = {}
        if weights.l1:
            parts["l1"] = F.l1_loss(prediction, target)
        if weights.ssim:
            from kornia.metrics import ssim

            parts["ssim"] = 1 - ssim(prediction, target, 11).mean()
        if self._lpips is not None:
            parts["lpips"] = self._lpips(prediction.clamp(0, 1), target).mean()
        if mask is not None:
            if weights.area:
                parts["area"] = area_loss(mask).mean()
            if weights.sparsity:
                parts["sparsity"] = sparsity_loss(mask).mean()
            if weights.smoothness:
                parts["smoothness"] = smoothness_loss(mask, photo).mean()
            if weights.binary:
                parts["binary"] = binary_loss(mask).mean()
        total = torch.zeros_like(target[0, 0, 0, 0])
        for name, part in parts.items():
            growing = settled if name in ("sparsity", "smoothness") else 1.0
            total = total + growing * getattr(weights, name) * part
        return {"total": total, **parts}
