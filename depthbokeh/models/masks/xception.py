"""Saliency from Xception, and Otsu's threshold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from depthbokeh.models.masks.backbones import Backbone
from depthbokeh.models.masks.segmentation import SegmentationModel, check_weights, load_weights
from depthbokeh.models.registry import Pretrained, register_mask_model

_BACKBONES = {"xception": ("xception65", 16), "legacy_xception": ("legacy_xception", 32)}
# In training the mask passes from 0 to 1 over a part of the distance between the mean saliency of subject and
# surroundings: at those it is 0.007 and 0.993.
_SOFTNESS = 0.1
_LEAST_DISTANCE = 1e-3


class Xception(SegmentationModel):
    """A saliency map, thresholded: the subject is what stands out.

    Evaluation returns a hard mask, 0 or 1, without gradient; training a sigmoid round the same threshold, through which
    gradients flow, with the threshold itself constant. F. Chollet, Xception: Deep Learning with Depthwise Separable
    Convolutions, 2017.

    Args:
        backbone: Name of a network of timm's.
        stride: By how much it reduces: 16, or 32 for ``"legacy_xception"``.
        backbone_weights: ``True`` for those timm publishes, trained on ImageNet, or the path of such a checkpoint.
        width: Channels of the head.
        frozen_bn: Whether batch norm stays as in evaluation under ``.train()`` too.
        gradient_checkpointing: Whether training computes the backbone's features twice instead of keeping them: less
            memory. Not with ``"legacy_xception"``.

    Raises:
        ValueError: The backbone cannot reduce by so much, or cannot compute features twice.
        CheckpointError: The backbone's weights cannot be had, or are of another network.

    Example:
        >>> mask = Xception("legacy_xception", 32, width=8).eval()(torch.rand(1, 3, 50, 70))
        >>> mask.shape, mask.unique()
        (torch.Size([1, 1, 50, 70]), tensor([0., 1.]))
    """

    def __init__(
        self,
        backbone: str = "xception65",
        stride: int = 16,
        *,
        backbone_weights: Pretrained = False,
        width: int = 256,
        frozen_bn: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        features = Backbone(backbone, (stride,), weights=backbone_weights, checkpointing=gradient_checkpointing)
        super().__init__(stride=stride, mean=features.mean, std=features.std, frozen_bn=frozen_bn)
        self.backbone = features
        self.head = nn.Sequential(
            nn.Conv2d(features.channels[0], width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 1, 1),
        )

    def score(self, photo: Tensor) -> Tensor:
        """Return the saliency's log-odds ``(B, 1, H / stride, W / stride)``."""
        scores: Tensor = self.head(self.backbone(photo)[0])
        return scores

    def decide(self, scores: Tensor, photo: Tensor) -> Tensor:
        """Return the saliency on the upper side of its threshold, hard in evaluation, soft in training."""
        saliency = scores.sigmoid()
        return soften_threshold(saliency) if self.training else (saliency > find_threshold(saliency)).to(saliency.dtype)


def find_threshold(saliency: Tensor) -> Tensor:
    """Return the values that part each map best in two: Otsu's threshold.

    Args:
        saliency: ``(B, 1, H, W)``.

    Returns:
        ``(B, 1, 1, 1)``, without gradient; what is above belongs to the subject, of a constant map nothing.

    Example:
        >>> find_threshold(torch.tensor([0.1, 0.2, 0.8, 0.9]).view(1, 1, 2, 2)).item() < 0.8
        True
    """
    from kornia.filters import otsu_threshold

    wide = torch.promote_types(saliency.dtype, torch.float32)
    thresholds: Tensor = otsu_threshold(saliency.detach().to(wide))[1]
    return thresholds.view(-1, 1, 1, 1).to(saliency.dtype)


def soften_threshold(saliency: Tensor) -> Tensor:
    """Return a mask that is nearly 1 above Otsu's threshold and nearly 0 below, differentiably.

    How softly it passes over is measured by the distance between the means of both sides, and so does not depend on the
    map's contrast. Threshold and distance are constant to the gradient.

    Args:
        saliency: ``(B, 1, H, W)``.

    Returns:
        ``(B, 1, H, W)``, 0..1.

    Example:
        >>> saliency = torch.tensor([0.1, 0.2, 0.8, 0.9]).view(1, 1, 2, 2)
        >>> bool((soften_threshold(saliency) - soften_threshold(saliency / 2)).abs().max() < 1e-4)
        True
    """
    fixed = saliency.detach()
    threshold = find_threshold(saliency)
    upper = (fixed > threshold).to(fixed.dtype)
    means = [
        (fixed * side).sum((2, 3), keepdim=True) / side.sum((2, 3), keepdim=True).clamp(min=1)
        for side in (upper, 1 - upper)
    ]
    distance = (means[0] - means[1]).clamp(min=_LEAST_DISTANCE)
    return ((saliency - threshold) / (_SOFTNESS * distance)).sigmoid()


def _create(
    name: str,
    *,
    pretrained: Pretrained = False,
    backbone_weights: Pretrained = False,
    backbone: str | None = None,
    stride: int | None = None,
    **options: Any,
) -> Xception:
    """Another ``backbone``, such as ``"test_resnet"``, makes a small model, another ``stride`` one for small photos."""
    check_weights(name, pretrained, backbone_weights)
    network, usual = _BACKBONES[name]
    model = Xception(backbone or network, stride or usual, backbone_weights=backbone_weights, **options)
    load_weights(model, name, pretrained)
    return model


for _name in _BACKBONES:
    _factory: Callable[..., Xception] = partial(_create, _name)
    register_mask_model(_name)(_factory)
