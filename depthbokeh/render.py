"""The renderer: an all-in-focus picture and its defocus in, the picture of a fast lens out."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from .aperture import Aperture
from .blur import Backend, gather_blur, scatter_blur
from .color import Gamma, decode, encode, recover_highlights
from .compositing import composite
from .exact import Progress, render_views
from .highlights import weigh_lamps
from .layers import Focus, fuse_defocus, fuse_layers, limit_defocus

Quality = Literal["fast", "default", "exact"]

# Up to this radius a pixel counts as in focus; it passes over into the blurred ones within one pixel more.
_SHARP_RADIUS = 0.5
# Without gradients larger pictures are rendered in bands of about this many pixels, which bounds memory.
_BAND_PIXELS = 3 << 21
# Share of its own colour that a pixel keeps where no other light reaches it.
_OWN = 1e-6


def render_defocus(
    image: Tensor,
    defocus: Tensor,
    aperture: str | Aperture = "disk",
    *,
    gamma: Gamma = "srgb",
    highlights: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Blurs a picture by its defocus, in linear light.

    What is behind the focus plane is spread over what is not in focus, what is in focus covers it unblurred, and what
    is in front of the focus plane is spread over everything. The hidden background is what reaches a pixel from
    around it.

    Args:
        image: ``(B, 3, H, W)``, all-in-focus, encoded as ``gamma`` says.
        defocus: ``(B, 1, H, W)``, signed, pixels: see :func:`depthbokeh.layers.fuse_defocus`.
        aperture: Shape of the blur, see :class:`depthbokeh.Aperture`.
        gamma: ``"srgb"``, ``"linear"`` or an exponent: how image and result are encoded.
        highlights: How many times brighter clipped lamps are made before the blur (1 or more), or ``None``; see
            :func:`depthbokeh.highlights.weigh_lamps`.
        backend: See :func:`depthbokeh.scatter_blur`.

    Returns:
        ``(B, 3, H, W)``, encoded like the image; not clipped. Differentiable in image and defocus.

    Raises:
        ValueError: If a shape or value does not fit.

    Example:
        >>> image = torch.rand(1, 3, 16, 16)
        >>> bool(torch.allclose(render_defocus(image, torch.zeros(1, 1, 16, 16)), image, atol=1e-5))
        True
    """
    if image.dim() != 4 or image.shape[1] != 3:
        raise ValueError(f"image must be (B, 3, H, W), got {tuple(image.shape)}")
    if defocus.shape != (image.shape[0], 1, *image.shape[2:]):
        raise ValueError(f"defocus must be (B, 1, H, W) of the image's size, got {tuple(defocus.shape)}")
    shape = Aperture.parse(aperture)
    gain = None if highlights is None else _find_gain(image, gamma, highlights)
    if not torch.is_grad_enabled() and defocus.numel() > _BAND_PIXELS:
        return _render_in_bands(image, defocus, shape, gamma, gain, backend)
    return _render(image, defocus, shape, gamma, gain, backend)


def _find_gain(image: Tensor, gamma: Gamma, highlights: float) -> Tensor:
    """How much brighter every pixel is made if it is clipped, (B, 1, H, W)."""
    if not 1 <= highlights < math.inf:
        raise ValueError(f"highlights must be a finite number, at least 1, got {highlights}")
    return 1 + (highlights - 1) * weigh_lamps(decode(image.amax(1, keepdim=True), gamma))


