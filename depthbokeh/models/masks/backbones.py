"""timm's networks as backbones, with the keys of their ordinary checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from depthbokeh.models.checkpoints import CheckpointError, load_checkpoint, read_checkpoint
from depthbokeh.models.download import quiet_hub
from depthbokeh.models.registry import Pretrained
from depthbokeh.models.vision import import_timm
from depthbokeh.models.weights import is_offline

# What timm and torchvision call the part that names ImageNet's classes.
_CLASSIFIERS = {"classifier", "fc", "head", "pre_logits"}
# These cannot be told to reduce by less.
_FIXED_STRIDE = ("vgg", "legacy_xception")


class Backbone(nn.Module):
    """Features of a photo at several resolutions.

    Args:
        name: One of ``timm.list_models()``: a network that has ``forward_intermediates``.
        reductions: At which fractions of the photo's resolution features are wanted, each the deepest ones there,
            from fine to coarse; the last is also the greatest by which the network reduces.
        weights: ``True`` for those that timm publishes, trained on ImageNet, or the path of such a checkpoint, or
            ``False``.
        checkpointing: Whether training computes features twice instead of keeping them.

    Attributes:
        channels: Channels of each of the features.
        mean: What the network's training subtracted from each channel of the photos.
        std: What it divided by.

    Raises:
        ValueError: The network does not have such features, or cannot compute them twice.
        CheckpointError: The weights cannot be had, or are of another network.

    Example:
        >>> import torch
        >>> backbone = Backbone("resnet10t", (4, 16))
        >>> [tuple(features.shape) for features in backbone(torch.rand(1, 3, 32, 64))]
        [(1, 64, 8, 16), (1, 512, 2, 4)]
    """

    def __init__(
        self, name: str, reductions: Sequence[int], *, weights: Pretrained = False, checkpointing: bool = False
    ) -> None:
        super().__init__()
        options = {} if name.startswith(_FIXED_STRIDE) else {"output_stride": reductions[-1]}
        network = _create(name, weights is True, options)
        info: list[dict[str, Any]] = list(network.feature_info)
        offered = {level["reduction"]: index for index, level in enumerate(info)}
        if not set(reductions) <= set(offered):
            raise ValueError(
                f"reductions are {tuple(reductions)}: expected some of {tuple(offered)}, those of {name!r}"
            )
        self.indices = [offered[reduction] for reduction in reductions]
        self.channels: list[int] = [info[index]["num_chs"] for index in self.indices]
        self.mean: Sequence[float] = network.pretrained_cfg["mean"]
        self.std: Sequence[float] = network.pretrained_cfg["std"]
        everything = set(network.state_dict())
        network.prune_intermediate_layers(self.indices, prune_head=True)
        if not isinstance(weights, bool):
            state = read_checkpoint(weights)
            load_checkpoint(network, _drop_unused(state, everything - set(network.state_dict())), weights)
        if checkpointing:
            _checkpoint(network, name)
        self.network: Any = network

    def forward(self, photo: Tensor) -> list[Tensor]:
        """Return the features, from fine to coarse, of a photo ``(B, 3, H, W)`` normalized by `mean` and `std`."""
        return cast(
            "list[Tensor]", self.network.forward_intermediates(photo, indices=self.indices, intermediates_only=True)
        )


def _create(name: str, pretrained: bool, options: dict[str, int]) -> Any:
    timm = import_timm()
    if not pretrained:
        return timm.create_model(name, num_classes=0, **options)
    if is_offline():
        raise CheckpointError(
            f"backbone_weights is True, but downloading is switched off (DEPTHBOKEH_OFFLINE, HF_HUB_OFFLINE or "
            f"--offline): expected a checkpoint's path for timm's {name!r}"
        )
    try:
        with quiet_hub():
            return timm.create_model(name, pretrained=True, num_classes=0, **options)
    except Exception as error:  # of the network, of the Hub, of the file system
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"backbone_weights is True, but timm's {name!r} cannot be downloaded: {reason}; expected a connection, or "
            "a checkpoint's path"
        ) from error


def _checkpoint(network: Any, name: str) -> None:
    try:
        network.set_grad_checkpointing(True)
    except AssertionError as error:
        raise ValueError(
            f"gradient_checkpointing is True, but timm's {name!r} does not know how: expected False"
        ) from error


def _drop_unused(state: Mapping[str, Tensor], unused: set[str]) -> dict[str, Tensor]:
    """A checkpoint without what a backbone does not have: the classifier and layers after the last features."""
    return {
        key: value for key, value in state.items() if key not in unused and key.partition(".")[0] not in _CLASSIFIERS
    }
