"""The thin lens: from depth, focus distance and f-number to signed defocus in pixels.

Defocus is positive in front of the focus plane and negative behind it; its magnitude is the *radius* of the
circle of confusion. Distances are in metres and measured from the lens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .lens import Lens

__all__ = [
    "Lens",
    "depth_of_field_m",
    "depth_to_disparity",
    "disparity_to_depth",
    "hyperfocal_distance_m",
    "lens_strength",
    "normalize_disparity",
    "relative_strength",
    "signed_defocus",
    "thin_lens_defocus",
]


def thin_lens_defocus(
    depth_m: Tensor,
    *,
    focus_distance_m: float | Tensor,
    focal_length_m: float | Tensor,
    f_number: float | Tensor,
    pixels_per_metre: float | Tensor,
) -> Tensor:
    """Return the signed defocus of points at a metric depth.

    With depth z, focus distance z_f, focal length f, f-number N and p pixels per metre the radius on the
    sensor is ``p * (f / 2N) * f / (z_f - f) * (z_f - z) / z`` (Potmesil and Chakravarty, "A Lens and Aperture
    Camera Model for Synthetic Image Generation", 1981). It is evaluated through 1/z, so a background at
    infinity has the finite limit and a gradient of 0.

    Args:
        depth_m: Depth, metres, above 0 or infinite, ``(B, 1, H, W)`` or any other shape.
        focus_distance_m: Distance of the sharp plane, metres, above the focal length; may be infinite.
        focal_length_m: Focal length, metres.
        f_number: Focal length over diameter of the entrance pupil.
        pixels_per_metre: Pixels of the image at hand per metre of sensor.

    The four lens arguments are numbers or tensors; a tensor of shape ``(B,)`` holds one value per image, any
    other must broadcast to the depth. Gradients reach the depth and every tensor.

    Returns:
        Defocus, pixels, shape and dtype of ``depth_m``.

    Raises:
        ValueError: If ``depth_m`` is no floating-point tensor, a lens argument is not positive or does not
            fit the depth's shape, or the focus distance is not above the focal length.

    Example:
        >>> depth = torch.tensor([1.0, 2.0, 4.0, float("inf")]).view(1, 1, 1, 4)
        >>> lens = dict(focal_length_m=0.05, f_number=2.0, pixels_per_metre=1e5)
        >>> thin_lens_defocus(depth, focus_distance_m=2.0, **lens).flatten()
        tensor([ 32.0513,   0.0000, -16.0256, -32.0513])
    """
    _require_float("depth_m", depth_m)
    distance = _per_image("focus_distance_m", focus_distance_m, depth_m)
    strength = lens_strength(
        focal_length_m=_per_image("focal_length_m", focal_length_m, depth_m),
        f_number=_per_image("f_number", f_number, depth_m),
        focus_distance_m=distance,
        pixels_per_metre=_per_image("pixels_per_metre", pixels_per_metre, depth_m),
    )
    # Rounded like the depth, so that a point on the focus plane has a defocus of exactly 0.
    distance = torch.as_tensor(distance, dtype=depth_m.dtype, device=depth_m.device)
    return strength * (depth_to_disparity(depth_m) - depth_to_disparity(distance))


def lens_strength(
    *,
    focal_length_m: float | Tensor,
    f_number: float | Tensor,
    focus_distance_m: float | Tensor,
    pixels_per_metre: float | Tensor,
) -> float | Tensor:
    """Return the blur strength of a lens for metric disparity.

    With disparity 1/z in 1/m, ``defocus = strength * (1/z - 1/z_f)`` is the thin lens of
    :func:`thin_lens_defocus`; solved for the strength, ``p * f**2 / 2N * z_f / (z_f - f)``.

    Args:
        focal_length_m: Focal length, metres.
        f_number: Focal length over diameter of the entrance pupil.
        focus_distance_m: Distance of the sharp plane, metres, above the focal length; may be infinite.
        pixels_per_metre: Pixels of the image at hand per metre of sensor.

    Returns:
        Strength, pixels times metres: a float if all arguments are numbers, else a tensor of their common
        broadcast shape.

    Raises:
        ValueError: If an argument is not positive or the focus distance is not above the focal length.

    Example:
        >>> lens_strength(focal_length_m=0.05, f_number=2.0, focus_distance_m=2.05, pixels_per_metre=1e5)
        64.0625
    """
    _require(focal_length_m > 0, "focal_length_m", focal_length_m, "above 0")
    _require(f_number > 0, "f_number", f_number, "above 0")
    _require(pixels_per_metre > 0, "pixels_per_metre", pixels_per_metre, "above 0")
    beyond = focus_distance_m > focal_length_m
    _require(beyond, "focus_distance_m", focus_distance_m, "above the focal length")
    focused_at_infinity = pixels_per_metre * focal_length_m * focal_length_m / (2 * f_number)
    return focused_at_infinity / (1 - focal_length_m / focus_distance_m)


def relative_strength(
    focus: float | Tensor,
    *,
    focal_length_m: float | Tensor,
    f_number: float | Tensor,
    focus_distance_m: float | Tensor,
    pixels_per_metre: float | Tensor,
) -> float | Tensor:
    """Return the blur strength of a lens for disparity of unknown scale.

    Such a disparity is s/z with an unknown s and hence 0 at infinity. Its value at a plane of known distance
    gives the scale away, s = focus * z_f, so the strength is that of :func:`lens_strength` over s. A
    disparity with an unknown offset as well, such as a min-max normalised one, has no such strength.

    Args:
        focus: Disparity at the focus plane, above 0.
        focal_length_m: Focal length, metres.
        f_number: Focal length over diameter of the entrance pupil.
        focus_distance_m: Distance of the sharp plane, metres, finite and above the focal length.
        pixels_per_metre: Pixels of the image at hand per metre of sensor.

    Returns:
        Strength, pixels per unit of the disparity: a float if all arguments are numbers, else a tensor of
        their common broadcast shape.

    Raises:
        ValueError: If an argument is not positive, or the focus distance is infinite or not above the focal
            length.

    Example:
        >>> lens = dict(focal_length_m=0.05, f_number=2.0, focus_distance_m=2.05, pixels_per_metre=1e5)
        >>> round(relative_strength(0.5, **lens), 3)
        62.5
    """
    _require(focus > 0, "focus", focus, "above 0")
    _require(focus_distance_m < math.inf, "focus_distance_m", focus_distance_m, "finite")
    strength = lens_strength(
        focal_length_m=focal_length_m,
        f_number=f_number,
        focus_distance_m=focus_distance_m,
        pixels_per_metre=pixels_per_metre,
    )
    return strength / (focus * focus_distance_m)


def signed_defocus(disparity: Tensor, focus: float | Tensor, strength: float | Tensor) -> Tensor:
    """Return ``strength * (disparity - focus)``.

    Args:
        disparity: Disparity, growing toward the camera, ``(B, 1, H, W)`` or any other shape.
        focus: Disparity of the sharp plane: a number, a tensor ``(B,)`` with one value per image, or one
            that broadcasts to the disparity, such as ``(B, 1, 1, 1)``.
        strength: Pixels of radius per unit of disparity, same forms as ``focus``.

    Returns:
        Defocus, pixels, shape and dtype of ``disparity``; positive in front of the focus plane.

    Raises:
        ValueError: If ``disparity`` is no floating-point tensor or a shape does not fit it.

    Example:
        >>> disparity = torch.tensor([0.25, 0.5, 1.0]).view(1, 1, 1, 3)
        >>> signed_defocus(disparity, 0.5, 20.0).flatten()
        tensor([-5.,  0., 10.])
    """
    _require_float("disparity", disparity)
    focus = _per_image("focus", focus, disparity)
    return _per_image("strength", strength, disparity) * (disparity - focus)


def depth_to_disparity(depth: Tensor) -> Tensor:
    """Return 1/depth, with a depth of infinity as disparity 0 and the reverse.

    The gradient is 0 at both ends, and wherever the true one is too large for the dtype, so that a sky or a
    missing depth puts no NaN into a backward pass.

    Args:
        depth: Depth of any shape; metres for a disparity in 1/m.

    Returns:
        Disparity, shape and dtype of ``depth``.

    Raises:
        ValueError: If ``depth`` is no floating-point tensor.

    Example:
        >>> depth_to_disparity(torch.tensor([0.5, 4.0, float("inf")]))
        tensor([2.0000, 0.2500, 0.0000])
    """
    _require_float("depth", depth)
    return _reciprocal(depth)


def disparity_to_depth(disparity: Tensor) -> Tensor:
    """Return 1/disparity, with disparity 0 as a depth of infinity; gradients as in depth_to_disparity.

    Args:
        disparity: Disparity of any shape, 0 at infinity; 1/m for a depth in metres.

    Returns:
        Depth, shape and dtype of ``disparity``.

    Raises:
        ValueError: If ``disparity`` is no floating-point tensor.

    Example:
        >>> disparity_to_depth(torch.tensor([2.0, 0.25, 0.0]))
        tensor([0.5000, 4.0000,    inf])
    """
    _require_float("disparity", disparity)
    return _reciprocal(disparity)


def normalize_disparity(disparity: Tensor) -> Tensor:
    """Scale and shift every image's disparity to 0..1: its farthest pixel to 0, its nearest to 1.

    Args:
        disparity: Finite disparity, ``(B, 1, H, W)``.

    Returns:
        Disparity in 0..1, shape and dtype of the input. An image of constant disparity becomes 0 throughout.

    Raises:
        ValueError: If ``disparity`` is no floating-point ``(B, 1, H, W)`` tensor with finite values.

    Example:
        >>> normalize_disparity(torch.tensor([2.0, 3.0, 6.0]).view(1, 1, 1, 3)).flatten()
        tensor([0.0000, 0.2500, 1.0000])
    """
    _require_float("disparity", disparity)
    if disparity.ndim != 4 or disparity.shape[1] != 1:
        raise ValueError(f"disparity must have shape (B, 1, H, W), got {tuple(disparity.shape)}")
    low = disparity.amin(dim=(1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    span = disparity.amax(dim=(1, 2, 3), keepdim=True) - low  # (B, 1, 1, 1)
    _require(span.isfinite(), "disparity", "values that are not", "finite")
    return (disparity - low) / torch.where(span > 0, span, 1)


def hyperfocal_distance_m(*, focal_length_m: float, f_number: float, circle_of_confusion_m: float) -> float:
    """Return the nearest focus distance at which infinity is still acceptably sharp.

    ``f**2 / (N c) + f`` (Ray, "Applied Photographic Optics").

    Args:
        focal_length_m: Focal length, metres.
        f_number: Focal length over diameter of the entrance pupil.
        circle_of_confusion_m: Largest blur that passes for sharp: its *diameter* on the sensor, metres, as
            photographers quote it (30e-6 for 36 x 24 mm).

    Returns:
        Hyperfocal distance, metres.

    Raises:
        ValueError: If an argument is not positive.

    Example:
        >>> round(hyperfocal_distance_m(focal_length_m=0.05, f_number=2.0, circle_of_confusion_m=30e-6), 2)
        41.72
    """
    _require(focal_length_m > 0, "focal_length_m", focal_length_m, "above 0")
    _require(f_number > 0, "f_number", f_number, "above 0")
    _require(circle_of_confusion_m > 0, "circle_of_confusion_m", circle_of_confusion_m, "above 0")
    return focal_length_m * focal_length_m / (f_number * circle_of_confusion_m) + focal_length_m


def depth_of_field_m(
    *, focal_length_m: float, f_number: float, focus_distance_m: float, circle_of_confusion_m: float
) -> tuple[float, float]:
    """Return the nearest and the farthest depth that are acceptably sharp.

    The depths at which the blur of :func:`thin_lens_defocus` has the given diameter. With the hyperfocal
    distance H: ``near = 1 / (1/z_f + (1 - f/z_f) / (H - f))`` and ``far = z_f (H - f) / (H - z_f)``.

    Args:
        focal_length_m: Focal length, metres.
        f_number: Focal length over diameter of the entrance pupil.
        focus_distance_m: Distance of the sharp plane, metres, above the focal length; may be infinite.
        circle_of_confusion_m: Largest blur that passes for sharp: its *diameter* on the sensor, metres.

    Returns:
        Near and far limit, metres; far is infinite from the hyperfocal distance on.

    Raises:
        ValueError: If an argument is not positive or the focus distance is not above the focal length.

    Example:
        >>> near, far = depth_of_field_m(
        ...     focal_length_m=0.05, f_number=2.0, focus_distance_m=2.0, circle_of_confusion_m=30e-6
        ... )
        >>> round(near, 3), round(far, 3)
        (1.911, 2.098)
    """
    hyperfocal = hyperfocal_distance_m(
        focal_length_m=focal_length_m, f_number=f_number, circle_of_confusion_m=circle_of_confusion_m
    )
    beyond = focus_distance_m > focal_length_m
    _require(beyond, "focus_distance_m", focus_distance_m, "above the focal length")
    reach = hyperfocal - focal_length_m
    near = 1 / (1 / focus_distance_m + (1 - focal_length_m / focus_distance_m) / reach)
    margin = hyperfocal - focus_distance_m
    return near, focus_distance_m * reach / margin if margin > 0 else math.inf


def _reciprocal(x: Tensor) -> Tensor:
    # The derivative is -1/x^2. Where that overflows, or 1/x is 0, a zero from upstream would turn into NaN.
    flat = (x.abs() < torch.finfo(x.dtype).max ** -0.5) | x.isinf()
    return torch.where(flat, x.detach().reciprocal(), torch.where(flat, 1, x).reciprocal())


def _per_image(name: str, value: float | Tensor, like: Tensor) -> float | Tensor:
    """Give a tensor the dtype and device of a map and, if it is ``(B,)``, the shape ``(B, 1, ..., 1)``."""
    if not isinstance(value, Tensor):
        return value
    shaped = value.view(-1, *[1] * (like.ndim - 1)) if value.ndim == 1 else value
    sizes = zip(reversed(shaped.shape), reversed(like.shape), strict=False)
    if shaped.ndim > like.ndim or any(size not in (1, full) for size, full in sizes):
        shapes = f"{tuple(like.shape)}, got {tuple(value.shape)}"
        raise ValueError(f"{name} must be a number, (B,) or broadcast to the map's shape {shapes}")
    return shaped.to(like)


def _require_float(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} must be a floating-point tensor, got {kind}")


def _require(valid: bool | Tensor, name: str, value: object, expected: str) -> None:
    if isinstance(valid, Tensor):
        # A compiled graph cannot branch on data.
        valid = torch.compiler.is_compiling() or bool(valid.all())
    if not valid:
        raise ValueError(f"{name} must be {expected}, got {value}")
