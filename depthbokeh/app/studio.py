"""The models, loaded once for all sessions, and the renderer as the app calls it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..layers import Focus, find_focus
from ..models.choice import choose_depth_model, choose_mask_model
from ..models.depth.ground_plane import GroundPlane
from ..models.masks.grabcut import GrabCut
from ..pipeline import BokehPipeline, Rendering
from ..render import BokehRenderer
from .look import Look

# Round a point that was clicked, where the mask model takes boxes alone: fractions of the width and of the height.
_BOX = (0.4, 0.6)
# A mask that covers less than this, on average, has found nothing.
_LEAST_COVER = 1e-3


@dataclass(frozen=True)
class Pick:
    """What was clicked, or the box that was drawn, in fractions of the picture's width and height.

    Raises:
        ValueError: It lies outside the picture, or is no number.

    Example:
        >>> Pick(0.5, 0.25).is_point
        True
    """

    x: float
    y: float
    width: float = 0.0
    height: float = 0.0

    def __post_init__(self) -> None:
        sides = ((self.x, self.width), (self.y, self.height))
        if not all(0 <= start < 1 and 0 <= side <= 1 - start for start, side in sides):
            place = f"({self.x:g}, {self.y:g}, {self.width:g}, {self.height:g})"
            raise ValueError(f"the pick {place} lies outside the picture: expected fractions of its width and height")

    @property
    def is_point(self) -> bool:
        """Whether it was clicked; otherwise it is a box."""
        return self.width == 0 or self.height == 0

    def round_point(self) -> Pick:
        """A box round the point, within the picture."""
        left, top = max(0.0, self.x - _BOX[0] / 2), max(0.0, self.y - _BOX[1] / 2)
        right, bottom = min(1.0, self.x + _BOX[0] / 2), min(1.0, self.y + _BOX[1] / 2)
        return Pick(left, top, right - left, bottom - top)

    def scale(self, image: Tensor) -> tuple[float, ...]:
        """X and y, or x, y, width and height, in pixels of an image ``(..., H, W)``."""
        height, width = image.shape[-2:]
        at = (self.x * width, self.y * height)
        return at if self.is_point else (*at, self.width * width, self.height * height)


class Studio:
    """Finds subject and depth, and renders; holds nothing of any photo.

    Args:
        mask_model: See :func:`depthbokeh.models.choice.choose_mask_model`.
        depth_model: See :func:`depthbokeh.models.choice.choose_depth_model`.

    Raises:
        ValueError: There is no such model, or its weights cannot be had.

    Example:
        >>> studio = Studio("grabcut", "ground_plane")
        >>> studio.find_mask(torch.rand(1, 3, 32, 48), Pick(0.5, 0.5)).shape
        torch.Size([1, 1, 32, 48])
    """

    def __init__(self, mask_model: str = "auto", depth_model: str = "auto") -> None:
        self._mask_model, mask_note = choose_mask_model(mask_model)
        self._depth_model, depth_note = choose_depth_model(depth_model)
        self.notes = [note for note in (mask_note, depth_note) if note]
        """Lines for whoever starts the app, about what serves in place of what."""
        self.depth_needs_mask = isinstance(self._depth_model, GroundPlane)
        self._takes_points = not isinstance(self._mask_model, GrabCut)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._models = BokehPipeline(None, self._mask_model, self._depth_model).to(self._device)

    def warm_up(self) -> None:
        """Loads what the first photo would wait for."""
        image = torch.rand(1, 3, 64, 64)
        mask, disparity = self.find_mask(image, Pick(0.2, 0.2, 0.6, 0.6)), torch.rand(1, 1, 64, 64)
        for draft in (True, False):
            self.render(image, disparity, mask, Look(), plane=0.5, pick=None, focus=None, draft=draft)

    @torch.inference_mode()
    def find_mask(self, image: Tensor, pick: Pick | None) -> Tensor | None:
        """The subject's mask ``(1, 1, H, W)``; ``None`` if there is nothing where it was picked."""
        image = image.to(self._device)
        if pick is None:
            mask = self._models.find_mask(image)
        elif pick.is_point and self._takes_points:
            mask = self._models.find_mask(image, point=pick.scale(image))
        else:
            mask = self._models.find_mask(image, box=(pick.round_point() if pick.is_point else pick).scale(image))
        return None if mask is None or mask.mean() < _LEAST_COVER else mask.cpu()

    @torch.inference_mode()
    def find_disparity(self, image: Tensor, mask: Tensor | None) -> Tensor:
        """The disparity ``(1, 1, H, W)``, 0..1."""
        disparity = self._models.find_disparity(image.to(self._device), None if mask is None else mask.to(self._device))
        assert disparity is not None
        return disparity.cpu()

    @torch.inference_mode()
    def find_plane(self, image: Tensor, disparity: Tensor, mask: Tensor | None, pick: Pick | None) -> float:
        """The subject's disparity."""
        return float(find_focus(disparity, mask, image, _focus_on(image, mask, pick)))

    @torch.inference_mode()
    def render(
        self,
        image: Tensor,
        disparity: Tensor,
        mask: Tensor | None,
        look: Look,
        *,
        plane: float,
        pick: Pick | None,
        focus: float | None,
        draft: bool = False,
    ) -> Tensor:
        """Renders.

        Args:
            image: ``(1, 3, H, W)``, sRGB, 0..1.
            disparity: ``(1, 1, H, W)``.
            mask: ``(1, 1, H, W)`` or ``None``.
            look: What the controls say.
            plane: The subject's disparity, see :meth:`find_plane`.
            pick: What was picked, which is sharp where there is no mask.
            focus: The disparity that is sharp; ``None`` is the subject's.
            draft: Whether to render in two passes instead of layers: some four times as fast.

        Returns:
            ``(1, 3, H, W)``.
        """
        renderer = BokehRenderer(look.aperture, highlights=look.highlights, quality="fast" if draft else "default")
        pipeline = BokehPipeline(renderer, None, None, reduce_large=True)
        sharp = focus if focus is not None else _focus_on(image, mask, pick, plane)
        strength = look.find_strength(plane, max(image.shape[2:]))
        parts = (t if t is None else t.to(self._device) for t in (image, disparity, mask))
        rendering: Rendering = pipeline(*parts, strength=strength, focus=sharp)
        return rendering.bokeh.cpu()


def _focus_on(image: Tensor, mask: Tensor | None, pick: Pick | None, plane: float | None = None) -> Focus:
    """The subject as a whole, or else the place that was picked, or else what is known of it."""
    if mask is not None:
        return None
    return plane if pick is None else pick.scale(image)  # type: ignore[return-value]
