"""How near a picture comes to the photograph: MSE, PSNR and SSIM, each under the name of its protocol.

Pictures are in display values (sRGB), white at 1. Sums are taken in float64; values beyond 0..1 count as they are, so a
picture that is to be judged as its file would be is clamped and rounded first (:func:`quantize`).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

SsimProtocol: TypeAlias = Literal["gaussian", "uniform7", "pynet"]
"""How SSIM is computed, see :func:`ssim`."""

# Of Wang et al. 2004, for white at 1.
_C1, _C2 = 0.01**2, 0.03**2
# In float64 a band of this many pixels, with all that is computed of it, stays in the cache.
_BAND_PIXELS = 1 << 17


class _Protocol(NamedTuple):
    taps: int  # of the window, in each direction
    sigma: float | None  # of a Gaussian window, None for a flat one
    border: int  # taken off every side first
    eight_bits: bool  # whether it is defined on 8-bit files


_PROTOCOLS: dict[str, _Protocol] = {
    "gaussian": _Protocol(11, 1.5, 0, False),
    "uniform7": _Protocol(7, None, 0, True),
    "pynet": _Protocol(11, 1.5, 32, False),
}


def quantize(picture: Tensor) -> Tensor:
    """What an 8-bit file holds of a picture: clamped to 0..1 and rounded half up to steps of 1/255.

    Args:
        picture: Display values of any shape, floating-point.

    Returns:
        The same shape and dtype. Not differentiable: the gradient is 0.

    Example:
        >>> (quantize(torch.tensor([-0.1, 0.5, 2.0])) * 255).tolist()
        [0.0, 128.0, 255.0]
    """
    return (picture.clamp(0, 1) * 255 + 0.5).floor() / 255


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over channels and pixels.

    Args:
        prediction: ``(B, 3, H, W)``, sRGB 0..1.
        target: The same.

    Returns:
        ``(B,)``, float32 or wider. Times 255² it is the error of 8-bit values.

    Raises:
        ValueError: If the shapes differ or are others, or a picture is not floating-point.

    Example:
        >>> mse(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5))
        tensor([0.0100])
    """
    check_pair(prediction, target)
    return _mse(prediction, target).to(_result_dtype(prediction))


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, ``-10 log10(mse)``, white at 1 being the peak.

    Args:
        prediction: ``(B, 3, H, W)``, sRGB 0..1.
        target: The same.

    Returns:
        ``(B,)``, dB, float32 or wider; infinite for equal pictures.

    Raises:
        ValueError: If the shapes differ or are others, or a picture is not floating-point.

    Example:
        >>> psnr(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5))
        tensor([20.0000])
    """
    check_pair(prediction, target)
    return (-10 * _mse(prediction, target).log10()).to(_result_dtype(prediction))


def fit_gain(prediction: Tensor, target: Tensor) -> Tensor:
    """The factor of every channel with which the prediction comes nearest to the target, by least squares.

    Args:
        prediction: ``(B, 3, H, W)``, in the light in which the gain is to be fitted.
        target: The same.

    Returns:
        ``(B, 3, 1, 1)``; 0 for a black channel.

    Raises:
        ValueError: If the shapes differ or are others, or a picture is not floating-point.

    Example:
        >>> fit_gain(torch.full((1, 3, 4, 4), 0.4), torch.full((1, 3, 4, 4), 0.5)).flatten()
        tensor([1.2500, 1.2500, 1.2500])
    """
    check_pair(prediction, target)
    return _fit_gain(prediction.double(), target.double()).to(_result_dtype(prediction))


def gain_fitted_psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """PSNR after every channel was multiplied by its best gain and clamped to 0..1.

    Two photographs are rarely exposed alike; this leaves their exposure and white balance out of the judgement. The
    gain is fitted to display values (sRGB), not to linear light.

    Args:
        prediction: ``(B, 3, H, W)``, sRGB 0..1.
        target: The same.

    Returns:
        ``(B,)``, dB, float32 or wider.

    Raises:
        ValueError: If the shapes differ or are others, or a picture is not floating-point.

    Example:
        >>> target = torch.rand(1, 3, 8, 8)
        >>> bool(gain_fitted_psnr(0.5 * target, target) > 100)
        True
    """
    check_pair(prediction, target)
    wide, goal = prediction.double(), target.double()
    matched = (wide * _fit_gain(wide, goal)).clamp(0, 1)
    return (-10 * _mse(matched, goal).log10()).to(_result_dtype(prediction))


def ssim(prediction: Tensor, target: Tensor, protocol: SsimProtocol = "gaussian") -> Tensor:
    """Structural similarity (Wang et al. 2004), the mean over channels and all places of the window within the frame.

    The protocols differ by several hundredths on the same two pictures, so a figure is worth nothing without its
    protocol's name:

    - ``gaussian``: window of 11 x 11, sigma 1.5, as in the paper and in most libraries.
    - ``uniform7``: scikit-image's default: flat window of 7 x 7, sample covariance, on 8-bit data, to which both
      pictures are rounded first (:func:`quantize`).
    - ``pynet``: ``gaussian`` without the outermost 32 pixels of the pictures.

    Args:
        prediction: ``(B, 3, H, W)``, sRGB 0..1.
        target: The same.
        protocol: See above.

    Returns:
        ``(B,)``, float32 or wider, 1 for equal pictures. Differentiable, except ``uniform7``, whose rounding has the
        gradient 0.

    Raises:
        ValueError: If a shape or protocol does not fit, a picture is not floating-point, or it is smaller than the
            window (with the border: 75 x 75 pixels for ``pynet``).

    Example:
        >>> picture = torch.rand(2, 3, 16, 16)
        >>> ssim(picture, picture)
        tensor([1., 1.])
    """
    check_pair(prediction, target)
    if protocol not in _PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(get_args(SsimProtocol))}, got {protocol!r}")
    taps, sigma, border, eight_bits = _PROTOCOLS[protocol]
    height, width = prediction.shape[2:]
    least = taps + 2 * border
    if min(height, width) < least:
        raise ValueError(
            f"prediction is {width} x {height} pixels: expected at least {least} x {least} for SSIM by {protocol!r}"
        )
    pair = (quantize(prediction), quantize(target)) if eight_bits else (prediction, target)
    inner = (slice(None), slice(None), slice(border, height - border), slice(border, width - border))
    first, second = (picture[inner] for picture in pair)
    offsets = torch.arange(taps, dtype=torch.float64) - taps // 2
    window = torch.ones_like(offsets) if sigma is None else torch.exp(-0.5 * (offsets / sigma).square())
    weights = (window / window.sum()).tolist()
    # A flat window counts its samples; a Gaussian one takes the moments as they are.
    correction = taps**2 / (taps**2 - 1) if sigma is None else 1.0
    rows = max(4 * taps, _BAND_PIXELS // first.shape[3])
    total = torch.zeros(len(first), dtype=torch.float64, device=first.device)
    for top in range(0, first.shape[2] - taps + 1, rows):
        band = slice(top, top + rows + taps - 1)
        total = total + _sum_ssim(first[:, :, band].double(), second[:, :, band].double(), weights, correction)
    places = 3 * (first.shape[2] - taps + 1) * (first.shape[3] - taps + 1)
    return (total / places).to(_result_dtype(prediction))


def check_pair(prediction: Tensor, target: Tensor) -> None:
    """Raise ``ValueError`` unless these are two batches of pictures, ``(B, 3, H, W)``, of one size."""
    for name, picture in (("prediction", prediction), ("target", target)):
        if picture.ndim != 4 or picture.shape[1] != 3 or 0 in picture.shape:
            raise ValueError(f"{name} has shape {tuple(picture.shape)}: expected (B, 3, H, W)")
        if not picture.is_floating_point():
            raise ValueError(f"{name} is {picture.dtype}: expected floating-point, 0..1")
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)}: expected the target's, {tuple(target.shape)}"
        )


def _result_dtype(prediction: Tensor) -> torch.dtype:
    return torch.promote_types(prediction.dtype, torch.float32)


def _mse(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction.double() - target.double()).square().mean((1, 2, 3))


def _fit_gain(prediction: Tensor, target: Tensor) -> Tensor:
    power = prediction.square().sum((2, 3), keepdim=True)
    return (prediction * target).sum((2, 3), keepdim=True) / power.clamp(min=torch.finfo(power.dtype).tiny)


def _sum_ssim(x: Tensor, y: Tensor, weights: list[float], correction: float) -> Tensor:
    """Of every picture the sum over all places of the window, (B,)."""
    # The variances are only needed in sum.
    moments = torch.cat([x, y, x * x + y * y, x * y])
    mean_x, mean_y, squares, products = _average(_average(moments, weights, 2), weights, 3).chunk(4)
    means, mean_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariance, variances = correction * (products - means), correction * (squares - mean_squares)
    likeness = (2 * means + _C1) * (2 * covariance + _C2) / ((mean_squares + _C1) * (variances + _C2))
    return likeness.sum((1, 2, 3))


def _average(maps: Tensor, weights: list[float], dim: int) -> Tensor:
    """Weighted mean along an axis where the weights fit; in float64 four times as fast as a convolution."""
    size = maps.shape[dim] - len(weights) + 1
    result = maps.narrow(dim, 0, size) * weights[0]
    for offset, weight in enumerate(weights[1:], 1):
        result.add_(maps.narrow(dim, offset, size), alpha=weight)
    return result
