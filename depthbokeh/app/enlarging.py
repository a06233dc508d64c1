"""A mask found on a small picture, brought to the edges of the large one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# The window's radius in pixels of the small picture, and the variance of colour below which an edge is ignored.
_RADIUS, _SMOOTHNESS = 2, 1e-4
# A fit of edges hardly reaches 0 and 1; a little contrast does.
_CONTRAST = 1.2
_STRIP = 64  # rows of the large picture at a time, which bounds memory


def enlarge_mask(mask: Tensor, small: Tensor, image: Tensor) -> Tensor:
    """Enlarges a mask along the edges of the picture.

    In windows across the mask's edge it is fitted as a linear function of the small picture's colours, and the fit
    holds for the large picture's: K. He, J. Sun, "Fast Guided Filter", arXiv:1505.00996.

    Args:
        mask: ``(1, 1, h, w)``, 0..1.
        small: ``(1, 3, h, w)``, the picture that it was found on.
        image: ``(1, 3, H, W)``, the same picture, larger.

    Returns:
        ``(1, 1, H, W)``, 0..1.

    Example:
        >>> image = torch.zeros(1, 3, 24, 32)
        >>> image[..., 13:] = 1
        >>> small = F.avg_pool2d(image, 4)
        >>> mask = torch.zeros(1, 1, 6, 8)
        >>> mask[..., 3] = 0.75  # the column of pixels that the edge runs through
        >>> mask[..., 4:] = 1
        >>> enlarge_mask(mask, small, image)[0, 0, 12, 11:15].round(decimals=2)
        tensor([0., 0., 1., 1.])
    """
    height, width = image.shape[2:]
    if mask.shape[2:] == image.shape[2:]:
        return mask
    fit = _fit(mask, small)  # (1, 4, h, w)
    fit = F.interpolate(fit, (fit.shape[2], width), mode="bilinear")
    row = ((torch.arange(height) + 0.5) * (fit.shape[2] / height) - 0.5).clamp(0, fit.shape[2] - 1)
    above = row.long()
    below, share = (above + 1).clamp(max=fit.shape[2] - 1), (row - above)[:, None]
    enlarged = torch.empty(1, 1, height, width)
    for top in range(0, height, _STRIP):
        part = slice(top, top + _STRIP)
        slopes = torch.lerp(fit[:, :, above[part]], fit[:, :, below[part]], share[part])
        alpha = (slopes[:, :3] * image[:, :, part]).sum(1, keepdim=True) + slopes[:, 3:]
        enlarged[:, :, part] = ((alpha - 0.5) * _CONTRAST + 0.5).clamp(0, 1)
    return enlarged


def _fit(mask: Tensor, image: Tensor) -> Tensor:
    """Slopes for the colours and offset with which they make the mask, (1, 4, h, w)."""

    def mean(values: Tensor) -> Tensor:
        padded = F.pad(values, (_RADIUS,) * 4, mode="replicate")
        return F.avg_pool2d(padded, 2 * _RADIUS + 1, stride=1)

    average = mean(mask)
    fit = torch.cat([torch.zeros_like(image), average], 1)
    edge = ((average > 1e-3) & (average < 1 - 1e-3))[0, 0]  # elsewhere the mask is the same all over the window
    color = mean(image)[0, :, edge].T  # (n, 3)
    pairs = torch.stack([image[:, i] * image[:, j] for i in range(3) for j in range(3)], 1)
    covariance = mean(pairs)[0, :, edge].T.reshape(-1, 3, 3) - color[:, :, None] * color[:, None]
    correlation = mean(image * mask)[0, :, edge].T - color * average[0, :, edge].T
    slope = torch.linalg.solve(covariance + _SMOOTHNESS * torch.eye(3), correlation)  # (n, 3)
    fit[0, :3, edge] = slope.T
    fit[0, 3, edge] -= (slope * color).sum(1)
    return mean(fit)
