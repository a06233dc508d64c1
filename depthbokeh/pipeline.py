"""From a photo alone to its bokeh: mask model, depth model and renderer in one module."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from .exact import Progress
from .large import render_large
from .layers import Focus, find_focus, fuse_defocus
from .models import create_depth_model, create_mask_model
from .refine import refine_disparity
from .render import BokehRenderer


class Rendering(NamedTuple):
    """A rendered picture and what it was made from; all ``(B, C, H, W)``."""

    bokeh: Tensor
    defocus: Tensor
    disparity: Tensor | None
    mask: Tensor | None


class BokehPipeline(nn.Module):
    """Finds subject and depth where they are not given, and renders.

    Args:
        renderer: The renderer, by default ``BokehRenderer()``.
        mask_model: Name for :func:`depthbokeh.models.create_mask_model`, or a module photo → mask.
        depth_model: Name for :func:`depthbokeh.models.create_depth_model`, or a module photo, mask → disparity.
        reduce_large: Whether photos of over four megapixels are rendered reduced, without gradients, unless the
            renderer's quality is ``"exact"``: see :func:`depthbokeh.large.render_large`.
        refine: Whether the disparity is so coarse that its edges are to be moved to the photo's first: see
            :func:`depthbokeh.refine_disparity`.

    Example:
        >>> import torch
        >>> pipeline = BokehPipeline()
        >>> photo, disparity = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
        >>> pipeline(photo, disparity, strength=2.0).bokeh.shape
        torch.Size([1, 3, 32, 32])
    """

    def __init__(
        self,
        renderer: BokehRenderer | None = None,
        mask_model: str | nn.Module = "grabcut",
        depth_model: str | nn.Module = "ground_plane",
        *,
        reduce_large: bool = False,
        refine: bool = False,
    ) -> None:
        super().__init__()
        self.renderer = renderer if renderer is not None else BokehRenderer()
        self.mask_model = create_mask_model(mask_model) if isinstance(mask_model, str) else mask_model
        self.depth_model = create_depth_model(depth_model) if isinstance(depth_model, str) else depth_model
        self.reduce_large = reduce_large
        self.refine = refine

    def forward(
        self,
        photo: Tensor,
        disparity: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        strength: float | Tensor,
        focus: Focus = None,
        box: Tensor | tuple[float, float, float, float] | None = None,
        progress: Progress | None = None,
    ) -> Rendering:
        """Renders a photo.

        Args:
            photo: ``(B, 3, H, W)``, sRGB, 0..1.
            disparity: ``(B, 1, H, W)``, larger is nearer.
            mask: ``(B, 1, H, W)``, 0..1. With neither disparity nor mask the models supply both; with one of them
                it is used alone.
            strength: Blur radius in pixels for every unit of disparity away from the focus.
            focus: See :func:`depthbokeh.find_focus`.
            box: The subject's ``(x, y, width, height)`` in pixels, for the mask model.
            progress: See :meth:`depthbokeh.BokehRenderer.forward`.
        """
        if disparity is None and mask is None:
            mask = self.mask_model(photo, box) if box is not None else self.mask_model(photo)
            disparity = self.depth_model(photo, mask)
        if self.refine and disparity is not None:
            disparity = refine_disparity(disparity, photo)
        # Found once: the map and the picture must be in focus at the same place.
        if disparity is not None:
            focus = find_focus(disparity, mask, photo, focus)
        if self.reduce_large and self.renderer.quality != "exact":
            bokeh = render_large(self.renderer, photo, disparity, mask, focus=focus, strength=strength)
        else:
            bokeh = self.renderer(photo, disparity, mask, focus=focus, strength=strength, progress=progress)
        defocus = fuse_defocus(disparity, mask, strength=strength, focus=focus, slab=self.renderer.slab)
        return Rendering(bokeh, defocus, disparity, mask)
