"""From layers to the picture: each is blurred, and what is nearer covers what is farther."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import ops
from .aperture import Aperture
from .blur import Backend, scatter_blur
from .color import Gamma, decode, encode, luminance, recover_highlights
from .fill import enlarge, fill_behind
from .highlights import weigh_lamps
from .layers import DefocusLayers, Span, find_span
from .slices import blur_layers
from .steps import smoothstep

# Coverage and luminance below this count as none.
_LEAST = 1e-6
# Without gradients larger pictures are rendered in bands of about this many pixels, which bounds memory.
_BAND_PIXELS = 3 << 20


def composite(
    image: Tensor,
    layers: DefocusLayers,
    aperture: str | Aperture = "disk",
    *,
    gamma: Gamma = "srgb",
    highlights: float | None = None,
    slices: int | None = None,
    max_radius: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Renders layers as a lens sees them, in linear light.

    Light and coverage of every layer are blurred by the same kernel, every pixel with its own radius. From the front
    on, coverage adds up until it is full: with c_k, w_k the blurred light and coverage of the k-th nearest layer and
    W_k = w_1 + ... + w_k, layer k is seen with ``v_k = min(1, W_k) - min(1, W_(k-1))`` and contributes ``v_k c_k /
    w_k``. So slices of one slanted surface complete each other. What no layer covers was hidden in the picture: it
    is filled in with the far surfaces that are visible around it. Beyond its frame the picture is taken to go on.

    Args:
        image: ``(B, 3, H, W)``, all-in-focus, encoded as ``gamma`` says: the colour of layers that have none.
        layers: See :func:`depthbokeh.fuse_layers`.
        aperture: Shape of the blur, see :class:`depthbokeh.Aperture`.
        gamma: ``"srgb"``, ``"linear"`` or an exponent: how image and result are encoded.
        highlights: How many times brighter clipped lamps are made before the blur (1 or more), or ``None``; see
            :func:`depthbokeh.highlights.weigh_lamps`.
        slices: Sort what is in the layers into so many depth slices on the way, one at a time, which saves the memory
            for all of them at once; ``None`` takes the layers as they are.
        max_radius: Larger blur is cut to this radius, in pixels; its gradient there is 0. The largest blur is then not
            looked for, so that nothing waits for a GPU, and this one taken for it: it decides how far the picture goes
            on beyond its frame and how coarsely what is hidden is filled in. So it should not be much larger.
        backend: See :func:`depthbokeh.scatter_blur`.

    Returns:
        ``(B, 3, H, W)``, encoded like the image, not clipped, of its dtype. Differentiable in image and layers.

    Raises:
        ValueError: If a shape or value does not fit.

    Example:
        >>> from depthbokeh import fuse_layers
        >>> image, disparity = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
        >>> layers = fuse_layers(disparity, focus=0.0, strength=9.0, image=image)
        >>> bool(torch.allclose(composite(image, layers), image, atol=1e-5))
        True
    """
    shape = Aperture.parse(aperture)
    with torch.autocast(image.device.type, enabled=False):
        layers = prepare_layers(image, layers.limit(max_radius), gamma, highlights)
        whole = measure(layers, shape, max_radius)
        if torch.is_grad_enabled() or layers.alpha[:, 0].numel() <= _BAND_PIXELS:
            picture = _render(layers, shape, slices, whole, backend)
        else:
            picture = _render_in_bands(layers, shape, slices, whole, backend)
        return encode(picture, gamma).to(image.dtype)


class Whole(NamedTuple):
    """What a band must know of the whole picture."""

    span: Span
    reach: int  # how far the light of a pixel gets, in pixels
    brightest: Tensor  # luminance of what is made up, at most: (B, 1, 1, 1)


def measure(layers: DefocusLayers, shape: Aperture, max_radius: float | None = None) -> Whole:
    """Depths, reach and brightness of a picture in which nothing is blurred by more than ``max_radius``."""
    assert layers.color is not None
    bright = luminance(layers.color.flatten(0, 1)).view_as(layers.alpha)
    covered = layers.alpha.sum((1, 2, 3, 4)).clamp(min=_LEAST)
    brightest = 4 * (layers.alpha * bright).sum((1, 2, 3, 4)) / covered + _LEAST
    radius = float(layers.defocus.detach().abs().max()) if max_radius is None else max_radius
    reach = math.ceil(shape.extent * radius) + 1
    return Whole(find_span(layers.defocus), reach, brightest.view(-1, 1, 1, 1))


