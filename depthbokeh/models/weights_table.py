"""Which weights are published for which model: where, under which licence, and how they are told from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_TORCHVISION = "https://download.pytorch.org/models/"
_TORCHVISION_LICENCE = "BSD-3-Clause; trained on COCO, whose terms may apply"


@dataclass(frozen=True)
class PublishedWeights:
    """A checkpoint that others have published.

    Attributes:
        name: The model that they are for.
        url: The file, or its page on the Hugging Face Hub.
        file: The file's name.
        repo: The Hub's repository that holds it, ``None`` if `url` is the file itself.
        sha256: The file's SHA-256 or the beginning of it (torchvision's file names have the first eight digits),
            ``None`` if none is published.
        mebibytes: The file's size as its publisher states it, or ``None``.
        licence: What its publisher says.
        source: The page that describes it.

    Example:
        >>> WEIGHTS["megadepth"].file
        'best_generalization_net_G.pth'
    """

    name: str
    url: str
    file: str
    licence: str
    source: str
    repo: str | None = None
    sha256: str | None = None
    mebibytes: float | None = None


def _torchvision(name: str, file: str, mebibytes: float, family: str) -> PublishedWeights:
    return PublishedWeights(
        name=name,
        url=_TORCHVISION + file,
        file=file,
        licence=_TORCHVISION_LICENCE,
        source=f"https://docs.pytorch.org/vision/stable/models/{family}.html",
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        mebibytes=mebibytes,
    )


WEIGHTS: Final = {
    weights.name: weights
    for weights in (
        _torchvision("deeplabv3_resnet50", "deeplabv3_resnet50_coco-cd0a2569.pth", 160.5, "deeplabv3"),
        _torchvision("deeplabv3_resnet101", "deeplabv3_resnet101_coco-586e9e4e.pth", 233.2, "deeplabv3"),
        _torchvision("deeplabv3_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large-fc3c493d.pth", 42.3, "deeplabv3"),
        _torchvision("mask_rcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", 169.8, "mask_rcnn"),
        PublishedWeights(
            name="megadepth",
            url="http://www.cs.cornell.edu/projects/megadepth/dataset/models/best_generalization_net_G.pth",
            file="best_generalization_net_G.pth",
            licence="MIT",
            source="https://www.cs.cornell.edu/projects/megadepth/",
        ),
        PublishedWeights(
            name="depth_anything_v2",
            url="https://huggingface.co/depth-anything/Depth-Anything-V2-Small-hf",
            file="model.safetensors",
            licence="Apache-2.0",
            source="https://huggingface.co/depth-anything/Depth-Anything-V2-Small-hf",
            repo="depth-anything/Depth-Anything-V2-Small-hf",
        ),
    )
}
"""The published weights by the name of their model."""
