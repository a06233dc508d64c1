"""What ``depthbokeh render`` is asked for, checked before any photo is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from .aperture import Aperture
from .lens import Lens
from .models.depth.base import DepthKind, check_depth_kind
from .pipeline import MIN_TILE
from .render import Quality

Focus = float | tuple[float, float] | tuple[float, float, float, float] | None
Subject = tuple[float, float] | tuple[float, float, float, float] | None


@dataclass(frozen=True)
class Settings:
    """The options of ``depthbokeh render`` that hold for every photo."""

    focus: Focus = None
    subject: Subject = None
    strength: float | None = None
    lens: Lens | None = None
    aperture: str = "disk"
    highlights: float = 4.0
    quality: Quality = "default"
    refine: bool = False
    disparity_kind: DepthKind | None = None
    mask_model: str = "auto"
    depth_model: str = "auto"
    mask_weights: Path | None = None
    depth_weights: Path | None = None
    pipeline: str | None = None
    tile: int | None = None
    device: str = "auto"
    max_size: int | None = None
    save_maps: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        Aperture.parse(self.aperture)
        if self.quality not in get_args(Quality):
            raise ValueError(f"quality must be one of {', '.join(get_args(Quality))}, got {self.quality!r}")
        if self.disparity_kind is not None:
            check_depth_kind(self.disparity_kind)
        if self.tile is not None and self.tile < MIN_TILE:
            raise ValueError(f"tile must be at least {MIN_TILE} pixels, got {self.tile}")
        if self.pipeline is not None:
            for model in ("mask", "depth"):
                if getattr(self, f"{model}_model") != "auto" or getattr(self, f"{model}_weights") is not None:
                    raise ValueError(f"{self.pipeline}: a saved pipeline has its own {model} model: give one of them")
        if self.strength is not None and self.lens is not None:
            raise ValueError("strength and f-number say the same thing in two ways: give one of them")
        if self.strength is not None and not 0 <= self.strength < float("inf"):
            raise ValueError(f"strength must be finite and not negative, got {self.strength:g}")


def parse_focus(text: str) -> Focus:
    """Reads ``X,Y``, ``X,Y,W,H``, ``auto`` or a disparity."""
    if text == "auto":
        return None
    numbers = _parse_numbers(text, "focus", "X,Y or X,Y,W,H, auto or a number", counts=(1, 2, 4))
    return cast("tuple[float, float]", tuple(numbers)) if len(numbers) > 1 else numbers[0]


def parse_subject(text: str | None) -> Subject:
    """Reads ``X,Y`` or ``X,Y,W,H``."""
    if text is None:
        return None
    numbers = _parse_numbers(text, "subject", "X,Y or X,Y,W,H", counts=(2, 4))
    return cast("tuple[float, float]", tuple(numbers))


def _parse_numbers(text: str, name: str, expected: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts or not all(abs(number) < float("inf") for number in numbers):
        raise ValueError(f"{name} must be {expected}, got {text!r}")
    return numbers


def parse_lens(
    f_number: float | None, focal_length_mm: float | None, sensor_width_mm: float | None, focus_distance_m: float | None
) -> Lens | None:
    """The lens that the options describe, or ``None`` if they describe none."""
    given = {
        "--focal-length": focal_length_mm,
        "--sensor-width": sensor_width_mm,
        "--focus-distance": focus_distance_m,
    }
    if f_number is None:
        named = [name for name, value in given.items() if value is not None]
        if named:
            raise ValueError(f"{named[0]} needs --f-number")
        return None
    for name, value in {"--f-number": f_number, **given}.items():
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be positive, got {value:g}")
    return Lens(
        focal_length_m=focal_length_mm and focal_length_mm / 1000,
        f_number=f_number,
        sensor_width_m=sensor_width_mm and sensor_width_mm / 1000,
        focus_distance_m=focus_distance_m,
    )
