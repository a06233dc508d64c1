"""The renderer: an all-in-focus picture and its defocus in, the picture of a fast lens out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .aperture import Aperture
from .blur import Backend, gather_blur, scatter_blur
from .color import Gamma, decode, encode, recover_highlights
from .layers import Focus, fuse_defocus

# Up to this radius a pixel counts as in focus; it passes over into the blurred ones within one pixel more.
_SHARP_RADIUS = 0.5
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
        highlights: How many times brighter clipped pixels are made before the blur (1 or more), or ``None``.
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
    light = decode(image, gamma)
    # What is in focus keeps its clipped lights as they are.
    radiance = light if highlights is None else recover_highlights(light, gain=highlights)
    radius = defocus.abs()
    sharp = (1 + _SHARP_RADIUS - radius).clamp(0, 1)  # (B, 1, H, W)
    front = (1 - sharp) * (defocus > 0)
    back = (1 - sharp) * (defocus <= 0)

    behind, reached = _spread(radiance, back, radius, shape, backend)
    own = sharp + _OWN
    base = (behind * (1 - sharp) + light * own) / (reached * (1 - sharp) + own)
    before, covered = _spread(radiance, front, radius, shape, backend)
    # What a disk loses beyond the frame it would have got from there: the picture is taken to go on.
    kept = gather_blur(torch.ones_like(radius), radius, shape, backend=backend).clamp(min=_OWN)
    before, covered = before / kept, covered / kept
    full = covered.clamp(min=1)
    return encode(before / full + base * (1 - covered / full), gamma)


def _spread(
    light: Tensor, weight: Tensor, radius: Tensor, aperture: Aperture, backend: Backend
) -> tuple[Tensor, Tensor]:
    """Blurs weighted light and the weight itself by the same kernel: (B, 3, H, W), (B, 1, H, W)."""
    spread = scatter_blur(torch.cat([light * weight, weight.expand_as(radius)], 1), radius, aperture, backend=backend)
    return spread[:, :3], spread[:, 3:]


class BokehRenderer(nn.Module):
    """Renders shallow depth of field from a picture, its disparity and a subject mask.

    Args:
        aperture: Shape of the blur, see :class:`depthbokeh.Aperture`.
        gamma: ``"srgb"``, ``"linear"`` or an exponent: how image and result are encoded.
        highlights: How many times brighter clipped pixels are made before the blur, or ``None``.

    Example:
        >>> image, disparity = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
        >>> BokehRenderer("polygon:6")(image, disparity, strength=4.0).shape
        torch.Size([1, 3, 32, 32])
    """

    def __init__(
        self, aperture: str | Aperture = "disk", *, gamma: Gamma = "srgb", highlights: float | None = None
    ) -> None:
        super().__init__()
        self.aperture = Aperture.parse(aperture)
        self.gamma = gamma
        self.highlights = highlights

    def forward(
        self,
        image: Tensor,
        disparity: Tensor | None,
        mask: Tensor | None = None,
        *,
        focus: Focus = None,
        strength: float | Tensor,
    ) -> Tensor:
        """Renders.

        Args:
            image: ``(B, 3, H, W)``, all-in-focus.
            disparity: ``(B, 1, H, W)``, larger is nearer; ``None`` if there is a mask.
            mask: ``(B, 1, H, W)``, 0..1, the subject.
            focus: A disparity, a point ``(x, y)`` or ``None``, see :func:`depthbokeh.layers.find_focus`.
            strength: Blur radius in pixels for every unit of disparity away from the focus.

        Returns:
            ``(B, 3, H, W)``, differentiable in every argument.
        """
        defocus = fuse_defocus(disparity, mask, strength=strength, focus=focus, image=image)
        return render_defocus(image, defocus, self.aperture, gamma=self.gamma, highlights=self.highlights)

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"{self.aperture.name!r}, gamma={self.gamma!r}, highlights={self.highlights}"
