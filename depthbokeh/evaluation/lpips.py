"""LPIPS, a learned distance between pictures: needs the extra ``depthbokeh[lpips]`` and AlexNet's ImageNet weights."""

from __future__ import annotations

import warnings
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from ..models.checkpoints import load_checkpoint, read_checkpoint
from ..models.vision import import_torchvision
from .metrics import check_pair

# The convolutions of torchvision's AlexNet, each in a slice of its own in the package lpips.
_CONVOLUTIONS = (0, 3, 6, 8, 10)
# Of what is smaller AlexNet's second pooling leaves nothing.
_LEAST_SIZE = 31


class LpipsError(ValueError):
    """LPIPS cannot be computed here, told in words for the user."""


class Lpips(nn.Module):
    """Learned perceptual image patch similarity (Zhang et al. 2018) by AlexNet, version 0.1; smaller is nearer.

    The package ``lpips`` brings the weights of the distance; AlexNet's own come from torchvision, which fetches them
    once into torch's hub folder.

    Args:
        backbone: A file with AlexNet's state dict as torchvision publishes it, to do without the network.

    Raises:
        LpipsError: If the package is not installed, or the weights cannot be fetched.
        CheckpointError: If the file is none of AlexNet's.
    """

    def __init__(self, backbone: str | PathLike[str] | None = None) -> None:
        super().__init__()
        torchvision = import_torchvision()
        try:
            import lpips
        except ImportError as error:
            raise LpipsError("LPIPS needs the package lpips: pip install 'depthbokeh[lpips]'") from error
        weights = _fetch_backbone(torchvision) if backbone is None else read_checkpoint(backbone)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips asks torchvision for models in a way that is deprecated
            self.distance = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        load_checkpoint(self.distance.net, _pick_convolutions(weights), backbone or "torchvision's weights")
        self.requires_grad_(False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Measures the distance.

        Args:
            prediction: ``(B, 3, H, W)``, sRGB 0..1, float32, at least 31 x 31 pixels.
            target: The same.

        Returns:
            ``(B,)``, 0 for equal pictures. Differentiable in both.

        Raises:
            ValueError: If a shape or type does not fit.
        """
        check_pair(prediction, target)
        height, width = prediction.shape[2:]
        if min(height, width) < _LEAST_SIZE:
            least = f"at least {_LEAST_SIZE} x {_LEAST_SIZE} for LPIPS"
            raise ValueError(f"prediction is {width} x {height} pixels: expected {least}")
        distance: Tensor = self.distance(prediction, target, normalize=True)  # (B, 1, 1, 1)
        return distance.flatten()


def _fetch_backbone(torchvision: Any) -> dict[str, Tensor]:
    entry = torchvision.models.AlexNet_Weights.IMAGENET1K_V1
    try:
        weights: dict[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True, map_location="cpu")
    except (OSError, RuntimeError) as error:  # no network, a broken file
        name = entry.url.rpartition("/")[2]
        raise LpipsError(
            f"LPIPS needs AlexNet's weights, which could not be fetched ({error}): put {name} into "
            f"{torch.hub.get_dir()}/checkpoints"
        ) from error
    return weights


def _pick_convolutions(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """From torchvision's keys to those of the package lpips, which has no use for the classifier."""
    slices = {str(index): f"slice{number}" for number, index in enumerate(_CONVOLUTIONS, 1)}
    picked = {}
    for key, value in weights.items():
        part, _, name = key.partition(".")
        if part == "features":
            picked[f"{slices.get(name.partition('.')[0], part)}.{name}"] = value
    return picked
