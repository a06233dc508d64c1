"""Offline rendering with true visibility: the mean of many sharp pictures, each seen from one point of the lens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .aperture import Aperture
from .color import Gamma, encode
from .compositing import extend_layers, measure, prepare_layers, render_hidden
from .layers import DefocusLayers

Progress = Callable[[int, int], None]

# Views for every square pixel of the largest radius, the fewest and the most.
_DENSITY = 4.0
_FEWEST, _MOST = 320, 640
# A band of rows holds about this many pixels, with what moves into it from above and below.
_BAND_PIXELS = 1 << 21
# A surface that covers less or more than this of a pixel covers none or all of it.
_NEARLY = 1e-3
# Width of the smoothing that joins neighbouring views, in distances of their points: radius of a disk.
_JOINED = 1.5
# It reaches so many standard deviations, and no more than so many pixels.
_JOINED_REACH, _JOINED_MOST = 1.25, 6
# The number of a surface is in the lower half of its key, its nearness in the upper.
_NUMBER_BITS = 32
_NEARNESS = (1 << 30) - 1


@torch.no_grad()
def render_views(
    image: Tensor,
    layers: DefocusLayers,
    aperture: str | Aperture = "disk",
    *,
    gamma: Gamma = "srgb",
    highlights: float | None = None,
    views: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Renders layers as the mean of pinhole pictures from points all over the lens, in linear light.

    From the lens point u of the unit aperture, a surface of signed defocus d is seen moved by d u. In every view the
    nearest surface hides all others, so what the lens sees beside and behind near things is right where blurring layer
    by layer only estimates it. What is hidden in the picture itself, and what lies beyond its frame, is made up as in
    :func:`depthbokeh.composite`. Time grows with the number of views: this is for final pictures.

    An aperture that is no point reflection of itself (a polygon of an odd number of blades) is upright on both sides
    of the focus, as in :func:`depthbokeh.composite`; a lens turns it round behind the focus.

    Args:
        image: ``(B, 3, H, W)``, all-in-focus, encoded as ``gamma`` says: the colour of layers that have none.
        layers: See :func:`depthbokeh.fuse_layers`; with its ``layers=None`` they are the surfaces themselves.
        aperture: Shape of the blur, see :class:`depthbokeh.Aperture`.
        gamma: ``"srgb"``, ``"linear"`` or an exponent: how image and result are encoded.
        highlights: How many times brighter clipped pixels are made before the blur (1 or more), or ``None``.
        views: How many points of the lens; ``None`` takes four for every square pixel of the largest radius, from 320
            to 640.
        progress: Called with the number of steps done and of all steps after each of them.

    Returns:
        ``(B, 3, H, W)``, encoded like the image, not clipped, of its dtype. Without gradients, always the same.

    Raises:
        ValueError: If a shape or value does not fit.

    Example:
        >>> from depthbokeh import fuse_layers
        >>> image, disparity = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
        >>> layers = fuse_layers(disparity, focus=0.0, strength=9.0, image=image, layers=None)
        >>> bool(torch.allclose(render_views(image, layers), image, atol=1e-5))
        True
    """
    shape = Aperture.parse(aperture)
    if views is not None and views < 1:
        raise ValueError(f"views must be at least 1, got {views}")
    with torch.autocast(image.device.type, enabled=False):
        layers = prepare_layers(image, layers, gamma, highlights)
        radius = float(layers.defocus.abs().max())
        count = views or round(min(max(_DENSITY * radius**2, _FEWEST), _MOST))
        whole = measure(layers, shape)
        reach = whole.reach
        height, width = image.shape[2:]
        hidden = render_hidden(extend_layers(layers, reach, whole.brightest), shape, whole, "auto")
        hidden = hidden[..., reach : reach + height, reach : reach + width]
        # Around what moves into the picture, so far as it is smoothed and mended with its neighbours.
        margin = reach + _joined_reach(radius, count) + 1
        layers = extend_layers(layers, margin, whole.brightest)
        picture = _render(layers, hidden, margin, _Lens.of(shape, count), progress)
        return encode(picture, gamma).to(image.dtype)


class _Lens(NamedTuple):
    """Points of the lens: how far a surface moves for every pixel of its signed defocus.

    Attributes:
        front: ``(N, 2)``, x and y, for surfaces in front of the focus.
        back: ``(N, 2)``, for those behind it; the same if the shape is its own point reflection.
    """

    front: list[tuple[float, float]]
    back: list[tuple[float, float]]

    @staticmethod
    def of(shape: Aperture, count: int) -> _Lens:
        return _Lens(shape.sample(count).tolist(), _half_turn(shape).sample(count).tolist())


