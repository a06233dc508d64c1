"""Large photos: what is blurred needs few pixels, what is in focus has them in the photo already."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .enlarging import enlarge
from .layers import Focus, find_focus, fuse_defocus
from .render import BokehRenderer
from .steps import smoothstep

# Photos up to this many pixels are rendered as they are.
_MOST_PIXELS = 4_000_000


def find_reduction(height: int, width: int) -> int:
    """By how much a photo's sides are divided for rendering.

    Example:
        >>> find_reduction(1080, 1350), find_reduction(3000, 4000), find_reduction(4000, 6000)
        (1, 2, 3)
    """
    return max(1, math.ceil(math.sqrt(height * width / _MOST_PIXELS) - 1e-9))


@torch.no_grad()
def render_large(
    renderer: BokehRenderer,
    image: Tensor,
    disparity: Tensor | None,
    mask: Tensor | None = None,
    *,
    focus: Focus = None,
    strength: float | Tensor,
) -> Tensor:
    """Renders a large photo from a reduced one and puts the detail of what is in focus back.

    Detail is the photo less what of it survives the reduction. A pixel keeps all of it up to a blur radius of half a
    pixel, none from the reduction's own blur on, and in between as much as is left. Up to four megapixels this is the
    renderer itself. Without gradients.

    Args:
        renderer: What renders the reduced photo.
        image: ``(B, 3, H, W)``, encoded as the renderer's ``gamma`` says.
        disparity: ``(B, 1, H, W)``, larger is nearer; ``None`` if there is a mask.
        mask: ``(B, 1, H, W)``, 0..1, the subject.
        focus: See :func:`depthbokeh.find_focus`; points and boxes in pixels of the photo.
        strength: Pixels of the photo for every unit of disparity away from the focus.

    Returns:
        ``(B, 3, H, W)``.

    Example:
        >>> image, disparity = torch.rand(1, 3, 20, 30), torch.rand(1, 1, 20, 30)
        >>> render_large(BokehRenderer(), image, disparity, strength=4.0).shape
        torch.Size([1, 3, 20, 30])
    """
    height, width = image.shape[2:]
    step = find_reduction(height, width)
    if step == 1:
        return renderer(image, disparity, mask, focus=focus, strength=strength)  # type: ignore[no-any-return]
    if disparity is not None:
        focus = find_focus(disparity, mask, image, focus)
    small, near, subject = (
        None if t is None else F.avg_pool2d(t, step, ceil_mode=True) for t in (image, disparity, mask)
    )
    assert small is not None
    if near is not None and disparity is not None:
        # A mean of near and far lies at neither: disparity is taken and not averaged.
        near = F.interpolate(disparity, small.shape[2:], mode="nearest-exact")
    picture = renderer(small, near, subject, focus=focus, strength=strength / step)
    defocus = fuse_defocus(disparity, mask, strength=strength, focus=focus, slab=renderer.slab)
    sharp = smoothstep((step - defocus.abs()) / (step - 0.5))
    rendered = enlarge(picture, step, height, width)
    detail = image - enlarge(small, step, height, width)
    return rendered.addcmul_(detail, sharp)
