"""What the fully convolutional mask models have in common: sides, batch norm, checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from depthbokeh.models.checkpoints import CheckpointError, load_checkpoint, read_checkpoint
from depthbokeh.models.inputs import IMAGENET_MEAN, IMAGENET_STD, normalize_photo, pad_to_multiple
from depthbokeh.models.masks.base import MaskModel
from depthbokeh.models.registry import Pretrained
from depthbokeh.models.weights import find_weights

if TYPE_CHECKING:
    from typing_extensions import Self


class SegmentationModel(MaskModel):
    """A fully convolutional network, for photos of any size, in batches of any size.

    A subclass implements :meth:`score`, and :meth:`decide` if the mask is not simply the score's sigmoid.

    Args:
        stride: By how much the network reduces a photo. Photos are continued to multiples of twice as much, so that
            batch norm has more than one value to look at.
        mean: What the network subtracts from each channel.
        std: What it divides each channel by.
        frozen_bn: Whether batch norm stays as in evaluation under ``.train()`` too: for fine-tuning on few photos at
            a time.
    """

    def __init__(
        self,
        *,
        stride: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        frozen_bn: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.mean, self.std = tuple(mean), tuple(std)
        self.frozen_bn = frozen_bn

    def predict(self, photo: Tensor) -> Tensor:
        """Return the mask ``(B, 1, H, W)`` of a checked photo, in its dtype."""
        height, width = photo.shape[2:]
        known = photo.to(next(self.parameters()).dtype)
        padded = pad_to_multiple(normalize_photo(known, self.mean, self.std), 2 * self.stride)
        coarse = self.score(padded).to(known.dtype)  # under autocast it is of lower precision
        scores = F.interpolate(coarse, size=padded.shape[2:], mode="bilinear")[..., :height, :width]
        return self.decide(scores, known).to(photo.dtype)

    @abstractmethod
    def score(self, photo: Tensor) -> Tensor:
        """Return scores ``(B, C, h, w)``, as logits, at a lower resolution, for a normalized photo."""

    def decide(self, scores: Tensor, photo: Tensor) -> Tensor:
        """Return the mask ``(B, 1, H, W)`` for scores ``(B, C, H, W)`` and the photo, 0..1, as it was given."""
        return scores.sigmoid()

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; frozen batch norm stays in evaluation."""
        super().train(mode)
        if self.frozen_bn:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch norm of what has been averaged over the whole photo.

    A batch of one photo has a single value then, of which there is no variance: it is normalized as in evaluation.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize ``(B, C, 1, 1)``."""
        if self.training and len(input) > 1:
            return super().forward(input)
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def check_weights(name: str, pretrained: Pretrained, backbone_weights: Pretrained) -> None:
    """Raise unless weights asked of a model can be had, of which none are published as a whole.

    Args:
        name: The model's name, for the message.
        pretrained: What is asked for the model.
        backbone_weights: What is asked for its backbone.

    Raises:
        CheckpointError: The published weights are asked for.
        ValueError: Weights are asked for both.
    """
    if pretrained is True:
        raise CheckpointError(
            f"pretrained is True, but there are no published weights of {name!r}: expected a checkpoint's path, or "
            "pretrained=False, with backbone_weights=True for a backbone that has learned ImageNet, and fine-tuning"
        )
    if pretrained is not False and backbone_weights is not False:
        raise ValueError(
            f"backbone_weights is {backbone_weights!r}, but {str(pretrained)!r} has a backbone: expected one of them"
        )


def load_weights(model: nn.Module, name: str, pretrained: Pretrained) -> None:
    """Load what ``pretrained`` asks for, if anything.

    Args:
        model: What is loaded into.
        name: The model's name.
        pretrained: ``False``, ``True`` or a checkpoint's path.

    Raises:
        CheckpointError: There is no such file, or it is not of this model.
    """
    path = find_weights(name, pretrained)
    if path is not None:
        load_checkpoint(model, read_checkpoint(path), path)
