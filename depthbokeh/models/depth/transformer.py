"""Depth networks of the transformers library: Depth Anything, DPT and others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from depthbokeh.models.checkpoints import CheckpointError, load_checkpoint, read_checkpoint
from depthbokeh.models.depth.base import DepthKind, DepthModel, check_depth_kind
from depthbokeh.models.depth.sources import resize_values
from depthbokeh.models.hub import load_network
from depthbokeh.models.inputs import IMAGENET_MEAN, IMAGENET_STD, normalize_photo
from depthbokeh.models.registry import Pretrained, refuse_weights, register_depth_model
from depthbokeh.models.vision import import_transformers
from depthbokeh.models.weights import find_weights

_AUTO_CLASSES = {"MODEL_FOR_DEPTH_ESTIMATION_MAPPING": "AutoModelForDepthEstimation"}
# Depth Pro returns the reciprocal of depth for a field of view that is not known.
_KINDS: dict[str, DepthKind] = {
    "depth_pro": "disparity",
    "dpt": "relative_disparity",
    "glpn": "depth",
    "zoedepth": "depth",
}


@dataclass(frozen=True)
class Preparation:
    """How a network wants to see a photo; by default as Depth Anything does.

    Attributes:
        size: (H, W) that the photo is resized to.
        multiple: What its sides are then multiples of.
        keep_aspect: Whether only one of the sides becomes as ``size`` says: the one for which the photo changes less.
        mean: Per channel, subtracted.
        std: Per channel, divided by.
    """

    size: tuple[int, int] = (518, 518)
    multiple: int = 14
    keep_aspect: bool = True
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if min(*self.size, self.multiple) < 1:
            raise ValueError(f"size is {self.size} and multiple {self.multiple}: expected pixels, at least 1")

    def find_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (H, W) that a photo of this size is resized to.

        Example:
            >>> Preparation().find_size(1024, 1536)
            (518, 784)
        """
        scales = [self.size[0] / height, self.size[1] / width]
        if self.keep_aspect:
            # The width's only if that changes the photo less.
            scales = [scales[1] if abs(1 - scales[1]) < abs(1 - scales[0]) else scales[0]] * 2
        sides = [
            max(1, round(side * scale / self.multiple)) * self.multiple
            for side, scale in zip((height, width), scales, strict=True)
        ]
        return sides[0], sides[1]

    def __call__(self, photo: Tensor) -> Tensor:
        """Resize and normalize a photo ``(B, 3, H, W)``, sRGB 0..1; differentiable."""
        size = self.find_size(*photo.shape[2:])
        seen = F.interpolate(photo, size, mode="bicubic", antialias=True).clamp(0, 1)  # it overshoots at edges
        return normalize_photo(seen, self.mean, self.std)

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Preparation:
        """Read what a checkpoint's ``preprocessor_config.json`` says of resizing and normalizing."""
        size = config.get("size") or {}
        if isinstance(size, int):
            size = {"height": size, "width": size}
        sized = {"size": (int(size["height"]), int(size["width"]))} if "height" in size else {}
        return cls(
            multiple=max(1, int(config.get("ensure_multiple_of") or config.get("size_divisor") or 1)),
            keep_aspect=bool(config.get("keep_aspect_ratio", not sized)),
            mean=config.get("image_mean") or (0.0, 0.0, 0.0),
            std=config.get("image_std") or (1.0, 1.0, 1.0),
            **sized,
        )


