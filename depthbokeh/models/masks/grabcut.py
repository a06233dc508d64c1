"""A subject mask from no network at all: GrabCut from a box or a guess, then a soft edge from the photo."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from depthbokeh.models.inputs import Box, check_boxes, check_photo
from depthbokeh.models.registry import Pretrained, refuse_weights, register_mask_model

_Bytes: TypeAlias = NDArray[np.uint8]  # a picture, or GrabCut's labels, whose lowest bit says subject
_Flags: TypeAlias = NDArray[np.bool_]
_Floats: TypeAlias = NDArray[np.floating]

# Max-flow grows much faster than the number of pixels, so the subject is found on the coarse grid and its
# outline alone cut again on the fine one. Long sides in pixels.
_COARSE, _FINE = 144, 400
_BAND = 1.5  # half-width of the outline's band, in coarse pixels

# The centre prior: centre and semi-axes as fractions of the width and of the height.
_CENTRE, _AXES = (0.5, 0.65), (0.37, 0.6)
_BORDER = 0.02  # of the long side: surely background without a box, and how near to the edge counts as on it
_CUT_OFF = 0.15  # by how much of its height a box reaching the lower edge is taken to go on below

# Cores, as fractions of the ellipse: surely subject given a box, and at the second attempt.
_BOX_CORE, _SECOND_CORE = 0.3, 0.5

# A cut is believed between these fractions of what the prior does not rule out, if it is not in pieces: if
# all of them are at most so many times the largest.
_LEAST, _MOST, _PIECES = 0.004, 0.97, 1.4
_UNIFORM = 2  # standard deviation of 8-bit colour below which there is nothing to cut along
_HOLE = 0.05  # holes below this fraction of the subject are filled

# The guided filter: window radius in fine pixels, variance of colour below which an edge is ignored.
_RADIUS, _SMOOTHNESS, _CONTRAST = 4, 5e-4, 1.2
_STRIP = 32  # rows of the photo at a time, few enough to stay in the cache


class GrabCut(nn.Module):
    """Subject mask by GrabCut: colour models of subject and surroundings, cut along the photo's edges.

    The guess it starts from is the *centre prior*, a portrait's: an upright ellipse that the lower edge of
    the frame cuts off (centre at 0.5 of the width and 0.65 of the height, semi-axes 0.37 and 0.6) is probably
    subject, the rest probably background, and a thin border on the left, on the right and at the top surely
    background. With a box, the ellipse inscribed in it is probably subject, its core surely; the corners of
    the box are probably background and all outside it surely. Where the box reaches the lower edge of the
    frame, the ellipse goes on somewhat below.

    Of the outcome, the parts that overlap the ellipse stay and small holes are filled. If the ellipse
    dissolves, or into pieces, a larger core is declared subject and the cut made again; if that fails too, or
    the picture is too small or too uniform to be cut, the ellipse itself is the mask. The mask follows from
    the photo alone (OpenCV's random numbers are seeded).

    C. Rother, V. Kolmogorov, A. Blake, "GrabCut", SIGGRAPH 2004; the soft edge: K. He, J. Sun, "Fast Guided
    Filter", arXiv:1505.00996, with the photo's colours as guide.

    Examples:
        >>> photo = torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(0)) * 0.4
        >>> photo[..., 15:45, 30:50] += 0.6
        >>> mask = GrabCut()(photo, box=(25, 10, 30, 40))
        >>> mask[0, 0, 30, 40].item(), mask[0, 0, 5, 5].item()
        (1.0, 0.0)
    """

    @torch.no_grad()
    def forward(
        self,
        photo: Tensor,
        box: Tensor | Sequence[float] | None = None,
        point: Tensor | Sequence[float] | None = None,
    ) -> Tensor:
        """Find the subject.

        Args:
            photo: ``(B, 3, H, W)``, sRGB 0..1.
            box: The subject's ``(x, y, width, height)`` in pixels, for all photos, or a tensor ``(B, 4)``
                with one for each. ``None`` takes the centre prior.
            point: Refused: of a point alone GrabCut cannot tell how large the subject is.

        Returns:
            Mask ``(B, 1, H, W)``, 0..1, soft at the edge, with the photo's dtype and device. No gradient.

        Raises:
            ValueError: A shape is not as above, the photo is not floating-point, a box misses the frame, or a
                point is given.
        """
        check_photo(photo)
        if point is not None:
            raise ValueError("point is given, and the mask model is grabcut: expected a box round the subject")
        batch, _, height, width = photo.shape
        boxes = [None] * batch if box is None else check_boxes(box, batch, height, width)
        mask = photo.new_zeros(batch, 1, height, width)
        for i, subject in enumerate(boxes):
            left, top, right, bottom = _window(subject, height, width)
            window = photo[i : i + 1, :, top:bottom, left:right]  # (1, 3, h, w)
            if subject is not None:
                subject = (subject[0] - left, subject[1] - top, subject[2], subject[3])
            fit = _find_subject(window, subject)
            _render_alpha(window, fit, mask[i, 0, top:bottom, left:right])
        return mask


@register_mask_model("grabcut")
def grabcut(*, pretrained: Pretrained = False) -> GrabCut:
    """Build a `GrabCut`, which has nothing to load."""
    refuse_weights("grabcut", pretrained)
    return GrabCut()


def _window(box: Box | None, height: int, width: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of what is looked at: the box with half its size round it."""
    if box is None:
        return 0, 0, width, height
    x, y, w, h = box
    return (
        max(0, int(x - w / 2)),
        max(0, int(y - h / 2)),
        min(width, int(x + w * 1.5) + 1),
        min(height, int(y + h * 1.5) + 1),
    )


