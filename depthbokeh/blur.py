"""Variable-radius blur: two operators, adjoint to each other, exact in area and differentiable in image and radius."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from . import _native, ops, reference
from .aperture import Aperture

Backend = Literal["auto", "reference", "native"]


def scatter_blur(
    image: Tensor,
    radius: Tensor,
    aperture: str | Aperture = "disk",
    *,
    max_radius: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Spreads the light of every pixel over its own aperture shape: what a lens does.

    ``y(p) = sum_q k(p - q; r(q)) x(q)``, where ``k(.; r)`` is the share of every pixel in the shape of radius ``r``,
    each of its rows averaged over the row's height, and sums to 1. For the disk::

        k(dx, dy; r) = |[-h, h] & [dx - 1/2, dx + 1/2]| / (pi r^2),    h = mean of sqrt(r^2 - y^2) over the row dy

    Light that leaves the frame is lost: divide by the blur of ones where brightness should be kept.
    The Gaussian (sigma = r / 2) is made of fixed levels and within 1e-3 of its definition.

    Args:
        image: ``(B, C, H, W)``, floating point, linear light where the result should look like a photograph's.
        radius: ``(B, 1, H, W)`` or ``(1, 1, H, W)``: circle of confusion's radius in pixels. Finite. Radii up to half
            a pixel (for the disk) and negative ones leave a pixel as it is, with gradient 0.
        aperture: An :class:`Aperture` or its text form, such as ``"polygon:6"``.
        max_radius: Larger radii are cut to this one, their gradient is 0. Bounds time and memory.
        backend: ``"native"`` for the C++ or CUDA kernels, ``"reference"`` for pure PyTorch, ``"auto"`` for the former
            where there is one for the image's device and else the latter, with one warning.

    Returns:
        ``(B, C, H, W)`` of the image's dtype; half precision is computed in float32. Differentiable in the image any
        number of times, in the radius once. Deterministic, whatever the number of threads.

    Raises:
        ValueError: If a shape, dtype, device or the aperture's text does not fit, or a radius is not finite. The CUDA
            kernels, for which nobody waits, make pixels of such a radius NaN instead.
        RuntimeError: If ``backend="native"`` and there is no native kernel.

    Example:
        >>> import torch
        >>> image, radius = torch.zeros(1, 3, 9, 9), torch.full((1, 1, 9, 9), 3.0)
        >>> image[..., 4, 4] = 1
        >>> blurred = scatter_blur(image, radius)
        >>> round(float(blurred[0, 0].sum()), 4), round(float(blurred[0, 0, 4, 4]) * torch.pi * 3**2, 4)
        (1.0, 1.0)
    """
    image, radius, shape = _check(image, radius, aperture, max_radius, backend)
    if _use_native(backend, image.device):
        return _name_bad_radius(ops.scatter_blur, image, radius, shape)
    return reference.scatter_blur(image, radius, shape, max_radius)


def gather_blur(
    image: Tensor,
    radius: Tensor,
    aperture: str | Aperture = "disk",
    *,
    max_radius: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Averages the image over every pixel's own aperture shape: the adjoint of :func:`scatter_blur`.

    ``y(p) = sum_q k(q - p; r(p)) x(q)``: ``<scatter_blur(x, r), y> = <x, gather_blur(y, r)>`` for all x and y.
    Arguments, result and errors are those of :func:`scatter_blur`.

    Example:
        >>> import torch
        >>> x, y, r = torch.rand(3, 1, 1, 8, 8, dtype=torch.float64)
        >>> bool(torch.isclose((scatter_blur(x, 4 * r) * y).sum(), (x * gather_blur(y, 4 * r)).sum()))
        True
    """
    image, radius, shape = _check(image, radius, aperture, max_radius, backend)
    if _use_native(backend, image.device):
        return _name_bad_radius(ops.gather_blur, image, radius, shape)
    return reference.gather_blur(image, radius, shape, max_radius)


def _check(
    image: Tensor, radius: Tensor, aperture: str | Aperture, max_radius: float | None, backend: str
) -> tuple[Tensor, Tensor, Aperture]:
    if backend not in ("auto", "reference", "native"):
        raise ValueError(f"backend must be 'auto', 'reference' or 'native', got {backend!r}")
    if image.dim() != 4 or not image.is_floating_point():
        raise ValueError(f"image must be (B, C, H, W) floating point, got {tuple(image.shape)} {image.dtype}")
    batch, _, height, width = image.shape
    expected = (batch, 1, height, width)
    if tuple(radius.shape) not in (expected, (1, 1, height, width)) or not radius.is_floating_point():
        raise ValueError(f"radius must be {expected} floating point, got {tuple(radius.shape)} {radius.dtype}")
    if radius.device != image.device:
        raise ValueError(f"radius must be on the image's device {image.device}, got {radius.device}")
    # Half precision knows a radius of 32 px to 1/32 px only; radii are computed with in float32 or better.
    radius = radius.to(torch.promote_types(image.dtype, torch.float32)).expand(expected)
    if max_radius is not None:
        if not 0 <= max_radius < math.inf:
            raise ValueError(f"max_radius must be finite and not negative, got {max_radius}")
        radius = radius.clamp(max=max_radius)
    return image, radius, Aperture.parse(aperture)


def _name_bad_radius(operator: Callable[..., Tensor], image: Tensor, radius: Tensor, aperture: Aperture) -> Tensor:
    """Calls an operator; the kernel finds a bad radius while it reads them all, but can raise no ValueError."""
    try:
        return operator(image, radius, aperture)
    except RuntimeError as error:
        if "radius must be finite" in str(error):
            raise ValueError("radius must be finite") from None
        raise


_warned = False


def _use_native(backend: str, device: torch.device) -> bool:
    global _warned
    if backend == "reference":
        return False
    if ops.has_kernels(device.type):
        return True
    reason = _explain_missing(device)
    if backend == "native":
        raise RuntimeError(f"no native kernel: {reason}")
    if not _warned and not torch.compiler.is_compiling():
        _warned = True
        warnings.warn(f"depthbokeh runs its slower reference: {reason}", RuntimeWarning, stacklevel=3)
    return False


def _explain_missing(device: torch.device) -> str:
    native = _native.load()
    if device.type not in ("cpu", "cuda"):
        return f"there is none for {device.type}"
    if native.loaded:
        return "the library has no CUDA kernels (with nvcc on PATH, DEPTHBOKEH_CUDA=1 compiles them)"
    return native.origin
