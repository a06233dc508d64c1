"""Between display values and linear light, and the light that clipping took.

A lens adds up light, so blur belongs in linear light, where 0.5 is half the photons of 1; display values
(sRGB or a power law) are what files and screens hold. Both use 1 for white and may exceed it (HDR).
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from . import ops

Gamma: TypeAlias = Literal["srgb", "linear"] | float

# IEC 61966-2-1 rounds its constants, so its two pieces miss each other: 0.04045 decodes to 0.00313080495 on
# the line and to 0.00313080728 on the power curve. Splitting the encoder inside that gap, and not at the
# printed 0.0031308 just below it, sends every decoded value back along the piece it came by.
_SRGB_SPLIT = 0.04045
_LINEAR_SPLIT = 0.003130806


def srgb_to_linear(x: Tensor) -> Tensor:
    """Decode sRGB to linear light with the piecewise curve of IEC 61966-2-1.

    Odd in ``x`` (negative values are mirrored) and continued above 1.

    Args:
        x: sRGB values of any shape, white at 1. Half precision is computed in float32.

    Returns:
        Linear light, shape and dtype of ``x``.

    Raises:
        ValueError: If ``x`` is no floating-point tensor.

    Example:
        >>> srgb_to_linear(torch.tensor([0.0, 0.04, 0.5, 1.0]))
        tensor([0.0000, 0.0031, 0.2140, 1.0000])
    """
    wide = _widen(x)
    run = ops.srgb_to_linear if wide.is_cuda and ops.takes(wide) else _define_srgb_to_linear
    return run(wide).to(x.dtype)


def _define_srgb_to_linear(x: Tensor) -> Tensor:
    """The definition of :func:`depthbokeh.ops.srgb_to_linear`."""
    magnitude = x.abs()
    # In place: fresh memory for every step nearly doubles the time.
    curve = (magnitude + 0.055).div_(1.055).pow_(2.4)
    return torch.where(magnitude <= _SRGB_SPLIT, x / 12.92, curve.copysign(x))


def linear_to_srgb(x: Tensor) -> Tensor:
    """Encode linear light as sRGB with the piecewise curve of IEC 61966-2-1.

    The inverse of :func:`srgb_to_linear`; odd in ``x`` and continued above 1.

    Args:
        x: Linear light of any shape, white at 1. Half precision is computed in float32.

    Returns:
        sRGB values, shape and dtype of ``x``.

    Raises:
        ValueError: If ``x`` is no floating-point tensor.

    Example:
        >>> linear_to_srgb(torch.tensor([0.0, 0.003, 0.214, 1.0]))
        tensor([0.0000, 0.0388, 0.5000, 1.0000])
    """
    wide = _widen(x)
    run = ops.linear_to_srgb if wide.is_cuda and ops.takes(wide) else _define_linear_to_srgb
    return run(wide).to(x.dtype)


def _define_linear_to_srgb(x: Tensor) -> Tensor:
    """The definition of :func:`depthbokeh.ops.linear_to_srgb`."""
    magnitude = x.abs()
    # Clamped, the branch not taken has a finite slope too: `where` would multiply an infinite one by 0.
    curve = magnitude.clamp(min=_LINEAR_SPLIT).pow_(1 / 2.4).mul_(1.055).sub_(0.055)
    return torch.where(magnitude <= _LINEAR_SPLIT, 12.92 * x, curve.copysign(x))


def decode(x: Tensor, gamma: Gamma) -> Tensor:
    """Turn display values into linear light.

    Args:
        x: Display values of any shape, white at 1.
        gamma: "srgb", "linear" (``x`` is linear already) or an exponent above 0 for ``x ** gamma``, mirrored
            to negative values.

    Returns:
        Linear light, shape and dtype of ``x``.

    Raises:
        ValueError: If ``x`` is no floating-point tensor or ``gamma`` none of the above.

    Example:
        >>> decode(torch.tensor([0.0, 0.5, 1.0]), 2.0)
        tensor([0.0000, 0.2500, 1.0000])
    """
    _check_gamma(gamma)
    if gamma == "srgb":
        return srgb_to_linear(x)
    return _power(x, 1.0 if gamma == "linear" else gamma)


def encode(x: Tensor, gamma: Gamma) -> Tensor:
    """Turn linear light into display values; the inverse of :func:`decode`.

    A power law is infinitely steep at 0; its gradient there is taken as 0.

    Args:
        x: Linear light of any shape, white at 1.
        gamma: As in :func:`decode`; a number encodes as ``x ** (1 / gamma)``.

    Returns:
        Display values, shape and dtype of ``x``.

    Raises:
        ValueError: If ``x`` is no floating-point tensor or ``gamma`` not one that :func:`decode` takes.

    Example:
        >>> encode(torch.tensor([0.0, 0.25, 1.0]), 2.0)
        tensor([0.0000, 0.5000, 1.0000])
    """
    _check_gamma(gamma)
    if gamma == "srgb":
        return linear_to_srgb(x)
    return _power(x, 1.0 if gamma == "linear" else 1 / gamma)


def luminance(linear: Tensor) -> Tensor:
    """Return the luminance of linear RGB with the primaries of sRGB (ITU-R BT.709).

    Args:
        linear: Linear light, ``(B, 3, H, W)``.

    Returns:
        Luminance, ``(B, 1, H, W)``; 1 for white.

    Raises:
        ValueError: If ``linear`` is no floating-point ``(B, 3, H, W)`` tensor.

    Example:
        >>> luminance(torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)).item()
        0.570...
    """
    _require_float("linear", linear)
    if linear.ndim != 4 or linear.shape[1] != 3:
        raise ValueError(f"linear must have shape (B, 3, H, W), got {tuple(linear.shape)}")
    red, green, blue = linear.unbind(dim=1)  # (B, H, W) each
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue).unsqueeze(1)


def recover_highlights(linear: Tensor, *, gain: float | Tensor, threshold: float = 0.9) -> Tensor:
    """Raise clipped highlights toward the radiance that the sensor could not hold.

    An 8-bit photo stores a lamp, perhaps a hundred times brighter than white paper, as white. Blur spreads a
    pixel's light over its disk, so a clipped lamp fades to a dim grey disc where a real lens paints a bright
    one: the sum in linear light needs the real radiance. It is lost, and this puts a guess in its place. With
    m the pixel's largest channel, the pixel is multiplied by

        1 + (gain - 1) * s * s * (3 - 2 * s),      s = (m - threshold) / (1 - threshold) kept within 0..1,

    that is by 1 up to the threshold, by ``gain`` from 1 on, and by a smoothstep (C1 at both ends, monotone)
    between. One factor for all channels keeps the hue. Values above 1, which only HDR input has, were not
    clipped. For them the factor falls back to 1 and from ``gain ** 1.5`` on they are left as they are; in
    between it is as large as it takes for the brighter of two pixels to stay the brighter one:

        gain ** (1 - t * t * (3 - 2 * t)),      t = log(m) / (1.5 * log(gain)) kept within 0..1.

    Args:
        linear: Linear light, ``(B, C, H, W)``, white, where cameras clip, at 1.
        gain: Radiance given to a fully clipped pixel, in units of white; at least 1, where 1 changes nothing.
            A tensor that broadcasts to ``(B, 1, H, W)`` may be learned; its values are not checked.
        threshold: Where the rise begins, in linear light, 0 to below 1. The default is 243 of 255 in sRGB:
            compression moves clipped pixels by some levels, and diffuse white seldom reaches it.

    Returns:
        Linear light, up to ``gain`` times brighter, shape and dtype of ``linear``.

    Raises:
        ValueError: If ``linear`` is no floating-point ``(B, C, H, W)`` tensor, ``gain`` is below 1 or not
            finite, or ``threshold`` is not in 0..1.

    Example:
        >>> lamp = torch.tensor([[0.5, 1.0], [0.25, 0.5], [0.0, 0.25]]).view(1, 3, 1, 2)
        >>> recover_highlights(lamp, gain=8.0)[0, :, 0]
        tensor([[0.5000, 8.0000],
                [0.2500, 4.0000],
                [0.0000, 2.0000]])
    """
    _require_float("linear", linear)
    if linear.ndim != 4:
        raise ValueError(f"linear must have shape (B, C, H, W), got {tuple(linear.shape)}")
    if not isinstance(gain, Tensor) and not 1 <= gain < math.inf:
        raise ValueError(f"gain must be a finite number, at least 1, got {gain}")
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be at least 0 and below 1, got {threshold}")
    brightest = linear.amax(dim=1, keepdim=True)  # (B, 1, H, W)
    rise = ((brightest - threshold) / (1 - threshold)).clamp(0, 1)
    factor = 1 + (gain - 1) * rise * rise * (3 - 2 * rise)
    # The span of the return to 1 is the shortest one, in log(m), over which brightness does not fall.
    height = torch.as_tensor(gain, dtype=linear.dtype, device=linear.device).clamp(min=1).log()
    fall = (brightest.clamp(min=1).log() / (1.5 * height).clamp(min=torch.finfo(linear.dtype).tiny)).clamp(max=1)
    return linear * factor * torch.exp(-height * fall * fall * (3 - 2 * fall))


def _power(x: Tensor, exponent: float) -> Tensor:
    wide = _widen(x)
    if exponent == 1:
        return x
    magnitude = wide.abs()
    # Below the smallest normal number the slope of a root may overflow: 0 there, in value and gradient.
    flat = magnitude < torch.finfo(wide.dtype).tiny
    power = torch.where(flat, 1, magnitude) ** exponent
    return torch.where(flat, 0, wide.sign() * power).to(x.dtype)


def _widen(x: Tensor) -> Tensor:
    _require_float("x", x)
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _check_gamma(gamma: Gamma) -> None:
    named = isinstance(gamma, str) and gamma in ("srgb", "linear")
    if not named and not (isinstance(gamma, int | float) and 0 < gamma < math.inf):
        raise ValueError(f'gamma must be "srgb", "linear" or a finite number above 0, got {gamma!r}')


def _require_float(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} must be a floating-point tensor, got {kind}")