def _find_subject(photo: Tensor, box: Box | None) -> Tensor:
    """Return the fit of alpha (4, h', w') to a photo (1, 3, h, w), as `_guide` does; box in its pixels."""
    import cv2

    fine = _reduce(photo)  # (h', w', 3)
    height, width = (max(1, min(n, round(n * _COARSE / max(fine.shape)))) for n in fine.shape[:2])
    coarse = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    if box is not None:
        across, down = width / photo.shape[3], height / photo.shape[2]
        box = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    found, models = _cut_coarse(coarse, *_make_prior(height, width, box))
    return torch.from_numpy(_guide(fine, _cut_outline(fine, found, models))).to(photo.device)


def _reduce(photo: Tensor) -> _Bytes:
    """Return the photo (1, 3, h, w) on the fine grid, as an 8-bit array (h', w', 3)."""
    height, width = photo.shape[2:]
    scale = min(1.0, _FINE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = interpolate(photo, size, mode="area")[0].permute(1, 2, 0).float()  # (h', w', 3)
    small = small.nan_to_num(0.0).clamp(0, 1).mul(255).round().byte()
    array: _Bytes = small.cpu().contiguous().numpy()
    return array


def _make_prior(height: int, width: int, box: Box | None) -> tuple[_Bytes, _Floats]:
    """Return GrabCut's labels (h, w) to start from, and the squared distance (h, w), 1 on the ellipse."""
    import cv2

    x = np.arange(width) + 0.5
    y = np.arange(height)[:, None] + 0.5
    border = max(height, width) * _BORDER
    if box is None:
        centre = (_CENTRE[0] * width, _CENTRE[1] * height)
        axes = (_AXES[0] * width, _AXES[1] * height)
        room = (x > border) & (x < width - border) & (y > border)
    else:
        left, top, across, down = box
        room = (x > left) & (x < left + across) & (y > top) & (y < top + down)
        if top + down > height - border:
            down *= 1 + _CUT_OFF
        centre, axes = (left + across / 2, top + down / 2), (across / 2, down / 2)
    # Half a pixel more, so that an ellipse smaller than a pixel still holds one.
    distance = ((x - centre[0]) / (axes[0] + 0.5)) ** 2 + ((y - centre[1]) / (axes[1] + 0.5)) ** 2
    labels = np.where(room, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    labels[distance < 1] = cv2.GC_PR_FGD
    if box is not None:
        labels[distance < _BOX_CORE**2] = cv2.GC_FGD
    return labels, distance


def _cut_coarse(rgb: _Bytes, labels: _Bytes, distance: _Floats) -> tuple[_Flags, _Floats | None]:
    """Return the subject (h, w), bool, and the colour models it was cut with, None if it is the prior."""
    import cv2

    prior = labels & 1 == 1
    if prior.all() or not prior.any() or rgb.std((0, 1)).max() < _UNIFORM:
        return prior, None  # OpenCV refuses to learn the colours of nothing
    room = (labels != cv2.GC_BGD).sum()
    second = np.where(distance < _SECOND_CORE**2, cv2.GC_FGD, labels).astype(np.uint8)
    for start in (labels, second):
        cut, models = start.copy(), np.zeros((2, 1, 65))
        cv2.setRNGSeed(0)
        cv2.grabCut(rgb, cut, None, models[0], models[1], 3, cv2.GC_INIT_WITH_MASK)
        found, largest = _clean(cut & 1 == 1, prior)
        if _LEAST * room < found.sum() < min(_MOST * room, _PIECES * largest):
            return found, models
    return prior, None


def _clean(found: _Flags, prior: _Flags) -> tuple[_Flags, int]:
    """Keep the parts overlapping the prior, fill small holes; return that and the largest part's area."""
    import cv2

    _, parts, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    overlap = np.bincount(parts[prior], minlength=len(stats))
    overlap[0] = 0  # the surroundings
    kept = overlap > 0.1 * overlap.max()
    largest = int(stats[kept, cv2.CC_STAT_AREA].max(initial=0))
    found = kept[parts]
    _, parts, stats, _ = cv2.connectedComponentsWithStats((~found).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < _HOLE * found.sum()
    small[0] = True  # the subject itself
    return small[parts], largest


def _cut_outline(rgb: _Bytes, found: _Flags, models: _Floats | None) -> _Flags:
    """Bring the coarse subject to the grid of rgb (h, w, 3) and cut it again along its outline."""
    import cv2

    magnification = max(rgb.shape[:2]) / max(found.shape)
    resized: _Floats = cv2.resize(found.astype(np.float32), rgb.shape[1::-1])
    hard = (resized > 0.5).astype(np.uint8)
    if models is None or magnification == 1:
        return hard.astype(np.bool_)
    band = 2 * round(_BAND * magnification) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (band, band))
    labels = np.where(hard, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[cv2.erode(hard, disk) == 1] = cv2.GC_FGD
    labels[cv2.dilate(hard, disk) == 0] = cv2.GC_BGD
    cv2.grabCut(rgb, labels, None, models[0], models[1], 1, cv2.GC_EVAL_FREEZE_MODEL)
    return (labels & 1).astype(np.bool_)


def _guide(rgb: _Bytes, subject: _Flags) -> _Floats:
    """Fit alpha = a · colour + b to the subject in every window; return a and b, (4, h, w)."""
    import cv2

    def mean(values: _Floats) -> _Floats:
        side = 2 * _RADIUS + 1
        averaged: _Floats = cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
        return averaged

    color = rgb.astype(np.float32) / 255  # (h, w, 3)
    alpha = subject.astype(np.float32)  # (h, w)
    mean_alpha = mean(alpha)
    fit = np.zeros((*alpha.shape, 4), np.float32)
    fit[..., 3] = mean_alpha
    edge = (mean_alpha > 0) & (mean_alpha < 1)  # elsewhere a = 0 is exact, and most pixels are elsewhere
    mean_color = mean(color)[edge]  # (n, 3)
    second = mean((color[..., :, None] * color[..., None, :]).reshape(*alpha.shape, 9))[edge]
    covariance = second.reshape(-1, 3, 3) - mean_color[:, :, None] * mean_color[:, None, :]
    correlation = mean(color * alpha[..., None])[edge] - mean_color * mean_alpha[edge][:, None]
    slope = np.linalg.solve(covariance + _SMOOTHNESS * np.eye(3), correlation[..., None])[..., 0]
    fit[edge, :3] = slope
    fit[edge, 3] -= (slope * mean_color).sum(1)
    return np.moveaxis(mean(fit), 2, 0)


def _render_alpha(photo: Tensor, fit: Tensor, out: Tensor) -> None:
    """Write alpha (h, w) to out: the fit (4, h', w') at every pixel of photo (1, 3, h, w)."""
    height, width = out.shape
    # Fits hardly reach 0 and 1 where the photo is noisy; a little contrast, part of the fit, does.
    fit = fit * _CONTRAST
    fit[3] += (1 - _CONTRAST) / 2
    fit = interpolate(fit[None], (fit.shape[1], width), mode="bilinear")[0]  # (4, h', w)
    row = (torch.arange(height, device=fit.device) + 0.5) * (fit.shape[1] / height) - 0.5  # (h,)
    row = row.clamp(0, fit.shape[1] - 1)
    above = row.long()
    below = (above + 1).clamp(max=fit.shape[1] - 1)
    for start in range(0, height, _STRIP):
        part = slice(start, start + _STRIP)
        weight = (row - above)[part, None]  # (strip, 1)
        slope_offset = torch.lerp(fit[:, above[part]], fit[:, below[part]], weight)  # (4, strip, w)
        alpha = slope_offset[3]
        for channel, slope in zip(photo[0, :, part].float(), slope_offset[:3], strict=True):
            alpha.addcmul_(slope, channel)
        out[part] = alpha.clamp_(0, 1)