def _render_in_bands(
    image: Tensor, defocus: Tensor, shape: Aperture, gamma: Gamma, gain: Tensor | None, backend: Backend
) -> Tensor:
    """The same result, a band of rows at a time, each with all the rows around it that its light comes from."""
    batch, _, height, width = image.shape
    halo = math.ceil(shape.extent * float(defocus.abs().max())) + 2
    rows = max(_BAND_PIXELS // (batch * width), halo, 1)
    rendered = torch.empty_like(image)
    for top in range(0, height, rows):
        above, bottom = max(0, top - halo), min(height, top + rows)
        part = slice(above, min(height, bottom + halo))
        brighter = None if gain is None else gain[:, :, part]
        band = _render(image[:, :, part], defocus[:, :, part], shape, gamma, brighter, backend)
        rendered[:, :, top:bottom] = band[:, :, top - above : bottom - above]
    return rendered


def _render(
    image: Tensor, defocus: Tensor, shape: Aperture, gamma: Gamma, gain: Tensor | None, backend: Backend
) -> Tensor:
    light = decode(image, gamma)
    # What is in focus keeps its clipped lights as they are.
    radiance = light if gain is None else recover_highlights(light, gain=gain)
    radius = defocus.abs()
    sharp = (1 + _SHARP_RADIUS - radius).clamp(0, 1)  # (B, 1, H, W)
    front = (1 - sharp) * (defocus > 0)
    back = (1 - sharp) * (defocus <= 0)

    behind, reached = _spread(radiance, back, radius, shape, backend)
    own = sharp + _OWN
    base = (behind * (1 - sharp) + light * own) / (reached * (1 - sharp) + own)
    before, covered = _spread(radiance, front, radius, shape, backend)
    kept = _kept_within_frame(radius, shape, backend)
    before, covered = before / kept, covered / kept
    full = covered.clamp(min=1)
    return encode(before / full + base * (1 - covered / full), gamma)


def _spread(
    light: Tensor, weight: Tensor, radius: Tensor, aperture: Aperture, backend: Backend
) -> tuple[Tensor, Tensor]:
    """Blurs weighted light and the weight itself by the same kernel: (B, 3, H, W), (B, 1, H, W)."""
    # Pixels without weight have nothing to spread: as sharp ones they cost nothing.
    radius = torch.where(weight > 0, radius, 0)
    spread = scatter_blur(torch.cat([light * weight, weight], 1), radius, aperture, backend=backend)
    return spread[:, :3], spread[:, 3:]


def _kept_within_frame(radius: Tensor, aperture: Aperture, backend: Backend) -> Tensor:
    """The share of every pixel's disk that lies within the frame, (B, 1, H, W).

    What a disk loses beyond the frame it would have got from there: the picture is taken to go on.
    """
    height, width = radius.shape[2:]
    rows = torch.arange(height, device=radius.device, dtype=radius.dtype)
    columns = torch.arange(width, device=radius.device, dtype=radius.dtype)
    rows, columns = torch.minimum(rows, height - 1 - rows), torch.minimum(columns, width - 1 - columns)
    to_border = torch.minimum(rows[:, None], columns)  # (H, W)
    near = torch.where(radius * aperture.extent >= to_border, radius, 0)
    return gather_blur(torch.ones_like(radius), near, aperture, backend=backend)


class BokehRenderer(nn.Module):
    """Renders shallow depth of field from a picture, its disparity and a subject mask.

    Args:
        aperture: Shape of the blur, see :class:`depthbokeh.Aperture`.
        layers: How many depth slices are blurred apart; the result hardly depends on it.
        gamma: ``"srgb"``, ``"linear"`` or an exponent: how image and result are encoded.
        highlights: How many times brighter clipped lamps are made before the blur, or ``None``; see
            :func:`depthbokeh.highlights.weigh_lamps`.
        quality: ``"default"`` renders layers (:func:`depthbokeh.composite`), ``"fast"`` blurs once behind and once in
            front of the focus (:func:`depthbokeh.render_defocus`), ``"exact"`` takes the mean of hundreds of views
            through the lens (:func:`depthbokeh.exact.render_views`): for final pictures, without gradients.
        slab: Disparities this far from the focus are still in focus.

    Example:
        >>> image, disparity = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
        >>> BokehRenderer("polygon:6")(image, disparity, strength=4.0).shape
        torch.Size([1, 3, 32, 32])
    """

    def __init__(
        self,
        aperture: str | Aperture = "disk",
        *,
        layers: int = 8,
        gamma: Gamma = "srgb",
        highlights: float | None = None,
        quality: Quality = "default",
        slab: float = 0.0,
    ) -> None:
        super().__init__()
        if quality not in get_args(Quality):
            raise ValueError(f"quality must be one of {', '.join(get_args(Quality))}, got {quality!r}")
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        self.aperture = Aperture.parse(aperture)
        self.layers = layers
        self.gamma = gamma
        self.highlights = highlights
        self.quality = quality
        self.slab = slab

    def forward(
        self,
        image: Tensor,
        disparity: Tensor | None,
        mask: Tensor | None = None,
        *,
        focus: Focus = None,
        strength: float | Tensor,
        max_radius: float | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Renders.

        Args:
            image: ``(B, 3, H, W)``, all-in-focus.
            disparity: ``(B, 1, H, W)``, larger is nearer; ``None`` if there is a mask.
            mask: ``(B, 1, H, W)``, 0..1, the subject.
            focus: A disparity, a point ``(x, y)``, a box ``(x, y, width, height)`` or ``None``, see
                :func:`depthbokeh.find_focus`.
            strength: Blur radius in pixels for every unit of disparity away from the focus.
            max_radius: Larger blur is cut to this radius, in pixels; its gradient there is 0. Should not be much larger
                than the largest blur, see :func:`depthbokeh.composite`.
            progress: Called with the number of steps done and of all steps where the quality is ``"exact"``.

        Returns:
            ``(B, 3, H, W)``, differentiable in every argument unless the quality is ``"exact"``.
        """
        if self.quality == "fast":
            defocus = fuse_defocus(disparity, mask, strength=strength, focus=focus, image=image, slab=self.slab)
            defocus = limit_defocus(defocus, max_radius)
            return render_defocus(image, defocus, self.aperture, gamma=self.gamma, highlights=self.highlights)
        surfaces = fuse_layers(
            disparity,
            mask,
            focus=focus,
            strength=strength,
            image=image,
            gamma=self.gamma,
            layers=None,
            slab=self.slab,
        )
        if self.quality == "exact":
            return render_views(
                image,
                surfaces.limit(max_radius),
                self.aperture,
                gamma=self.gamma,
                highlights=self.highlights,
                progress=progress,
            )
        return composite(
            image,
            surfaces,
            self.aperture,
            gamma=self.gamma,
            highlights=self.highlights,
            slices=self.layers,
            max_radius=max_radius,
        )

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return (
            f"{self.aperture.name!r}, layers={self.layers}, gamma={self.gamma!r}, highlights={self.highlights}, "
            f"quality={self.quality!r}"
        )
