"""Segmentation and matting networks of the transformers library, and others that are called alike."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from depthbokeh.models.hub import load_network
from depthbokeh.models.inputs import IMAGENET_MEAN, IMAGENET_STD, normalize_photo
from depthbokeh.models.masks.base import MaskModel
from depthbokeh.models.masks.sources import resize_mask
from depthbokeh.models.registry import Pretrained, refuse_weights, register_mask_model

_MULTIPLE = 32  # of the sides of a photo whose size a network leaves open
_AUTO_CLASSES = {  # which of transformers' families can be used, by its table of configurations
    "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING": "AutoModelForSemanticSegmentation",
    "MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING": "AutoModelForUniversalSegmentation",
    "MODEL_FOR_IMAGE_MATTING_MAPPING": "AutoModelForImageMatting",
}
_BACKGROUND = ("background", "__background__", "unlabeled")


class TransformersMask(MaskModel):
    """The mask that a network of transformers finds in a photo.

    What the network returns is told by its names: ``logits`` of classes (semantic segmentation), or of one class
    (saliency); ``class_queries_logits`` and ``masks_queries_logits`` (MaskFormer, Mask2Former, EoMT), or ``logits`` and
    ``pred_masks`` (DETR), of which the subject is the soft union ``1 - prod(1 - p mask)``; ``alphas`` (matting). Of a
    tensor, or of a list of tensors, as BiRefNet returns, the last one is taken, as logits of one class.

    Args:
        network: Called with normalized photos ``(B, 3, h, w)``.
        labels: The names of its classes by index.
        classes: Names of those that are subjects; by default all but the background, if there is a class of that name.
        size: Of what it sees: ``{"height": ..., "width": ...}``, ``{"shortest_edge": ...}`` with or without
            ``"longest_edge"``, or ``None`` for the photo's own.
        mean: What it expects to be subtracted from each channel.
        std: What it expects each channel to be divided by.

    Raises:
        ValueError: A class is unknown, or none is given and there is no background.

    Example:
        >>> import torch
        >>> network = torch.nn.Conv2d(3, 1, 1)
        >>> TransformersMask(network)(torch.rand(1, 3, 20, 30)).shape
        torch.Size([1, 1, 20, 30])
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        labels: Mapping[int, str] | None = None,
        classes: Sequence[str] | None = None,
        size: Mapping[str, int] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.network = network
        self.classes = _find_classes(labels or {}, classes)
        self.size = dict(size) if size else None
        self.mean, self.std = tuple(mean), tuple(std)

    def predict(self, photo: Tensor) -> Tensor:
        """Return the mask ``(B, 1, H, W)`` of a checked photo."""
        known = photo.to(next(self.network.parameters(), photo).dtype)
        seen = F.interpolate(known, find_size(self.size, *photo.shape[2:]), mode="bilinear", antialias=True)
        mask = self._read(self.network(normalize_photo(seen, self.mean, self.std)))
        return resize_mask(mask, photo).clamp(0, 1)

    def _read(self, output: Any) -> Tensor:
        """The subject's probability (B, 1, h, w)."""
        if hasattr(output, "masks_queries_logits"):
            return self._unite(output.class_queries_logits, output.masks_queries_logits)
        if hasattr(output, "pred_masks"):
            return self._unite(output.logits, output.pred_masks)
        if hasattr(output, "alphas"):
            alphas: Tensor = output.alphas
            return alphas
        logits = getattr(output, "logits", output)
        while isinstance(logits, list | tuple) and logits:
            logits = logits[-1]
        if not isinstance(logits, Tensor) or logits.ndim != 4:
            came = tuple(logits.shape) if isinstance(logits, Tensor) else type(output).__name__
            raise ValueError(f"network returned {came}: expected logits (B, classes, h, w), masks of queries or alphas")
        if logits.shape[1] == 1:
            return logits.sigmoid()
        return logits.softmax(1)[:, self._need_classes(logits.shape[1])].sum(1, keepdim=True)

    def _unite(self, classes: Tensor, masks: Tensor) -> Tensor:
        """Soft union of masks (B, Q, h, w), each as sure as its classes (B, Q, labels and none) are subjects."""
        sure = classes.softmax(2)[..., self._need_classes(classes.shape[2] - 1)].sum(2)
        return 1 - (1 - sure[..., None, None] * masks.sigmoid()).prod(1, keepdim=True)

    def _need_classes(self, count: int) -> list[int]:
        if not self.classes or max(self.classes) >= count:
            raise ValueError(
                f"classes are {self.classes}, of {count} that the network tells apart: expected some of those"
            )
        return list(self.classes)