class TransformersDepth(DepthModel):
    """A depth network of transformers.

    Args:
        network: What is called with ``pixel_values=`` and returns ``predicted_depth`` ``(B, h, w)``.
        kind: What that is.
        prepare: How the network wants to see a photo.

    Raises:
        ValueError: ``kind`` is unknown.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> class Network(nn.Module):
        ...     def forward(self, pixel_values):
        ...         return SimpleNamespace(predicted_depth=pixel_values[:, 0])
        >>> TransformersDepth(Network(), "relative_disparity")(torch.rand(1, 3, 20, 30)).shape
        torch.Size([1, 1, 20, 30])
    """

    def __init__(self, network: nn.Module, kind: DepthKind, prepare: Preparation | None = None) -> None:
        super().__init__()
        check_depth_kind(kind)
        self.network = network
        self.kind = kind
        self.prepare = prepare if prepare is not None else Preparation()

    def predict(self, photo: Tensor) -> Tensor:
        """Return the network's values ``(B, 1, H, W)`` of a photo ``(B, 3, H, W)``, sRGB 0..1."""
        values: Tensor = self.network(pixel_values=self.prepare(photo)).predicted_depth  # (B, h, w)
        return resize_values(values[:, None], photo, self.kind)


@register_depth_model("depth_anything_v2")
def depth_anything_v2(*, pretrained: Pretrained = False, frozen: bool = False) -> TransformersDepth:
    """Build Depth Anything V2, small (Yang et al., 2024), which returns relative disparity.

    Args:
        pretrained: ``True`` for the published weights, the path of a checkpoint of this network or of the folder in
            transformers' layout that holds it, or ``False``.
        frozen: Whether the weights are fixed, see :meth:`DepthModel.freeze`.

    Raises:
        ImportError: transformers is not installed.
        CheckpointError: The weights cannot be had, or are another network's.
    """
    if not isinstance(pretrained, bool) and Path(pretrained).is_dir():
        pretrained = Path(pretrained, "model.safetensors")
    transformers = import_transformers()
    backbone = transformers.Dinov2Config(
        image_size=518,
        hidden_size=384,
        num_attention_heads=6,
        out_indices=[3, 6, 9, 12],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    network = transformers.DepthAnythingForDepthEstimation(transformers.DepthAnythingConfig(backbone_config=backbone))
    path = find_weights("depth_anything_v2", pretrained)
    if path is not None:
        load_checkpoint(network, read_checkpoint(path), path)
    model = TransformersDepth(network, "relative_disparity")
    return model.freeze() if frozen else model


@register_depth_model("from_transformers")
def from_transformers(
    *,
    model: str | os.PathLike[str] | nn.Module,
    kind: DepthKind | None = None,
    frozen: bool = False,
    pretrained: Pretrained = False,
) -> TransformersDepth:
    """Build a :class:`TransformersDepth` from any network of transformers' ``AutoModelForDepthEstimation``.

    Args:
        model: A model's name on the hub, such as ``"Intel/dpt-large"``, a folder in transformers' layout, or a network
            that has been loaded already, which is shown photos as Depth Anything is.
        kind: What the network returns; only needed for one that is not known here.
        frozen: Whether the weights are fixed, see :meth:`DepthModel.freeze`.
        pretrained: ``False``: ``model`` says which weights.

    Raises:
        ImportError: transformers is not installed.
        CheckpointError: There is no such model, it cannot be had, or tensors are missing.
        ValueError: It does not estimate depth, or it is not known what it returns.
    """
    refuse_weights("from_transformers", pretrained)
    prepare = None
    if isinstance(model, nn.Module):
        network: Any = model
    else:
        network, config = load_network(str(model), _AUTO_CLASSES, "estimates depth")
        if not config:
            raise CheckpointError(f"model is {str(model)!r}: preprocessor_config.json is missing")
        prepare = Preparation.parse(config)
    built = TransformersDepth(network, kind or _find_kind(network), prepare)
    return built.freeze() if frozen else built


def _find_kind(network: Any) -> DepthKind:
    config: Any = getattr(network, "config", None)
    if getattr(config, "depth_estimation_type", None) is not None:
        return "depth" if config.depth_estimation_type == "metric" else "relative_disparity"
    family = getattr(config, "model_type", type(network).__name__)
    if family not in _KINDS:
        raise ValueError(
            f"kind is not given, and not known of {family!r}: expected what the network returns, disparity, "
            "relative_disparity, depth or log_depth"
        )
    return _KINDS[family]
