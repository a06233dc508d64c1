"""DeepLab: atrous spatial pyramid pooling, a decoder and a feathering block on one of timm's backbones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbokeh.models.masks.backbones import Backbone
from depthbokeh.models.masks.feathering import Feathering
from depthbokeh.models.masks.segmentation import PooledBatchNorm, SegmentationModel, check_weights, load_weights
from depthbokeh.models.registry import Pretrained, register_mask_model

_FINE, _COARSE = 4, 16  # the resolutions of the features
_RATES = (6, 12, 18)  # dilations, at the coarse one
_BACKBONES = {
    "deeplab_vgg16": "vgg16",
    "deeplab_resnet50": "resnet50",
    "deeplab_mobilenet": "mobilenetv2_100",
    "deeplab_xception65": "xception65",
}


class DeepLab(SegmentationModel):
    """DeepLabv3+ for one subject, with a soft edge.

    Features at a 16th of the resolution pass through parallel atrous convolutions and image pooling, and a decoder
    brings them, with features at a quarter of the resolution, to a coarse mask; :class:`Feathering` finishes it in
    full resolution. L.-C. Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image
    Segmentation, 2018.

    Args:
        backbone: Name of a network of timm's.
        backbone_weights: ``True`` for those timm publishes, trained on ImageNet, or the path of such a checkpoint.
        width: Channels of the pyramid and of the decoder.
        frozen_bn: Whether batch norm stays as in evaluation under ``.train()`` too.
        gradient_checkpointing: Whether training computes the backbone's features twice instead of keeping them: less
            memory. Not with VGG.

    Raises:
        ValueError: The backbone lacks features at a 4th or a 16th of the resolution, or cannot compute them twice.
        CheckpointError: The backbone's weights cannot be had, or are of another network.

    Example:
        >>> model = DeepLab("mobilenetv2_035", width=16)
        >>> model.eval()(torch.rand(1, 3, 50, 70)).shape
        torch.Size([1, 1, 50, 70])
    """

    def __init__(
        self,
        backbone: str,
        *,
        backbone_weights: Pretrained = False,
        width: int = 256,
        frozen_bn: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        features = Backbone(backbone, (_FINE, _COARSE), weights=backbone_weights, checkpointing=gradient_checkpointing)
        super().__init__(stride=_COARSE, mean=features.mean, std=features.std, frozen_bn=frozen_bn)
        fine, coarse = features.channels
        low = max(1, width * 3 // 16)  # 48 of 256, the paper's
        self.backbone = features
        self.pyramid = _Pyramid(coarse, width)
        self.low = _convolve(fine, low, 1)
        self.decoder = nn.Sequential(_convolve_apart(width + low, width), _convolve_apart(width, width))
        self.head = nn.Conv2d(width, 1, 1)
        self.feathering = Feathering()

    def score(self, photo: Tensor) -> Tensor:
        """Return the coarse mask's log-odds ``(B, 1, H / 4, W / 4)``."""
        fine, coarse = self.backbone(photo)
        context = F.interpolate(self.pyramid(coarse), size=fine.shape[2:], mode="bilinear")
        scores: Tensor = self.head(self.decoder(torch.cat([context, self.low(fine)], 1)))
        return scores

    def decide(self, scores: Tensor, photo: Tensor) -> Tensor:
        """Return the mask with its soft edge."""
        mask: Tensor = self.feathering(scores, photo)
        return mask


class _Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: neighbourhoods of several sizes, and the whole photo, side by side."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.near = nn.ModuleList(
            [_convolve(channels, width, 1), *(_convolve(channels, width, 3, dilation=rate) for rate in _RATES)]
        )
        self.photo = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, width, 1, bias=False),
            PooledBatchNorm(width),
            nn.ReLU(inplace=True),
        )
        self.project = _convolve((len(self.near) + 1) * width, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, width, h, w)``."""
        near = [branch(features) for branch in self.near]
        pooled: Tensor = self.photo(features)
        projected: Tensor = self.project(torch.cat([*near, pooled.expand_as(near[0])], 1))
        return projected


def _convolve(channels: int, width: int, side: int, *, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    padding = dilation * (side // 2)
    convolution = nn.Conv2d(channels, width, side, padding=padding, dilation=dilation, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _convolve_apart(channels: int, width: int) -> nn.Sequential:
    """In space, then across channels, as the decoder of the paper does."""
    return nn.Sequential(_convolve(channels, channels, 3, groups=channels), _convolve(channels, width, 1))


def _create(
    name: str,
    *,
    pretrained: Pretrained = False,
    backbone_weights: Pretrained = False,
    backbone: str | None = None,
    **options: Any,
) -> DeepLab:
    """Another ``backbone`` of timm's, such as ``"test_resnet"``, makes a small model for trials."""
    check_weights(name, pretrained, backbone_weights)
    model = DeepLab(backbone or _BACKBONES[name], backbone_weights=backbone_weights, **options)
    load_weights(model, name, pretrained)
    return model


for _name in _BACKBONES:
    _factory: Callable[..., DeepLab] = partial(_create, _name)
    register_mask_model(_name)(_factory)