def find_size(size: Mapping[str, int] | None, height: int, width: int) -> tuple[int, int]:
    """Return (H, W) that a photo of this size is resized to.

    Args:
        size: As for :class:`TransformersMask`.
        height: H of the photo.
        width: W of the photo.

    Example:
        >>> find_size({"shortest_edge": 512}, 1024, 1536), find_size({"height": 512, "width": 512}, 1024, 1536)
        ((512, 768), (512, 512))
    """
    if size and "height" in size:
        return size["height"], size["width"]
    scale = size["shortest_edge"] / min(height, width) if size and "shortest_edge" in size else 1.0
    if size and "longest_edge" in size:
        scale = min(scale, size["longest_edge"] / max(height, width))
    rows, columns = (max(1, round(side * scale / _MULTIPLE)) * _MULTIPLE for side in (height, width))
    return rows, columns


@register_mask_model("from_transformers")
def from_transformers(
    *,
    model: str | os.PathLike[str] | nn.Module,
    classes: Sequence[str] | None = None,
    size: Mapping[str, int] | None = None,
    pretrained: Pretrained = False,
) -> TransformersMask:
    """Build a :class:`TransformersMask`.

    Args:
        model: A model's name on the hub, such as ``"nvidia/segformer-b0-finetuned-ade-512-512"``, a folder in
            transformers' layout, or a network that has been loaded already, as one that brings its own code must be.
        classes: Names of the network's classes that are subjects, see :class:`TransformersMask`.
        size: Of what the network sees, by default what its folder says.
        pretrained: ``False``: ``model`` says which weights.

    Raises:
        ImportError: transformers is not installed.
        CheckpointError: There is no such model, it cannot be had, or tensors are missing.
        ValueError: It is of a kind that finds no masks, or its classes do not fit.
    """
    refuse_weights("from_transformers", pretrained)
    prepared: dict[str, Any] = {}
    if isinstance(model, nn.Module):
        network: Any = model
    else:
        network, config = load_network(str(model), _AUTO_CLASSES, "segments or mattes photos")
        prepared = _prepare(config)
    if size is not None:
        prepared["size"] = size
    labels = getattr(getattr(network, "config", None), "id2label", None)
    return TransformersMask(network, labels=labels, classes=classes, **prepared)


def _prepare(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a network wants to see a photo, as far as its folder says."""
    size = config.get("size")
    if isinstance(size, int):
        size = {"shortest_edge": size}
    found = {"size": size, "mean": config.get("image_mean"), "std": config.get("image_std")}
    return {name: value for name, value in found.items() if value}


def _find_classes(labels: Mapping[int, str], classes: Sequence[str] | None) -> tuple[int, ...]:
    """The indices of the classes that are subjects, none of a network without names."""
    names = {label.lower(): int(index) for index, label in labels.items()}
    told = f"{', '.join(list(names)[:8])}{' ...' if len(names) > 8 else ''}"
    if classes is not None:
        unknown = [name for name in classes if name.lower() not in names]
        if isinstance(classes, str) or unknown or not classes:
            raise ValueError(f"classes are {classes!r}: expected a list of the network's: {told}")
        return tuple(sorted({names[name.lower()] for name in classes}))
    background = [name for name in _BACKGROUND if name in names]
    if len(names) > 1 and not background:
        raise ValueError(f"classes are not given, and none is the background: expected a list of some of {told}")
    return tuple(index for name, index in sorted(names.items()) if name not in background)