def _half_turn(shape: Aperture) -> Aperture:
    kind, *values = shape.name.split(":")
    if kind != "polygon" or int(values[0]) % 2 == 0:
        return shape
    blades, turn, roundness = (float(value) for value in (*values, "0", "0")[:3])
    return Aperture.polygon(int(blades), turn + 180, roundness)


def _render(layers: DefocusLayers, hidden: Tensor, margin: int, lens: _Lens, progress: Progress | None) -> Tensor:
    """The picture (B, 3, H, W), a band of rows at a time; layers go on by ``margin`` beyond it."""
    batch, _, height, width = hidden.shape
    rows = max(_BAND_PIXELS // (width + 2 * margin), 2 * margin, 1)
    picture = torch.empty_like(hidden)
    tops = range(0, height, rows)
    done, steps = 0, batch * len(tops) * len(lens.front)
    for index in range(batch):
        for top in tops:
            bottom = min(height, top + rows)
            total = torch.zeros(bottom - top, width, 4, dtype=hidden.dtype, device=hidden.device)
            surfaces = _Surfaces.of(layers, index, top, bottom + 2 * margin, len(lens.front))
            for view in _views(surfaces, margin, lens):
                total += view
                done += 1
                if progress is not None:
                    progress(done, steps)
            mean = (total / len(lens.front)).movedim(2, 0)  # (4, rows, W)
            picture[index, :, top:bottom] = mean[:3] + (1 - mean[3]) * hidden[index, :, top:bottom]
    return picture


class _Surfaces(NamedTuple):
    """The surfaces in a band of rows, one after the other.

    Attributes:
        place: ``(N,)`` int64, pixel of the band.
        defocus: ``(N,)``.
        key: ``(N,)`` int64: the nearer a surface, the larger; its lower bits are the number of the surface, from 1.
        light: ``(N + 1, 4)``, colour and 1, by number; the first are zeros.
        partial: ``(P,)`` int64, those that cover a pixel in part.
        alpha: ``(P,)``, how much they cover.
        offset: ``(P,)``, 0..1, where in the sequence of views each of them begins to count.
        size: Rows and columns of the band.
        range: Smallest defocus, and steps of nearness for a pixel of defocus.
    """

    place: Tensor
    defocus: Tensor
    key: Tensor
    light: Tensor
    partial: Tensor
    alpha: Tensor
    offset: Tensor
    size: tuple[int, int]
    range: tuple[float, float]

    @staticmethod
    def of(layers: DefocusLayers, index: int, top: int, bottom: int, views: int) -> _Surfaces:
        assert layers.color is not None
        alpha, defocus = layers.alpha[index, :, :, top:bottom], layers.defocus[index, :, :, top:bottom]
        reach = _joined_reach(float(layers.defocus.abs().max()), views)
        color = _join_views(layers.color[index, :, :, top:bottom], alpha, defocus, views, reach)
        size = (alpha.shape[2], alpha.shape[3])
        chosen = torch.nonzero(alpha.flatten() > _NEARLY)[:, 0]
        number = torch.arange(1, len(chosen) + 1, device=chosen.device)
        low, high = float(layers.defocus[index].min()), float(layers.defocus[index].max())
        scale = _NEARNESS / max(high - low, 1e-6)
        alpha, defocus = alpha.flatten()[chosen], defocus.flatten()[chosen].contiguous()
        light = F.pad(color.movedim(1, 3).reshape(-1, 3)[chosen], (0, 1), value=1.0)
        partial = torch.nonzero(alpha < 1 - _NEARLY)[:, 0]
        place = chosen % (size[0] * size[1])
        # By the place in the whole picture, so that bands do not show.
        column, row = place[partial] % size[1], place[partial] // size[1] + top
        offset = (column * 0.7548776662466927 + row * 0.5698402909980532) % 1
        key = (((defocus.double() - low) * scale).long() << _NUMBER_BITS) | number
        return _Surfaces(
            place, defocus, key, F.pad(light, (0, 0, 1, 0)), partial, alpha[partial], offset, size, (low, scale)
        )


def _join_views(color: Tensor, alpha: Tensor, defocus: Tensor, views: int, reach: int) -> Tensor:
    """Smooths colours within each surface, as much as neighbouring views see them apart: no ghosts of a light."""
    height, width = alpha.shape[2:]
    variance = (_joined_deviation(views) * defocus).square().clamp(min=1e-3)
    padded = F.pad(torch.cat([color, alpha, defocus], 1), (reach,) * 4, mode="replicate")
    total, known = torch.zeros_like(color), torch.zeros_like(alpha)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            other = padded[..., reach + dy : reach + dy + height, reach + dx : reach + dx + width]
            weight = torch.exp(-(dx * dx + dy * dy) / (2 * variance) - (other[:, 4:] - defocus).square())
            weight = weight * other[:, 3:4]
            total, known = total + weight * other[:, :3], known + weight
    return torch.where(known > 0, total / known.clamp(min=torch.finfo(known.dtype).tiny), color)


def _joined_deviation(views: int) -> float:
    """Standard deviation of the smoothing for every pixel of defocus."""
    return _JOINED / 2 * math.sqrt(math.pi / views)


def _joined_reach(radius: float, views: int) -> int:
    return min(max(1, math.ceil(_JOINED_REACH * _joined_deviation(views) * radius)), _JOINED_MOST)


def _views(surfaces: _Surfaces, margin: int, lens: _Lens) -> Iterator[Tensor]:
    """Yields what each point of the lens sees within the margin: light, and 1 where there is a surface, (h, w, 4)."""
    height, width = surfaces.size
    # Whatever moves out of the band's rows or columns lands in the margin around them, or in these rows more.
    place = surfaces.place + margin * width
    nearest = torch.empty((height + 2 * margin) * width, dtype=torch.int64, device=place.device)
    inner = (slice(2 * margin - 1, height + 1), slice(margin - 1, width - margin + 1))
    before = surfaces.defocus > 0 if lens.front != lens.back else None
    for number, (front, back) in enumerate(zip(lens.front, lens.back, strict=True)):
        right, down = _moved(surfaces.defocus, before, front, back)
        target = place + (down.int() * width + right.int())
        # A surface that covers a share of a pixel is in that share of the views.
        turn = _shuffle(number, len(lens.front))
        absent = surfaces.partial[(surfaces.offset + turn) % 1 >= surfaces.alpha]
        target[absent] = 0
        nearest.zero_().scatter_reduce_(0, target, surfaces.key, "amax")
        seen = nearest.view(-1, width)[inner]
        defocus = (seen >> _NUMBER_BITS).to(surfaces.defocus.dtype) / surfaces.range[1] + surfaces.range[0]
        right, down = _moved(defocus, None if before is None else defocus > 0, front, back)
        seen = _mend(seen, right, down)
        shown = (seen & ((1 << _NUMBER_BITS) - 1)).flatten()
        yield surfaces.light[shown].view(*seen.shape, 4)


def _shuffle(number: int, count: int) -> float:
    """The middle of one of ``count`` parts of 0..1, each once, in an order that has nothing to do with the lens's."""
    step = next(s for s in range(round(count * 0.3819660112501051) or 1, 2 * count + 2) if math.gcd(s, count) == 1)
    return ((number * step) % count + 0.5) / count


def _moved(
    defocus: Tensor, before: Tensor | None, front: tuple[float, float], back: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """How many whole pixels surfaces move to the right and down.

    Rounding makes no error in the mean: over all points of the lens, a pixel gets its share of the aperture.
    """
    if before is None:
        return torch.round(defocus * front[0]), torch.round(defocus * front[1])
    right, down = (torch.where(before, f, b) for f, b in zip(front, back, strict=True))
    return torch.round(defocus * right), torch.round(defocus * down)


def _mend(seen: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Closes the cracks in surfaces that a view stretches, from keys with a border of one pixel to those without.

    Where neighbours on one surface move a pixel apart, what is behind shows between them. What is seen on either side
    of such a crack then has moved by different whole pixels, and was next to each other before.
    """
    middle = seen[1:-1, 1:-1]
    mended = middle
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        (first, second), moved_right, moved_down = (_either_side(values, dy, dx) for values in (seen, right, down))
        columns = 2 * dx - (moved_right[1] - moved_right[0])
        rows = 2 * dy - (moved_down[1] - moved_down[0])
        farther = torch.minimum(first, second)
        crack = (columns.abs() <= 1) & (rows.abs() <= 1) & (farther > middle)
        mended = torch.where(crack, torch.maximum(mended, farther), mended)
    return mended


def _either_side(values: Tensor, dy: int, dx: int) -> tuple[Tensor, Tensor]:
    """The neighbours at (-dy, -dx) and at (dy, dx) of all pixels but those at the border."""
    height, width = values.shape
    before, after = (values[1 + s * dy : height - 1 + s * dy, 1 + s * dx : width - 1 + s * dx] for s in (-1, 1))
    return before, after
