"""The modules that hold Mask R-CNN's weights, and the names of what it finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import nn

from depthbokeh.models.vision import import_torchvision

Body: TypeAlias = Literal["resnet50", "resnet10"]

LIVING = ("person", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
_NAMELESS = ("__background__", "N/A")
# Of fresh weights: by what probability a region is the subject's, and a pixel in it.
_SUBJECT, _MASK = 0.97, 0.05


def build_network(body: Body, channels: int, hidden: int, frozen_bn: bool, trainable_layers: int) -> nn.Module:
    """Builds torchvision's Mask R-CNN, whose parts are used and whose ``forward`` is not.

    Args:
        body: The ResNet below the feature pyramid.
        channels: Of the feature pyramid and of the mask head.
        hidden: Of the box head.
        frozen_bn: Whether BatchNorm's statistics and factors are constants.
        trainable_layers: 0 to 5, how many of the body's five stages are trained, counted from the last.

    Raises:
        ValueError: If an argument is out of range.
    """
    if body not in get_args(Body):
        raise ValueError(f"body is {body!r}: expected one of {', '.join(get_args(Body))}")
    if trainable_layers not in range(6):
        raise ValueError(f"trainable_layers is {trainable_layers}: expected 0 to 5")
    import_torchvision()
    resnet = import_module("torchvision.models.resnet")
    backbones = import_module("torchvision.models.detection.backbone_utils")
    heads = import_module("torchvision.models.detection.mask_rcnn")
    boxes = import_module("torchvision.models.detection.faster_rcnn")
    frozen = import_module("torchvision.ops.misc").FrozenBatchNorm2d

    # The published weights were trained with variances to which nothing is added.
    norm = partial(frozen, eps=0.0) if frozen_bn else nn.BatchNorm2d
    block, depths = (resnet.Bottleneck, (3, 4, 6, 3)) if body == "resnet50" else (resnet.BasicBlock, (1, 1, 1, 1))
    stages = resnet.ResNet(block, depths, norm_layer=norm)
    _freeze(stages, trainable_layers)
    backbone = backbones.BackboneWithFPN(
        stages,
        {f"layer{i + 1}": str(i) for i in range(4)},
        [64 * block.expansion * 2**i for i in range(4)],
        channels,
    )
    classes = len(name_labels())
    network: nn.Module = heads.MaskRCNN(
        backbone,
        box_head=boxes.TwoMLPHead(channels * 7**2, hidden),
        box_predictor=boxes.FastRCNNPredictor(hidden, classes),
        mask_head=heads.MaskRCNNHeads(channels, (channels,) * 4, 1),
        mask_predictor=heads.MaskRCNNPredictor(channels, channels, classes),
    )
    return network


def open_heads(heads: Any, labels: Sequence[int]) -> None:
    """Sets fresh heads so that masks alone can teach them.

    At first every region counts as the subject's, one as much as the other, but almost nothing in it as mask. With
    scores that begin at chance no mask would matter, and from half a mask in every region the way leads to none at
    all: most of a photo is not subject. To begin with the share that is expected is due to T.-Y. Lin et al., Focal Loss
    for Dense Object Detection, 2017.

    Args:
        heads: torchvision's ``RoIHeads``.
        labels: Of the classes that may be subject.
    """
    scores, masks = heads.box_predictor.cls_score, heads.mask_predictor.mask_fcn_logits
    others = len(scores.bias) - len(labels)
    nn.init.zeros_(scores.weight)
    nn.init.zeros_(scores.bias)
    with torch.no_grad():
        scores.bias[list(labels)] = math.log(_SUBJECT / (1 - _SUBJECT) * others / len(labels))
    nn.init.constant_(masks.bias, math.log(_MASK / (1 - _MASK)))


def name_labels() -> list[str]:
    """Returns COCO's names in the order of the labels, 91 with the background and those left out."""
    import_torchvision()
    weights = import_module("torchvision.models.detection").MaskRCNN_ResNet50_FPN_Weights
    return list(weights.COCO_V1.meta["categories"])


def find_labels(classes: str | Sequence[str]) -> list[int]:
    """Returns the labels of classes given by name.

    Raises:
        ValueError: If there are none, or one is not COCO's.

    Example:
        >>> find_labels(["person", "dog"])
        [1, 18]
    """
    names = name_labels()
    wanted = [classes] if isinstance(classes, str) else list(classes)
    unknown = [name for name in wanted if name not in names or name in _NAMELESS]
    if unknown or not wanted:
        known = ", ".join(name for name in names if name not in _NAMELESS)
        raise ValueError(f"classes is {classes!r}: expected one or several of {known}")
    return [names.index(name) for name in wanted]


def _freeze(stages: nn.Module, trainable_layers: int) -> None:
    trained = ("layer4", "layer3", "layer2", "layer1", "conv1")[:trainable_layers]
    if trainable_layers == 5:
        trained += ("bn1",)
    for name, parameter in stages.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
