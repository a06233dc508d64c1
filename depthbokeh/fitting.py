"""What lens took this? Strength, focus and exposure of a bokeh photo, found by descending through the renderer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .alignment import find_shift, measure_detail
from .aperture import Aperture
from .color import Gamma, decode, encode, linear_to_srgb
from .layers import find_focus
from .render import BokehRenderer

# The search begins with the longer side reduced to about this, and goes on at twice and at full size.
_COARSE_SIDE = 192
# Largest blur radii that are tried first, in shares of the longer side: f/8 on a small sensor to a portrait lens.
_RADII = tuple(0.002 * 1.65**k for k in range(8))
_PLANES = 4
# Gradient steps at the middle and at full size.
_STEPS = (8, 3)
# Lengths of the first step and of one that is not worth taking, in log strength and in shares of the disparity's range.
_FIRST_STEP, _LAST_STEP = 0.2, 0.002
# A blur below half a pixel is none, so the photos cannot tell the focus to better than that, and a disparity that is
# bent can pretend to do better out of focus: the focus is drawn to the subject. Share of the loss that a pixel of the
# subject's defocus adds, squared.
_PRIOR = 0.02
# Errors of display values up to which they count by their square, from there on by their amount: what moved between
# the two photos must not decide.
_ROBUST = 0.2
_GAIN_ITERATIONS = 4
# As much as this share of the shorter side is left out along the frame, less if the blur is smaller.
_WIDEST_RIM = 1 / 8
# Where blur explains less than this, in dB, something else is the difference between the two photos.
_LEAST_IMPROVEMENT_DB = 0.3
# Photos that differ by less are the same: half a step of 8 bits.
_SAME_DB = 54.0
# A photo has to have this many times the other's detail to count as the sharper one.
_SHARPER = 1.1
# The subject may lie off by this share of the longer side, and always by a pixel: 2 px in 768.
_LARGEST_SHIFT = 1 / 384
# Detail of the same subject in two photos correlates by more than this, that of two subjects by less.
_LEAST_CORRELATION = 0.4


@dataclass(frozen=True)
class LensFit:
    """The lens that makes the one photo of the other, and how well it does.

    PSNR is that of display values (sRGB), clipped to 0..1.

    Attributes:
        strength: Pixels of blur radius, at the image's size, for every unit of disparity away from the focus.
        focus: The disparity that is in focus.
        gain: How many times brighter the bokeh photo is, in linear light: red, green, blue.
        psnr_input_db: The image itself against the bokeh photo.
        psnr_input_gain_db: The same once its brightness is fitted.
        psnr_db: The rendering against the bokeh photo.
        psnr_gain_db: The same with ``gain``.
        shift: By how many pixels (x, y) what is in focus lies off in the bokeh photo; ``None`` if it cannot be told.
        fits: Whether the two are a pair that the renderer explains.
        reason: The verdict in one sentence.

    Example:
        >>> LensFit(12.0, 0.6, (1.1, 1.1, 1.1), 22.0, 24.5, 27.8, 31.0, (0.0, 0.0), True, "blur explains it").strength
        12.0
    """

    strength: float
    focus: float
    gain: tuple[float, float, float]
    psnr_input_db: float
    psnr_input_gain_db: float
    psnr_db: float
    psnr_gain_db: float
    shift: tuple[float, float] | None
    fits: bool
    reason: str


def fit_lens(
    image: Tensor,
    bokeh: Tensor,
    disparity: Tensor | None,
    mask: Tensor | None = None,
    *,
    aperture: str | Aperture = "disk",
    gamma: Gamma = "srgb",
    renderer: BokehRenderer | None = None,
    focus: float | None = None,
) -> LensFit:
    """Recovers strength, focus and exposure of a photo with bokeh from the same picture all in focus.

    A grid of strengths and focus planes at a quarter of the size gives the start; from there BFGS follows the
    gradient through the renderer in (log strength, focus), at half and at full size. The gain is solved for at every
    step. The error is that of display values, by a pseudo-Huber loss. The result is never worse than the grid's best.

    The pair does *not* fit if the bokeh photo has more detail than the image, if rendering explains less than 0.3 dB
    of the difference, if the detail of what is in focus has little to do with each other, or if it lies off by more
    than 1/384 of the longer side (2 px in 768, at least 1): then the error says more of the shift than of the blur.

    Args:
        image: ``(1, 3, H, W)``, all-in-focus, encoded as ``gamma`` says.
        bokeh: The same view through the open lens, of the same shape and encoding.
        disparity: ``(1, 1, H, W)``, larger is nearer; ``None`` if there is a mask.
        mask: ``(1, 1, H, W)``, 0..1, the subject.
        aperture: Shape of the blur, see :class:`depthbokeh.Aperture`.
        gamma: ``"srgb"``, ``"linear"`` or an exponent.
        renderer: Renders in place of the default one, with its own aperture.
        focus: The disparity in focus, if it is known; it is then kept.

    Returns:
        The fit, with a verdict.

    Raises:
        ValueError: If a shape or value does not fit, or disparity is the same everywhere.

    Example:
        >>> image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> disparity = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
        >>> bokeh = BokehRenderer()(image, disparity, focus=1.0, strength=6.0)
        >>> fit = fit_lens(image, bokeh, disparity)
        >>> fit.fits, round(fit.strength), round(fit.focus)
        (True, 6, 1)
    """
    _check(image, bokeh, disparity, mask, focus)
    renderer = BokehRenderer(aperture, gamma="linear") if renderer is None else renderer
    with torch.no_grad():
        light, target = (decode(picture.detach().float(), gamma) for picture in (image, bokeh))
    depth, subject = (None if values is None else values.detach().float() for values in (disparity, mask))
    full = _Level(renderer, light, target, depth, subject)
    start = _search_grid(full, focus)
    # Light from beyond the frame is made up by the renderer; where it arrives, the photos say nothing about the lens.
    reach = start.strength * max(abs(full.low - start.focus), abs(full.high - start.focus))
    full.rim = min(reach, _WIDEST_RIM * min(image.shape[2:]))
    return _judge(full, _descend(full, start, fixed=focus is not None))


@dataclass(frozen=True)
class _Lens:
    """What is sought, at full size, and what has been reached with it."""

    strength: float
    focus: float
    loss: float = math.inf


class _Level:
    """The pair at one size, in linear light."""

    def __init__(
        self,
        renderer: BokehRenderer,
        light: Tensor,
        target: Tensor,
        disparity: Tensor | None,
        mask: Tensor | None,
        scale: float = 1.0,
    ) -> None:
        self.renderer = renderer
        self.light, self.target = light, target
        self.disparity, self.mask = disparity, mask
        self.scale = scale
        self.rim = 0.0
        self.display = linear_to_srgb(target).clamp(0, 1)
        depth = disparity if disparity is not None else mask
        assert depth is not None
        self.low, self.high = float(depth.min()), float(depth.max())
        self.span = self.high - self.low
        self.subject = None if disparity is None or mask is None else float(find_focus(disparity, mask))

    def reduce(self, scale: float) -> _Level:
        """The same with its sides multiplied by ``scale``."""
        if scale >= 1:
            return self
        size = [max(8, round(side * scale)) for side in self.light.shape[2:]]

        def shrink(values: Tensor | None) -> Tensor | None:
            return None if values is None else F.interpolate(values, size, mode="bilinear", antialias=True)

        light, target, disparity, mask = map(shrink, (self.light, self.target, self.disparity, self.mask))
        assert light is not None
        assert target is not None
        level = _Level(self.renderer, light, target, disparity, mask, scale)
        level.rim = self.rim
        return level

    def render(self, strength: float | Tensor, focus: float | Tensor) -> Tensor:
        """Linear light, (1, 3, H, W); the strength is that of full size."""
        gamma = self.renderer.gamma
        picture = self.renderer(
            encode(self.light, gamma), self.disparity, self.mask, focus=focus, strength=strength * self.scale
        )
        return decode(picture, gamma)

    def loss(self, strength: float | Tensor, focus: float | Tensor) -> Tensor:
        """With the best gain, which is a function of the others: at its optimum it has no part in the gradient."""
        height, width = self.light.shape[2:]
        rim = round(self.rim * self.scale)
        inner = (..., slice(rim, height - rim), slice(rim, width - rim))
        picture = self.render(strength, focus)[inner]
        gain = fit_gain(picture.detach(), self.target[inner])
        error = linear_to_srgb(picture * gain).clamp(0, 1) - self.display[inner]
        misfit = _ROBUST**2 * ((1 + (error / _ROBUST).square()).sqrt() - 1).mean()
        if self.subject is None:
            return misfit
        return misfit * (1 + _PRIOR * ((focus - self.subject) * strength) ** 2)

    def differentiate(self, place: Tensor, *, fixed: bool) -> tuple[float, Tensor]:
        """The loss at (log strength, focus / span) and its gradient, (2,); with ``fixed`` the focus has none."""
        at = place.float().requires_grad_()
        loss = self.loss(at[0].exp(), at[1] * self.span)
        (slope,) = torch.autograd.grad(loss, at)
        if fixed:
            slope[1] = 0
        return float(loss.detach()), slope.double()


def fit_gain(light: Tensor, target: Tensor) -> Tensor:
    """How much brighter every channel has to be to come nearest to the target, both linear: (1, 3, 1, 1).

    Gauss-Newton on the logarithm of the gain, for the pseudo-Huber loss of display values; what is clipped in both
    pictures has no say.
    """
    display = linear_to_srgb(target).clamp(0, 1)
    level = target.mean((2, 3), keepdim=True) / light.mean((2, 3), keepdim=True).clamp(min=1e-6)
    log_gain = level.clamp(1e-3, 1e3).log()
    for _ in range(_GAIN_ITERATIONS):
        with torch.enable_grad():
            bright = (light * log_gain.exp()).requires_grad_()
            shown = linear_to_srgb(bright).clamp(0, 1)
            (slope,) = torch.autograd.grad(shown.sum(), bright)
        error = shown.detach() - display
        by_log = slope * bright.detach()
        weight = (1 + (error / _ROBUST).square()).rsqrt()
        pull, stiffness = ((weight * by_log * other).sum((2, 3), keepdim=True) for other in (error, by_log))
        log_gain = log_gain - (pull / stiffness.clamp(min=1e-9)).clamp(-1, 1)
    return log_gain.exp()


@torch.no_grad()
def _search_grid(full: _Level, focus: float | None) -> _Lens:
    coarse = full.reduce(_COARSE_SIDE / max(full.light.shape[2:]))
    if focus is not None:
        planes = [focus]
    elif full.disparity is None:
        planes = [1.0, 0.0]
    else:
        # Two planes that are equally far from most of the picture blur it alike: all of the range is tried.
        subject = find_focus(full.disparity, full.mask, linear_to_srgb(full.light))
        planes = [float(subject), *(full.low + full.span * k / (_PLANES - 1) for k in range(_PLANES))]
    unit = max(full.light.shape[2:]) / full.span
    tried = [
        _Lens(unit * radius, plane, float(coarse.loss(unit * radius, plane))) for plane in planes for radius in _RADII
    ]
    return min(tried, key=lambda lens: lens.loss)


def _descend(full: _Level, start: _Lens, *, fixed: bool) -> _Lens:
    best = start
    coarse = min(1.0, _COARSE_SIDE / max(full.light.shape[2:]))
    for scale, steps in zip((min(1.0, 2 * coarse), 1.0), _STEPS, strict=True):
        best = min(_follow(full.reduce(scale), best, steps, fixed=fixed), key=lambda lens: lens.loss)
    with torch.no_grad():
        begun = _Lens(start.strength, start.focus, float(full.loss(start.strength, start.focus)))
    return min(best, begun, key=lambda lens: lens.loss)


def _follow(level: _Level, start: _Lens, steps: int, *, fixed: bool) -> list[_Lens]:
    """All that BFGS tries at one size, beginning with the start.

    A step is kept within a trust region: one that went too far would cost minutes, for time goes with the radius.
    """
    span = level.span
    place = torch.tensor([math.log(start.strength), start.focus / span], dtype=torch.float64)
    value, slope = level.differentiate(place, fixed=fixed)
    tried = [(place, value)]
    trust = _FIRST_STEP
    inverse = torch.eye(2, dtype=torch.float64) * (trust / max(float(slope.norm()), 1e-30))
    for _ in range(steps):
        step = -inverse @ slope
        step = step * min(1.0, trust / max(float(step.norm()), 1e-30))
        if float(step.norm()) < _LAST_STEP:
            break
        there = place + step
        new_value, new_slope = level.differentiate(there, fixed=fixed)
        tried.append((there, new_value))
        inverse = _update_inverse(inverse, step, new_slope - slope)
        if new_value < value:
            place, value, slope = there, new_value, new_slope
            trust = min(2 * trust, 2 * _FIRST_STEP)
        else:
            trust = float(step.norm()) / 3
    return [_Lens(math.exp(float(at[0])), float(at[1]) * span, loss) for at, loss in tried]


def _update_inverse(inverse: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """The inverse Hessian after BFGS, (2, 2): what the slope's change along the last step says of the curvature."""
    bend = float(step @ change)
    if bend <= 1e-9 * float(step.norm() * change.norm()):
        return inverse
    keep = torch.eye(2, dtype=step.dtype) - torch.outer(step, change) / bend
    return keep @ inverse @ keep.T + torch.outer(step, step) / bend


