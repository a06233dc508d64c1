"""What a photo's metadata tell of the lens and camera behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import SupportsFloat

_F_NUMBER = 33437
_SUBJECT_DISTANCE = 37382
_FOCAL_LENGTH = 37386
_PIXEL_X_DIMENSION = 40962
_FOCAL_PLANE_X_RESOLUTION = 41486
_FOCAL_PLANE_RESOLUTION_UNIT = 41488
_FOCAL_LENGTH_35MM = 41989

_INCH = 2  # the unit that Exif prescribes where none is given
_RESOLUTION_UNIT_M: dict[float | None, float] = {_INCH: 0.0254, 3: 1e-2, 4: 1e-3, 5: 1e-6}
_FILM_WIDTH_M = 0.036

# Cameras write infinity as the largest count of their unit: 65535 cm = 655.35 m is the nearest such value.
_AT_INFINITY_M = 655.0


@dataclass(frozen=True)
class Lens:
    """What is known of the lens and camera behind a photo; None where it is not known.

    Attributes:
        focal_length_m: Focal length, metres.
        f_number: Focal length over diameter of the entrance pupil.
        sensor_width_m: Width of the sensor, metres, along the longer side of an uncropped photo.
        focus_distance_m: Distance of the sharp plane, metres.

    Raises:
        ValueError: If a value is not positive.

    Example:
        >>> Lens(f_number=1.8).merge(Lens(focal_length_m=0.05, f_number=8.0))
        Lens(focal_length_m=0.05, f_number=1.8, sensor_width_m=None, focus_distance_m=None)
    """

    focal_length_m: float | None = None
    f_number: float | None = None
    sensor_width_m: float | None = None
    focus_distance_m: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise ValueError(f"{field.name} must be above 0 or None, got {value}")

    @classmethod
    def from_exif(cls, exif: Mapping[int, object]) -> Lens:
        """Read a lens from a photo's Exif tags.

        The tags are those of CIPA DC-008 (Exif 2.3). The sensor's width comes from the 35 mm equivalent of
        the focal length, else from the sensor's pixels per unit of length, which editing software tends to
        leave alone when it resizes a photo. A subject at infinity counts as unknown.

        Args:
            exif: Tag number to value, of the Exif IFD (with Pillow ``image.getexif().get_ifd(0x8769)``).
                Values are anything that converts to float or (numerator, denominator) pairs.

        Returns:
            The lens; None for what is absent, zero or not a number.

        Example:
            >>> Lens.from_exif({33437: (18, 10), 37386: 50.0, 41989: 75, 37382: 0})
            Lens(focal_length_m=0.05, f_number=1.8, sensor_width_m=0.024, focus_distance_m=None)
        """
        focal_length = _positive_number(exif.get(_FOCAL_LENGTH), 1e-3)
        focal_length_35mm = _positive_number(exif.get(_FOCAL_LENGTH_35MM), 1e-3)
        pixels = _positive_number(exif.get(_PIXEL_X_DIMENSION))
        resolution = _positive_number(exif.get(_FOCAL_PLANE_X_RESOLUTION))
        unit = _RESOLUTION_UNIT_M.get(_positive_number(exif.get(_FOCAL_PLANE_RESOLUTION_UNIT, _INCH)))
        width = None
        if focal_length and focal_length_35mm:
            width = _positive_number(_FILM_WIDTH_M * focal_length / focal_length_35mm)
        elif pixels and resolution and unit:
            width = _positive_number(pixels / resolution, unit)
        distance = _positive_number(exif.get(_SUBJECT_DISTANCE))
        return cls(
            focal_length_m=focal_length,
            f_number=_positive_number(exif.get(_F_NUMBER)),
            sensor_width_m=width,
            focus_distance_m=distance if distance and distance < _AT_INFINITY_M else None,
        )

    def merge(self, other: Lens) -> Lens:
        """Return this lens with what it does not know taken from another.

        Args:
            other: The lens that fills the gaps.

        Returns:
            A new lens.
        """
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Lens(*(theirs if ours is None else ours for ours, theirs in pairs))


def _positive_number(value: object, scale: float = 1.0) -> float | None:
    """Return ``scale * value`` if that is a positive finite number, else None."""
    try:
        if isinstance(value, tuple | list):
            numerator, denominator = value
            value = numerator / denominator
        number = scale * float(value) if isinstance(value, SupportsFloat) else math.nan
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if 0 < number < math.inf else None
