"""From a photo alone to its bokeh: mask model, depth model and renderer in one module."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast, overload

import torch
from torch import Tensor, nn

from .exact import Progress
from .large import render_large
from .layers import Focus, find_focus, fuse_defocus
from .models import TiledModel, create_depth_model, create_mask_model
from .models.tiling import gains_from_tiles
from .refine import refine_disparity
from .render import BokehRenderer

if TYPE_CHECKING:
    from .models.depth import DepthModel
    from .models.masks.base import MaskModel


MIN_TILE = 64
"""Pixels; in smaller tiles no network sees anything."""


class Rendering(NamedTuple):
    """A rendered picture and what it was made from; all ``(B, C, H, W)``.

    Example:
        >>> rendering = BokehPipeline(depth_model=None)(torch.rand(1, 3, 16, 16))
        >>> rendering.disparity is None, rendering.mask.shape
        (True, torch.Size([1, 1, 16, 16]))
    """

    bokeh: Tensor
    defocus: Tensor
    disparity: Tensor | None
    mask: Tensor | None


class BokehPipeline(nn.Module):
    """Finds subject and depth where they are not given, and renders.

    Gradients reach the photo, what is given and the parameters of both models. Under autocast the models run in half
    precision and the renderer in float32.

    Args:
        renderer: The renderer, by default ``BokehRenderer()``.
        mask_model: Name for :func:`depthbokeh.models.create_mask_model`, or a module photo → mask, for photos that are
            given without one; ``None`` leaves the mask out.
        depth_model: Name for :func:`depthbokeh.models.create_depth_model`, or a module photo, mask → disparity, for
            photos that are given without one; ``None`` leaves the disparity out.
        strength: Where a call does not say, the blur radius for a unit of disparity, as a share of the longer side.
        reduce_large: Whether photos of over four megapixels are rendered reduced, without gradients, unless the
            renderer's quality is ``"exact"``: see :func:`depthbokeh.large.render_large`.
        refine: Whether the disparity is so coarse that its edges are to be moved to the photo's first: see
            :func:`depthbokeh.refine_disparity`.
        tile: Pixels of the longer side above which networks see a photo as a whole and in tiles of this size, for
            detail, without gradients: see :class:`depthbokeh.models.TiledModel`. Models that gain nothing from tiles
            (:func:`depthbokeh.models.tiling.gains_from_tiles`) see the whole alone. ``None``: no tiles.

    Raises:
        ValueError: ``strength`` or ``tile`` is out of range, or there is no model of a name.

    Example:
        >>> import torch
        >>> pipeline = BokehPipeline()
        >>> pipeline(torch.rand(1, 3, 32, 32)).bokeh.shape
        torch.Size([1, 3, 32, 32])
        >>> photos = [torch.rand(3, 32, 48), torch.rand(3, 24, 24)]
        >>> for rendering in pipeline(photos, strength=2.0):
        ...     print(rendering.bokeh.shape)
        torch.Size([1, 3, 32, 48])
        torch.Size([1, 3, 24, 24])
    """

    def __init__(
        self,
        renderer: BokehRenderer | None = None,
        mask_model: str | nn.Module | None = "grabcut",
        depth_model: str | nn.Module | None = "ground_plane",
        *,
        strength: float = 1 / 40,
        reduce_large: bool = False,
        refine: bool = False,
        tile: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= strength < 1:
            raise ValueError(f"strength is {strength:g}: expected a share of the longer side, 0 <= strength < 1")
        self.strength = strength
        self.renderer = renderer if renderer is not None else BokehRenderer()
        self.mask_model = create_mask_model(mask_model) if isinstance(mask_model, str) else mask_model
        self.depth_model = create_depth_model(depth_model) if isinstance(depth_model, str) else depth_model
        self.reduce_large = reduce_large
        self.refine = refine
        if tile is not None and tile < MIN_TILE:
            raise ValueError(f"tile is {tile}: expected None or at least {MIN_TILE} pixels")
        self.tile = tile

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str]) -> BokehPipeline:
        """Build the pipeline that :meth:`save_pretrained` wrote.

        Args:
            source: The folder, or the name ``owner/repository`` of one on the Hugging Face hub.

        Returns:
            The pipeline, in evaluation mode, on the CPU.

        Raises:
            CheckpointError: The source cannot be read, or holds something else.
        """
        from .saving import load_pipeline

        return load_pipeline(cls, source)

    def save_pretrained(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write settings and weights: ``config.json`` and ``model.safetensors``.

        Args:
            folder: Where to; made if it does not exist.
            overwrite: Whether files that exist are replaced.

        Raises:
            ValueError: A model was not created by its name, so that nothing could create it again.
            PhotoError: The files exist, or cannot be written.
        """
        from .saving import save_pipeline

        save_pipeline(self, folder, overwrite=overwrite)

    @overload
    def forward(
        self,
        photo: Tensor,
        disparity: Tensor | None = ...,
        mask: Tensor | None = ...,
        *,
        strength: float | Tensor | None = ...,
        focus: Focus = ...,
        box: Tensor | Sequence[float] | None = ...,
        point: Tensor | Sequence[float] | None = ...,
        progress: Progress | None = ...,
    ) -> Rendering: ...

    @overload
    def forward(
        self,
        photo: Sequence[Tensor],
        disparity: Sequence[Tensor] | None = ...,
        mask: Sequence[Tensor] | None = ...,
        *,
        strength: float | Tensor | None = ...,
        focus: Focus = ...,
        box: Tensor | Sequence[float] | None = ...,
        point: Tensor | Sequence[float] | None = ...,
        progress: Progress | None = ...,
    ) -> list[Rendering]: ...

    def forward(
        self,
        photo: Tensor | Sequence[Tensor],
        disparity: Tensor | Sequence[Tensor] | None = None,
        mask: Tensor | Sequence[Tensor] | None = None,
        *,
        strength: float | Tensor | None = None,
        focus: Focus = None,
        box: Tensor | Sequence[float] | None = None,
        point: Tensor | Sequence[float] | None = None,
        progress: Progress | None = None,
    ) -> Rendering | list[Rendering]:
        """Renders a batch of photos, or photos of different sizes.

        Args:
            photo: ``(B, 3, H, W)``, sRGB, 0..1, or a list of ``(3, H, W)``.
            disparity: ``(B, 1, H, W)``, larger is nearer, or a list of ``(1, H, W)``; by default the depth model's.
            mask: ``(B, 1, H, W)``, 0..1, or a list of ``(1, H, W)``; by default the mask model's.
            strength: Blur radius in pixels for every unit of disparity away from the focus; a number, or ``(B,)``. By
                default the pipeline's share of the longer side.
            focus: See :func:`depthbokeh.find_focus`; of a list of photos a tensor ``(B,)`` is taken apart too.
            box: The subject's ``(x, y, width, height)`` in pixels or a tensor ``(B, 4)``, for the mask model.
            point: ``(x, y)`` on the subject in pixels or a tensor ``(B, 2)``, for a mask model that takes points.
            progress: See :meth:`depthbokeh.BokehRenderer.forward`.

        Returns:
            The rendering; of a list of photos a list of renderings with B = 1.

        Raises:
            ValueError: An argument does not fit, or there is neither disparity nor mask nor a model for them.
        """
        if isinstance(photo, Tensor):
            given = (cast("Tensor | None", disparity), cast("Tensor | None", mask))
            return self._render(photo, *given, strength, focus, box, point, progress)
        count = len(photo)
        for name, maps in (("disparity", disparity), ("mask", mask)):
            if maps is not None and (isinstance(maps, Tensor) or len(maps) != count):
                came = f"shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else f"{len(maps)} maps"
                raise ValueError(f"{name} has {came}: expected a list of {count}, as there are {count} photos")
        return [
            self._render(
                photo[i][None],
                None if disparity is None else disparity[i][None],
                None if mask is None else mask[i][None],
                _pick(strength, i, count),
                _pick(focus, i, count),
                _pick(box, i, count),
                _pick(point, i, count),
                progress,
            )
            for i in range(count)
        ]

    def _render(
        self,
        photo: Tensor,
        disparity: Tensor | None,
        mask: Tensor | None,
        strength: float | Tensor | None,
        focus: Focus,
        box: Tensor | Sequence[float] | None,
        point: Tensor | Sequence[float] | None,
        progress: Progress | None,
    ) -> Rendering:
        mask = self.find_mask(photo, box, point) if mask is None else mask
        disparity = self.find_disparity(photo, mask) if disparity is None else disparity
        if disparity is None and mask is None:
            raise ValueError("disparity and mask are missing, and so are the models for them: expected one of them")
        strength = self.strength * max(photo.shape[2:]) if strength is None else strength
        # What renders is measured in pixels and in light: half precision would tell neither well.
        with torch.autocast(photo.device.type, enabled=False):
            photo, disparity, mask = (_as_full(tensor) for tensor in (photo, disparity, mask))
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

    def find_mask(
        self,
        photo: Tensor,
        box: Tensor | Sequence[float] | None = None,
        point: Tensor | Sequence[float] | None = None,
    ) -> Tensor | None:
        """The mask model's mask ``(B, 1, H, W)``, ``None`` without a model; arguments as in :meth:`forward`."""
        if self.mask_model is None:
            return None
        chosen = {name: value for name, value in (("box", box), ("point", point)) if value is not None}
        return cast("Tensor", self._tile(self.mask_model)(photo, **chosen))

    def find_disparity(self, photo: Tensor, mask: Tensor | None = None) -> Tensor | None:
        """The depth model's disparity ``(B, 1, H, W)``, ``None`` without a model; arguments as in :meth:`forward`."""
        return None if self.depth_model is None else cast("Tensor", self._tile(self.depth_model)(photo, mask))

    def _tile(self, model: nn.Module) -> nn.Module:
        if self.tile is None or not gains_from_tiles(model):
            return model
        return TiledModel(cast("MaskModel | DepthModel", model), self.tile)


def _pick(value: Any, index: int, count: int) -> Any:
    """What a value that holds for all photos, or has a row for each, is for one."""
    per_photo = isinstance(value, Tensor) and value.ndim > 0 and len(value) == count
    return value[index : index + 1] if per_photo else value


def _as_full(tensor: Tensor | None) -> Any:
    return tensor if tensor is None or tensor.dtype == torch.float64 else tensor.float()
