"""From a coarse mask to a soft one, along the photo's edges."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_CHANNELS = 16
# Of three convolutions 3 x 3: together they see 15 x 15 pixels, about what a decoder at a quarter of the size is off.
_DILATIONS = (1, 2, 4)


class Feathering(nn.Module):
    """Corrects a mask, pixel by pixel, from the photo around it.

    As in the feathering block of B. Zhu et al. (Fast Deep Matting for Portrait Animation on Mobile Phone, 2017), a few
    convolutions look at the photo, the mask, the photo's square and their product, from which a guided filter could be
    computed, and weight the scores of subject and background. Here they do so in log-odds, ``(1 + gain) · logit +
    offset``, which leaves 0..1 nowhere. Gain and offset begin as 0: untrained, the block changes nothing.

    Example:
        >>> logit = torch.tensor([-2.0, 0.0, 1.0]).view(1, 1, 1, 3)
        >>> bool((Feathering()(logit, torch.rand(1, 3, 1, 3)) == logit.sigmoid()).all())
        True
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 10
        for dilation in _DILATIONS:
            layers += [nn.Conv2d(channels, _CHANNELS, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
            channels = _CHANNELS
        last = nn.Conv2d(channels, 2, 1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, logit: Tensor, photo: Tensor) -> Tensor:
        """Return the soft mask.

        Args:
            logit: ``(B, 1, H, W)``, log-odds of the coarse mask.
            photo: ``(B, 3, H, W)``, sRGB 0..1.

        Returns:
            ``(B, 1, H, W)``, 0..1, differentiable in both.
        """
        mask = logit.sigmoid()
        gain, offset = self.layers(torch.cat([photo, photo * photo, mask, photo * mask], 1)).chunk(2, 1)
        alpha: Tensor = (logit + gain * logit + offset).sigmoid()
        return alpha