def _check(image: Tensor, bokeh: Tensor, disparity: Tensor | None, mask: Tensor | None, focus: float | None) -> None:
    for name, picture in (("image", image), ("bokeh", bokeh)):
        if picture.dim() != 4 or tuple(picture.shape[:2]) != (1, 3) or not picture.is_floating_point():
            raise ValueError(f"{name} must be (1, 3, H, W) floating point, got {tuple(picture.shape)} {picture.dtype}")
        if not bool(torch.isfinite(picture).all()):
            raise ValueError(f"{name} must be finite, got values that are not")
    if bokeh.shape != image.shape:
        raise ValueError(f"bokeh must have the image's shape {tuple(image.shape)}, got {tuple(bokeh.shape)}")
    if min(image.shape[2:]) < 16:
        raise ValueError(f"image must be at least 16 x 16, got {image.shape[3]} x {image.shape[2]}")
    if disparity is None and mask is None:
        raise ValueError("disparity or mask must be given, got neither")
    for name, values in (("disparity", disparity), ("mask", mask)):
        expected = (1, 1, *image.shape[2:])
        if values is not None and (tuple(values.shape) != expected or not bool(torch.isfinite(values).all())):
            raise ValueError(f"{name} must be {expected}, as the image is, and finite, got {tuple(values.shape)}")
        if values is not None and float(values.min()) == float(values.max()):
            raise ValueError(f"{name} must tell near from far, got {float(values.min()):g} everywhere")
    if focus is not None and not math.isfinite(focus):
        raise ValueError(f"focus must be finite, got {focus}")


