"""A convex blend of smoothed pictures: the simplest renderer that a network can steer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .aperture import Aperture
from .blur import scatter_blur
from .color import Gamma, decode, encode

# Two standard deviations of the 25, 45 and 75 pixel Gaussians of the paper.
_DUTTA_RADII = (8.2, 14.2, 23.2)


class BlendRenderer(nn.Module):
    """Mixes a picture and K smoothed ones of it, pixel by pixel.

    ``y = w_0 x + w_1 blur(x; r_1) + ... + w_K blur(x; r_K)`` with weights that are not negative and are brought to a
    sum of 1. Every smoothed picture has one radius, so nothing is known of what covers what: colours of the subject
    bleed into the background. In return weights may come straight from a network. After Dutta, "Depth-aware Blending
    of Smoothed Images for Bokeh Effect Generation", 2021, who predicts them.

    Args:
        radii: Radius of every smoothed picture in pixels, above 0, rising. By default those of the paper.
        aperture: Shape of the blur, see :class:`depthbokeh.Aperture`; the paper's is ``"gaussian"``.
        gamma: ``"srgb"``, ``"linear"`` or an exponent: how image and result are encoded. The mixing is done in linear
            light; the paper's, in display values, is had with ``"linear"``.

    Raises:
        ValueError: If there is no radius, or the radii are not above 0 and rising.

    Example:
        >>> renderer = BlendRenderer((2.0, 4.0))
        >>> image, defocus = torch.rand(1, 3, 16, 16), torch.full((1, 1, 16, 16), -3.0)
        >>> weights = renderer.weigh(defocus)
        >>> weights[0, :, 0, 0].tolist()
        [0.0, 0.5, 0.5]
        >>> renderer(image, weights).shape
        torch.Size([1, 3, 16, 16])
    """

    def __init__(
        self, radii: Sequence[float] = _DUTTA_RADII, aperture: str | Aperture = "gaussian", *, gamma: Gamma = "srgb"
    ) -> None:
        super().__init__()
        self.radii = tuple(float(radius) for radius in radii)
        knots = (0.0, *self.radii)
        if len(knots) < 2 or not all(low < high < float("inf") for low, high in itertools.pairwise(knots)):
            raise ValueError(f"radii must be finite, above 0 and rising, got {self.radii}")
        self.aperture = Aperture.parse(aperture)
        self.gamma = gamma

    def weigh(self, defocus: Tensor) -> Tensor:
        """Weights that interpolate linearly between the two pictures whose radii are nearest to the defocus.

        Args:
            defocus: ``(B, 1, H, W)``, pixels; the sign has no meaning here. Beyond the largest radius that one is
                taken.

        Returns:
            ``(B, K + 1, H, W)``, with a sum of 1. Differentiable in the defocus.

        Raises:
            ValueError: If the shape does not fit.
        """
        if defocus.dim() != 4 or defocus.shape[1] != 1:
            raise ValueError(f"defocus must be (B, 1, H, W), got {tuple(defocus.shape)}")
        radius, knots = defocus.abs(), (0.0, *self.radii)
        # How far the way from each picture to the next has been gone; a picture has what its successor has not yet.
        ways = [((radius - a) / (b - a)).clamp(0, 1) for a, b in itertools.pairwise(knots)]
        gone = torch.cat([torch.ones_like(radius), *ways, torch.zeros_like(radius)], 1)  # (B, K + 2, H, W)
        return gone[:, :-1] - gone[:, 1:]

    def forward(self, image: Tensor, weights: Tensor) -> Tensor:
        """Renders.

        Args:
            image: ``(B, 3, H, W)``, all-in-focus.
            weights: ``(B, K + 1, H, W)``, not negative, the sharp picture's first, of any positive sum: that of
                :meth:`weigh`, or a softmax over what a network says.

        Returns:
            ``(B, 3, H, W)``, differentiable in image and weights.

        Raises:
            ValueError: If a shape does not fit, a weight is negative or a pixel has no weight.
        """
        if image.dim() != 4 or image.shape[1] != 3:
            raise ValueError(f"image must be (B, 3, H, W), got {tuple(image.shape)}")
        expected = (image.shape[0], len(self.radii) + 1, *image.shape[2:])
        if tuple(weights.shape) != expected:
            raise ValueError(f"weights must be {expected}, got {tuple(weights.shape)}")
        total = weights.sum(1, keepdim=True)
        if not bool((weights >= 0).all()) or not bool((total > 0).all()):
            least, smallest = float(weights.min()), float(total.min())
            raise ValueError(
                f"weights must be 0 or more with a positive sum, got down to {least:g}, sum down to {smallest:g}"
            )
        light = decode(image, self.gamma)
        share = weights / total
        mixed = share[:, :1] * light
        for index, radius in enumerate(self.radii, 1):
            mixed = mixed + share[:, index : index + 1] * self._smooth(light, radius)
        return encode(mixed, self.gamma)

    def _smooth(self, light: Tensor, radius: float) -> Tensor:
        radii = torch.full_like(light[:1, :1], radius)
        spread = scatter_blur(torch.cat([light, torch.ones_like(light[:, :1])], 1), radii, self.aperture)
        return spread[:, :3] / spread[:, 3:]  # what the frame's border takes away is given back

    def extra_repr(self) -> str:
        """The settings, for ``print``."""
        return f"{self.radii}, {self.aperture.name!r}, gamma={self.gamma!r}"
