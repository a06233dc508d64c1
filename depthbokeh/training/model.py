"""The pipeline as it is trained: what its models find, rendered through a lens that is learned too."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.compositing import composite
from depthbokeh.layers import DefocusLayers, find_focus
from depthbokeh.pipeline import BokehPipeline
from depthbokeh.training.lens import LensParameters


class Prediction(NamedTuple):
    """What the model makes of a batch."""

    bokeh: Tensor  # (B, 3, H, W), sRGB
    mask: Tensor | None  # (B, 1, H, W)


def split_subject(
    disparity: Tensor | None, mask: Tensor, focus: Tensor | None, strength: Tensor, gap: float
) -> DefocusLayers:
    """Two layers between which the mask alone decides: the subject, in focus, and everything else, which never is.

    For rendering, coarse disparity helps the mask out: what is as far as the subject is sharp whether or not the mask
    has it. For learning that is a trap: where disparity explains the picture, the mask need not, and shrinks. Here what
    is not subject lies off the focus by at least ``gap``, so that every sharp pixel has to be the mask's.

    Args:
        disparity: ``(B, 1, H, W)``, ``None``: everything else is equally far.
        mask: ``(B, 1, H, W)``, 0..1.
        focus: ``(B, 1, 1, 1)``, the subject's disparity.
        strength: ``(B,)``, pixels of blur radius for a disparity of 1.
        gap: Disparity.

    Example:
        >>> disparity = torch.tensor([0.2, 0.5, 0.9]).view(1, 1, 1, 3)
        >>> mask, focus, strength = torch.ones(1, 1, 1, 3), torch.full((1, 1, 1, 1), 0.5), torch.tensor([10.0])
        >>> layers = split_subject(disparity, mask, focus, strength, gap=0.3)
        >>> layers.defocus[0, 0].flatten()  # everything else; the second layer is the subject, in focus
        tensor([-4.2426, -3.0000,  5.0000])
    """
    scale = strength[:, None, None, None]
    if disparity is None or focus is None:
        offset = -torch.ones_like(mask)
    else:
        away = disparity - focus
        # As smooth as a distance: far away the disparity counts, near the focus the gap.
        offset = torch.where(away > gap, 1.0, -1.0) * (away.square() + gap**2).sqrt()
    defocus = torch.stack([scale * offset, torch.zeros_like(mask)], 1)
    return DefocusLayers(torch.stack([1 - mask, mask], 1), defocus, None)


class LearnedPipeline(nn.Module):
    """A pipeline and the lens of the photographs that it learns from.

    In training mode the picture is made of two layers, see :func:`split_subject`; in evaluation mode by the pipeline's
    renderer.

    Args:
        pipeline: Its mask model, and its depth model if that has parameters that need gradients, are trained.
        lens: Strength, focus and gain.
        mask_gradient: Whether the gradient of the picture reaches the mask; without, the lens alone learns from it.
        gap: See :func:`split_subject`.
        checkpointing: Whether the mask model's activations are computed again for the gradient and not kept.

    Example:
        >>> pipeline = BokehPipeline(mask_model=nn.Conv2d(3, 1, 1), depth_model=None)
        >>> model = LearnedPipeline(pipeline, LensParameters(strength=0.1, learned=["strength"]))
        >>> prediction = model(torch.rand(1, 3, 16, 24), torch.rand(1, 1, 16, 24), torch.tensor([24.0]), None)
        >>> prediction.bokeh.square().mean().backward()
        >>> bool(model.lens.strength.grad != 0)
        True
    """

    def __init__(
        self,
        pipeline: BokehPipeline,
        lens: LensParameters,
        *,
        mask_gradient: bool = True,
        gap: float = 0.3,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.lens = lens
        self.mask_gradient = mask_gradient
        self.checkpointing = checkpointing
        self.gap = gap

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
            strength = lens.strength * longer_side
            focus = None
            if disparity is not None:
                disparity = disparity.float()
                focus = find_focus(disparity, mask, photo).detach() + lens.focus_offset[:, None, None, None]
            renderer = self.pipeline.renderer
            photo = photo.float()
            if self.training and mask is not None:
                deciding = mask if self.mask_gradient else mask.detach()
                layers = split_subject(disparity, deciding, focus, strength, self.gap)
                bokeh = composite(
                    photo, layers, renderer.aperture, gamma=renderer.gamma, highlights=renderer.highlights
                )
            else:
                bokeh = renderer(photo, disparity, mask, focus=focus, strength=strength)
            bokeh = linear_to_srgb(srgb_to_linear(bokeh.clamp(min=0)) * lens.gain)
        return Prediction(bokeh, mask)

    def _find_mask(self, photo: Tensor) -> Tensor | None:
        model = self.pipeline.mask_model
        if model is None or not self.checkpointing or not torch.is_grad_enabled():
            return self.pipeline.find_mask(photo)
        return cast("Tensor", checkpoint(model, photo, use_reentrant=False))