@torch.no_grad()
def _judge(full: _Level, lens: _Lens) -> LensFit:
    picture = full.render(lens.strength, lens.focus)
    gain, gain_before = fit_gain(picture, full.target), fit_gain(full.light, full.target)
    pictures = (full.light, full.light * gain_before, picture, picture * gain)
    raw_before, before, raw_after, after = (_psnr(light, full.display) for light in pictures)
    weight = _in_focus(full, lens)
    shift, correlation = find_shift(picture * gain, full.target, weight)
    fits, reason = _verdict(full, before, after, shift, correlation, full.light * gain_before)
    red, green, blue = gain.flatten().tolist()
    return LensFit(
        lens.strength,
        lens.focus,
        (red, green, blue),
        psnr_input_db=raw_before,
        psnr_input_gain_db=before,
        psnr_db=raw_after,
        psnr_gain_db=after,
        shift=shift,
        fits=fits,
        reason=reason,
    )


def _in_focus(full: _Level, lens: _Lens) -> Tensor:
    """The subject, or without one all that the fit leaves sharp: (1, 1, H, W), 0 or 1."""
    if full.mask is not None:
        return (full.mask > 0.5).float()
    assert full.disparity is not None
    return ((full.disparity - lens.focus).abs() * lens.strength < 1).float()


