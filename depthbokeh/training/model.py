"""The pipeline as it is trained: what its models find, rendered through a lens that is learned too."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.layers import find_focus
from depthbokeh.pipeline import BokehPipeline
from depthbokeh.training.lens import LensParameters


class Prediction(NamedTuple):
    """What the model makes of a batch."""

    bokeh: Tensor  # (B, 3, H, W), sRGB
    mask: Tensor | None  # (B, 1, H, W)


class LearnedPipeline(nn.Module):
    """A pipeline and the lens of the photographs that it learns from.

    Args:
        pipeline: Its mask model, and its depth model if that has parameters that need gradients, are trained.
        lens: Strength, focus and gain.
        mask_gradient: Whether the gradient goes through the mask at all; without, the lens alone learns.
        checkpointing: Whether the mask model's activations are computed again for the gradient and not kept.
    """

    def __init__(
        self,
        pipeline: BokehPipeline,
        lens: LensParameters,
        *,
        mask_gradient: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.lens = lens
        self.mask_gradient = mask_gradient
        self.checkpointing = checkpointing

    def forward(
        self, photo: Tensor, disparity: Tensor | None, longer_side: Tensor, number: Tensor | None
    ) -> Prediction:
        """Renders a batch.

        Args:
            photo: ``(B, 3, H, W)``, sRGB 0..1, or a part of each photo.
            disparity: ``(B, 1, H, W)`` of the same part, or ``None``: the depth model finds it.
            longer_side: ``(B,)``, pixels, of the whole photo at the scale at hand.
            number: ``(B,)``, which photos of the training these are, ``None`` for others.
        """
        mask = self._find_mask(photo)
        if disparity is None:
            disparity = self.pipeline.find_disparity(photo, mask)
        with torch.autocast(photo.device.type, enabled=False):
            mask = None if mask is None else mask.float()
            lens = self.lens(number)
            focus = None
            if disparity is not None:
                disparity = disparity.float()
                focus = find_focus(disparity, mask, photo) + lens.focus_offset[:, None, None, None]
            bokeh = self.pipeline.renderer(
                photo.float(), disparity, mask, focus=focus, strength=lens.strength * longer_side
            )
            bokeh = linear_to_srgb(srgb_to_linear(bokeh.clamp(min=0)) * lens.gain)
        return Prediction(bokeh, mask)

    def _find_mask(self, photo: Tensor) -> Tensor | None:
        model = self.pipeline.mask_model
        if model is None or not self.checkpointing or not torch.is_grad_enabled():
            mask = self.pipeline.find_mask(photo)
        else:
            mask = cast("Tensor", checkpoint(model, photo, use_reentrant=False))
        return mask if mask is None or self.mask_gradient else mask.detach()