def _render_in_bands(
    layers: DefocusLayers, shape: Aperture, slices: int | None, whole: Whole, backend: Backend
) -> Tensor:
    """The same picture, a band of rows at a time with all rows around it that its light comes from."""
    batch, _, _, height, width = layers.alpha.shape
    step = _find_step(whole.reach)
    # What is hidden is filled in from squares of this size; no band may begin within one.
    square = step << (whole.reach // step).bit_length()
    halo = 2 * whole.reach  # what is hidden is filled in from as far again
    rows = max(_BAND_PIXELS // (batch * width), 2 * halo)
    picture = layers.alpha.new_empty(batch, 3, height, width)
    for top in range(0, height, rows):
        above, bottom = max(0, top - halo) // square * square, min(height, top + rows)
        part = (..., slice(above, min(height, bottom + halo)), slice(None))
        assert layers.color is not None
        band = DefocusLayers(layers.alpha[part], layers.defocus[part], layers.color[part])
        rendered = _render(band, shape, slices, whole, backend)
        picture[:, :, top:bottom] = rendered[:, :, top - above : bottom - above]
    return picture


def _render(layers: DefocusLayers, shape: Aperture, slices: int | None, whole: Whole, backend: Backend) -> Tensor:
    height, width = layers.alpha.shape[3:]
    margin = min(whole.reach, max(height, width))
    layers = extend_layers(layers, margin, whole.brightest)
    light, total = blur_layers(layers, slices, shape, span=whole.span, backend=backend)
    missing = 1 - total.clamp(max=1)
    picture = light + missing * render_hidden(layers, shape, whole, backend)
    return picture[..., margin : margin + height, margin : margin + width]


def prepare_layers(image: Tensor, layers: DefocusLayers, gamma: Gamma, highlights: float | None) -> DefocusLayers:
    """Layers in linear light, float32 at least: with the picture's colour if they have none, highlights recovered."""
    batch, count, _, height, width = layers.alpha.shape
    expected = (batch, 3, height, width)
    if tuple(image.shape) != expected or not image.is_floating_point():
        raise ValueError(
            f"image must be {expected} floating point as the layers, got {tuple(image.shape)} {image.dtype}"
        )
    light = image.to(torch.promote_types(image.dtype, torch.float32))
    if layers.color is None or highlights is not None:
        light = decode(light, gamma)
    color = layers.color if layers.color is not None else light[:, None].expand(-1, count, -1, -1, -1)
    layers = DefocusLayers(*(values.to(light.dtype) for values in (layers.alpha, layers.defocus, color)))
    return layers if highlights is None else _recover(layers, highlights, weigh_lamps(light))


def _recover(layers: DefocusLayers, gain: float, lamps: Tensor) -> DefocusLayers:
    """Brightens clipped lamps where they are out of focus; what is in focus keeps them as they are."""
    assert layers.color is not None
    blurred = (lamps[:, None] * smoothstep(layers.defocus.abs() - 0.5)).flatten(0, 1)  # (B K, 1, H, W)
    if not 1 <= gain < math.inf:
        raise ValueError(f"highlights must be a finite number, at least 1, got {gain}")
    color = recover_highlights(layers.color.flatten(0, 1), gain=1 + (gain - 1) * blurred)
    return DefocusLayers(layers.alpha, layers.defocus, color.view_as(layers.color))


def extend_layers(layers: DefocusLayers, margin: int, brightest: Tensor) -> DefocusLayers:
    """Goes on beyond the frame with what is at its border, its lights dimmed to what is common in the picture."""
    if margin == 0:
        return layers
    color, alpha, defocus = layers.color, layers.alpha, layers.defocus
    assert color is not None
    if alpha.is_cuda and ops.takes(alpha, color, defocus, brightest):
        color, alpha, defocus = ops.extend_layers(color, alpha, defocus, brightest, margin)
    else:
        color, alpha, defocus = extend_planes(color, alpha, defocus, brightest, margin)
    return DefocusLayers(alpha, defocus, color)


def extend_planes(
    color: Tensor, alpha: Tensor, defocus: Tensor, brightest: Tensor, margin: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition of :func:`depthbokeh.ops.extend_layers`.

    Args:
        color: ``(B, K, 3, H, W)``.
        alpha: ``(B, K, 1, H, W)``.
        defocus: The same.
        brightest: ``(B, 1, 1, 1)``, see :func:`dim_lights`.
        margin: Pixels, at least 1.

    Returns:
        Colour, alpha and defocus, 2 ``margin`` pixels larger in both directions.
    """

    def pad(values: Tensor) -> Tensor:
        padded = F.pad(values.flatten(0, 1), (margin,) * 4, mode="replicate")
        return padded.unflatten(0, values.shape[:2])  # type: ignore[no-untyped-call, no-any-return]

    color = pad(color)
    beyond = torch.ones_like(color[:, 0, :1])
    beyond[..., margin:-margin, margin:-margin] = 0
    color = torch.where(beyond[:, None] > 0, dim_lights(color, brightest[:, None]), color)
    return color, pad(alpha), pad(defocus)


def dim_lights(color: Tensor, brightest: Tensor) -> Tensor:
    """Lights no brighter than four times the mean: what is made up must not be one more lamp.

    Up to white, it may be the sky and stays. The definition of :func:`depthbokeh.ops.dim_lights`.

    Args:
        color: ``(..., 3, H, W)``, linear light.
        brightest: Their luminance at most, ``(..., 1, 1, 1)``.
    """
    bright = luminance(color.flatten(0, -4)).view_as(color[..., :1, :, :])
    dimmed = (brightest / bright.clamp(min=_LEAST)).clamp(max=1)
    return color * (1 + smoothstep(bright - 1) * (dimmed - 1))


def _find_step(reach: int) -> int:
    """A smooth filling needs no more pixels than its blur: the wider, the coarser."""
    return min(max(1, reach // 8), 4)


def render_hidden(layers: DefocusLayers, shape: Aperture, whole: Whole, backend: Backend) -> Tensor:
    """The picture of the far surfaces alone, gone on smoothly beneath all that is nearer: (B, 3, H, W)."""
    assert layers.color is not None
    parts = layers.alpha, layers.color, layers.defocus
    native = ops.takes(*parts, whole.brightest)
    color, defocus = (ops.find_farthest if native and len(layers) == 2 else find_farthest)(*parts)
    step = _find_step(whole.reach)
    if step > 1:
        color, defocus = (F.avg_pool2d(values, step, ceil_mode=True) for values in (color, defocus))
    color = (ops.dim_lights if native else dim_lights)(color, whole.brightest)
    known = fill_behind(color, defocus, whole.reach // step)
    color, defocus = torch.split(known, [3, 1], 1)
    spread = scatter_blur(torch.cat([color, torch.ones_like(defocus)], 1), defocus.abs() / step, shape, backend=backend)
    light, share = torch.split(spread, [3, 1], 1)
    filled = light / share.clamp(min=_LEAST)
    return filled if step == 1 else enlarge(filled, step, *layers.alpha.shape[3:])


def find_farthest(alpha: Tensor, color: Tensor, defocus: Tensor) -> tuple[Tensor, Tensor]:
    """What is farthest at every pixel. The definition of :func:`depthbokeh.ops.find_farthest`.

    Args:
        alpha: ``(B, K, 1, H, W)``, the farthest layer first.
        color: ``(B, K, 3, H, W)``.
        defocus: ``(B, K, 1, H, W)``.

    Returns:
        Colour, ``(B, 3, H, W)``, and defocus, ``(B, 1, H, W)``: what each layer shows of a pixel of the whole.
    """
    free = torch.ones_like(alpha[:, 0])
    mixed, depth = torch.zeros_like(color[:, 0]), torch.zeros_like(free)
    for cover, own, at in zip(alpha.unbind(1), color.unbind(1), defocus.unbind(1), strict=True):
        seen = torch.minimum(cover, free)
        mixed, depth = torch.addcmul(mixed, seen, own), torch.addcmul(depth, seen, at)
        free = free - seen
    return mixed, depth
