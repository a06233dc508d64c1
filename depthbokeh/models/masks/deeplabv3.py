"""DeepLabv3 as torchvision builds it, for its checkpoints trained on COCO with Pascal VOC's classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from torch import Tensor

from depthbokeh.models.checkpoints import load_checkpoint, read_checkpoint
from depthbokeh.models.masks.segmentation import PooledBatchNorm, SegmentationModel
from depthbokeh.models.registry import Pretrained, register_mask_model
from depthbokeh.models.vision import import_torchvision
from depthbokeh.models.weights import find_weights

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""Pascal VOC's classes, in the order of the checkpoints."""

_NAMES = ("deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large")
_STRIDE = 16  # of all: the ResNets' is 8


class DeepLabV3(SegmentationModel):
    """torchvision's DeepLabv3; the mask is the probability of the classes that are subjects.

    The state dict is torchvision's, key for key. L.-C. Chen et al., Rethinking Atrous Convolution for Semantic Image
    Segmentation, 2017.

    Args:
        network: The name of torchvision's function: ``"deeplabv3_resnet50"``, ``"deeplabv3_resnet101"`` or
            ``"deeplabv3_mobilenet_v3_large"``.
        classes: Names of :data:`VOC_CLASSES` that are subjects, by default all but the background.
        auxiliary: Whether the state dict has torchvision's auxiliary classifier, which the mask does not need.
        frozen_bn: Whether batch norm stays as in evaluation under ``.train()`` too.

    Raises:
        ValueError: Network or class are unknown.

    Example:
        >>> import torch
        >>> model = DeepLabV3("deeplabv3_mobilenet_v3_large", classes=("person", "dog"))
        >>> model.eval()(torch.rand(1, 3, 50, 70)).shape
        torch.Size([1, 1, 50, 70])
    """

    def __init__(
        self,
        network: str = "deeplabv3_resnet50",
        *,
        classes: Sequence[str] | None = None,
        auxiliary: bool = False,
        frozen_bn: bool = False,
    ) -> None:
        super().__init__(stride=_STRIDE, frozen_bn=frozen_bn)
        if network not in _NAMES:
            raise ValueError(f"network is {network!r}: expected one of {', '.join(_NAMES)}")
        self.classes = check_classes(VOC_CLASSES[1:] if classes is None else classes)
        import_torchvision()
        build = getattr(import_module("torchvision.models.segmentation"), network)
        whole = build(weights=None, weights_backbone=None, num_classes=len(VOC_CLASSES), aux_loss=auxiliary)
        _pool_single_photos(whole.classifier[0].convs[-1])
        self.backbone, self.classifier, self.aux_classifier = whole.backbone, whole.classifier, whole.aux_classifier

    def score(self, photo: Tensor) -> Tensor:
        """Return the classes' scores ``(B, 21, H / 8, W / 8)``."""
        scores: Tensor = self.classifier(self.backbone(photo)["out"])
        return scores

    def decide(self, scores: Tensor, photo: Tensor) -> Tensor:
        """Return the probability that a pixel is of one of the classes."""
        return scores.softmax(1)[:, list(self.classes)].sum(1, keepdim=True).clamp(max=1)  # rounding exceeds 1


def check_classes(classes: Sequence[str]) -> tuple[int, ...]:
    """Return the indices of Pascal VOC's classes.

    Args:
        classes: Some of :data:`VOC_CLASSES`.

    Raises:
        ValueError: There are none, or one is unknown.

    Example:
        >>> check_classes(["person", "dog"])
        (12, 15)
    """
    unknown = [name for name in classes if name not in VOC_CLASSES]
    if isinstance(classes, str) or unknown or not classes:
        raise ValueError(f"classes are {classes!r}: expected a list of names out of {', '.join(VOC_CLASSES)}")
    return tuple(sorted({VOC_CLASSES.index(name) for name in classes}))


def _pool_single_photos(branch: Any) -> None:
    """Let image pooling, which torchvision refuses then, take a batch of one photo in training."""
    for index, layer in enumerate(branch):
        if hasattr(layer, "running_mean"):
            branch[index] = PooledBatchNorm(layer.num_features, eps=layer.eps, momentum=layer.momentum)


def _create(name: str, *, pretrained: Pretrained = False, **options: Any) -> DeepLabV3:
    path = find_weights(name, pretrained)
    model = DeepLabV3(name, **options)
    if path is not None:
        state = read_checkpoint(path)
        if model.aux_classifier is None:
            state = {key: value for key, value in state.items() if not key.startswith("aux_classifier.")}
        load_checkpoint(model, state, path)
    return model


for _name in _NAMES:
    _factory: Callable[..., DeepLabV3] = partial(_create, _name)
    register_mask_model(_name)(_factory)