def _verdict(
    full: _Level,
    before: float,
    after: float,
    shift: tuple[float, float] | None,
    correlation: float,
    matched: Tensor,
) -> tuple[bool, str]:
    if before > _SAME_DB:
        return False, f"the two photos are the same ({before:.1f} dB): there is no blur to fit"
    sharper = measure_detail(full.target) / max(measure_detail(matched), 1e-9)
    if sharper > _SHARPER:
        return False, f"the bokeh photo has {sharper:.2f} times the image's detail: the two may be the wrong way round"
    if shift is not None and correlation < _LEAST_CORRELATION:
        return False, f"what is in focus is not the same in both (correlation {correlation:.2f}): another scene?"
    limit = max(1.0, _LARGEST_SHIFT * max(full.light.shape[2:]))
    if shift is not None and math.hypot(*shift) > limit:
        return False, (
            f"what is in focus lies {math.hypot(*shift):.1f} px off in the bokeh photo, more than {limit:.1f}: align "
            "the two first"
        )
    if after - before < _LEAST_IMPROVEMENT_DB:
        return False, f"blur explains {after - before:.2f} dB of the difference: something else sets the two apart"
    return True, f"blur explains {after - before:.1f} dB of the difference"


def _psnr(light: Tensor, display: Tensor) -> float:
    error = float((linear_to_srgb(light).clamp(0, 1) - display).square().double().mean())
    return math.inf if error == 0 else -10 * math.log10(error)
