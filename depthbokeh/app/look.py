"""How the blur is to look: what the app's controls say, in terms of the renderer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..lens import Lens
from ..optics import relative_strength

FULL_FRAME_M = 0.036
"""Width of the sensor that focal lengths are told for."""

_NORMAL = Lens(focal_length_m=0.05, sensor_width_m=FULL_FRAME_M, focus_distance_m=2.0)
# With less disparity than this the subject would be as far as its surroundings, and no lens could tell them apart.
_LEAST_PLANE = 0.05
_ROUNDNESS = 0.3  # blades of real lenses are bent

SHAPES = ("Round", "Blades", "Cat's eye", "Oval", "Ring", "Soft")


@dataclass(frozen=True)
class Look:
    """What the controls say.

    Attributes:
        f_number: Of a full-frame lens; ``None`` where ``strength`` holds instead.
        focal_length_mm: Of that lens.
        distance_m: From the lens to the subject.
        strength: Blur radius for a unit of disparity, in percent of the longer side.
        shape: One of :data:`SHAPES`.
        blades: Of the shape "Blades", 3 or more.
        cat_eye: How much of the shape "Cat's eye" is cut off, 0..0.95.
        highlights: How many times brighter clipped lights are made before the blur.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> Look(shape="Blades", blades=7).aperture
        'polygon:7:0:0.3'
    """

    f_number: float | None = 1.4
    focal_length_mm: float = 50.0
    distance_m: float = 2.0
    strength: float = 2.5
    shape: str = "Round"
    blades: int = 6
    cat_eye: float = 0.5
    highlights: float = 4.0

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float | None, float, float]] = {
            "f-number": (self.f_number, 0.5, 64),
            "focal length": (self.focal_length_mm, 8, 600),
            "subject distance": (self.distance_m, 0.3, 100),
            "strength": (self.strength, 0, 10),
            "blades": (self.blades, 3, 20),
            "cat's eye": (self.cat_eye, 0, 0.95),
            "highlights": (self.highlights, 1, 20),
        }
        for name, (value, low, high) in ranges.items():
            if value is not None and not low <= value <= high:  # NaN is neither
                raise ValueError(f"{name} is {value:g}: expected {low:g} to {high:g}")
        if self.shape not in SHAPES:
            raise ValueError(f"shape is {self.shape!r}: expected one of {', '.join(SHAPES)}")
        if 1000 * self.distance_m <= 2 * self.focal_length_mm:
            raise ValueError(
                f"subject distance is {self.distance_m:g} m: expected more than twice the focal length of "
                f"{self.focal_length_mm:g} mm"
            )

    @property
    def aperture(self) -> str:
        """The text form that :meth:`depthbokeh.Aperture.parse` reads."""
        texts = {
            "Round": "disk",
            "Blades": f"polygon:{self.blades}:0:{_ROUNDNESS}",
            "Cat's eye": f"cat_eye:{self.cat_eye:g}",
            "Oval": "ellipse:0.6",
            "Ring": "ring:0.5",
            "Soft": "gaussian",
        }
        return texts[self.shape]

    def find_strength(self, plane: float, longer: int) -> float:
        """Blur radius for a unit of disparity, in pixels.

        With an f-number it is that of the lens with the subject at its distance, and so proportional to 1 / N.

        Args:
            plane: The subject's disparity, which its distance gives a scale to.
            longer: Pixels of the picture's longer side.

        Example:
            >>> wide, narrow = Look(f_number=1.4).find_strength(0.8, 1000), Look(f_number=2.8).find_strength(0.8, 1000)
            >>> round(wide / narrow, 6)
            2.0
        """
        if self.f_number is None:
            return self.strength / 100 * longer
        return float(
            relative_strength(
                max(plane, _LEAST_PLANE),
                focal_length_m=self.focal_length_mm / 1000,
                f_number=self.f_number,
                focus_distance_m=self.distance_m,
                pixels_per_metre=longer / FULL_FRAME_M,
            )
        )


def read_lens(exif: Mapping[int, object]) -> tuple[float, float]:
    """Focal length (mm, for full frame) and subject distance (m) that a photo's EXIF tells, or else 50 mm and 2 m.

    A wider lens than 50 mm blurs hardly anything; then the lens that is imagined in its place has 50 mm.

    Example:
        >>> read_lens({37386: 5.6, 41989: 26})
        (50.0, 2.0)
        >>> read_lens({37386: 85.0, 37382: 3.0})
        (85.0, 3.0)
    """
    lens = Lens.from_exif(exif).merge(_NORMAL)
    assert lens.focal_length_m is not None
    assert lens.sensor_width_m is not None
    assert lens.focus_distance_m is not None
    focal_length_mm = 1000 * lens.focal_length_m * FULL_FRAME_M / lens.sensor_width_m
    return round(min(max(focal_length_mm, 50.0), 200.0), 1), round(min(max(lens.focus_distance_m, 0.5), 20.0), 2)
