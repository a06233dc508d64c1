"""What the command line does with files: read, render, write; one photo or a folder of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor

from .aperture import Aperture
from .layers import find_focus
from .lens import Lens
from .optics import normalize_disparity, relative_strength
from .photo import PhotoError, atomic_path, read_map, read_photo, write_photo
from .pipeline import BokehPipeline, Rendering
from .render import BokehRenderer, Quality

_PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
_MAP_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".jpg", ".jpeg")
# Taken where neither the command line nor the photo's EXIF says more: a normal lens on full frame.
_DEFAULT_LENS = Lens(focal_length_m=0.05, sensor_width_m=0.036, focus_distance_m=2.0)


@dataclass(frozen=True)
class Settings:
    """The options of ``depthbokeh render`` that hold for every photo."""

    focus: float | tuple[float, float] | tuple[float, float, float, float] | None = None
    subject: tuple[float, float, float, float] | None = None
    strength: float | None = None
    lens: Lens | None = None
    aperture: str = "disk"
    highlights: float = 4.0
    quality: Quality = "default"
    refine: bool = False
    max_size: int | None = None
    save_maps: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        Aperture.parse(self.aperture)
        if self.quality not in get_args(Quality):
            raise ValueError(f"quality must be one of {', '.join(get_args(Quality))}, got {self.quality!r}")
        if self.strength is not None and self.lens is not None:
            raise ValueError("strength and f-number say the same thing in two ways: give one of them")
        if self.strength is not None and not 0 <= self.strength < float("inf"):
            raise ValueError(f"strength must be finite and not negative, got {self.strength:g}")


def parse_focus(text: str) -> float | tuple[float, float] | tuple[float, float, float, float] | None:
    """Reads ``X,Y``, ``X,Y,W,H``, ``auto`` or a disparity."""
    if text == "auto":
        return None
    numbers = _parse_numbers(text, "focus", "X,Y or X,Y,W,H, auto or a number", counts=(1, 2, 4))
    return cast("tuple[float, float]", tuple(numbers)) if len(numbers) > 1 else numbers[0]


def parse_box(text: str | None) -> tuple[float, float, float, float] | None:
    """Reads ``X,Y,W,H``."""
    if text is None:
        return None
    numbers = _parse_numbers(text, "subject", "X,Y,W,H", counts=(4,))
    return cast("tuple[float, float, float, float]", tuple(numbers))


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


def render_file(photo: Path, output: Path, disparity: Path | None, mask: Path | None, settings: Settings) -> None:
    """Renders one photo into one file.

    Raises:
        PhotoError: If a file cannot be read or written, or does not fit the photo.
        ValueError: If a setting does not fit the photo.
    """
    if output.exists() and not settings.overwrite:
        raise PhotoError(f"{output}: exists already; --overwrite replaces it")
    source = read_photo(photo)
    height, width = source.image.shape[2:]
    depth = read_disparity(disparity, (height, width)) if disparity else None
    subject = read_mask(mask, (height, width)) if mask else None
    image, alpha, scale = source.image, source.alpha, 1.0
    if settings.max_size and max(height, width) > settings.max_size:
        scale = settings.max_size / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        image = resize(image, size)
        depth, subject, alpha = (t if t is None else resize(t, size) for t in (depth, subject, alpha))
    settings = _scale(settings, scale)
    exif = Lens.from_exif(source.exif_ifd())
    with torch.inference_mode():
        rendering = _render(image, depth, subject, settings, exif)
    write_photo(
        output,
        rendering.bokeh,
        bits=source.bits,
        exif=source.exif,
        icc=source.icc,
        alpha=alpha,
        overwrite=settings.overwrite,
    )
    if settings.save_maps:
        _write_maps(settings.save_maps, output.stem, rendering)


def render_folder(
    folder: Path, output: Path, disparity: Path | None, mask: Path | None, settings: Settings
) -> list[PhotoError | ValueError]:
    """Renders all photos of a folder under their own names; returns what went wrong.

    A photo whose result exists is skipped, so that an interrupted run can be started again.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not folder.is_dir():
        raise PhotoError(f"{folder}: expected a folder, as --batch was given")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PHOTO_SUFFIXES)
    if not photos:
        raise PhotoError(f"{folder}: holds no photo ({', '.join(_PHOTO_SUFFIXES)})")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{output}: cannot be made: {error.strerror}") from error
    console = Console(stderr=True)
    failed: list[PhotoError | ValueError] = []
    skipped = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(photos))
        for photo in photos:
            progress.update(task, description=photo.name)
            target = output / photo.name
            if target.exists() and not settings.overwrite:
                skipped += 1
            else:
                try:
                    render_file(photo, target, _find_map(disparity, photo), _find_map(mask, photo), settings)
                except (PhotoError, ValueError) as error:
                    failed.append(error)
                    console.print(f"depthbokeh: {error}", style="red", markup=False)
            progress.advance(task)
    done = len(photos) - skipped - len(failed)
    console.print(f"{done} rendered, {skipped} skipped (done before), {len(failed)} failed", highlight=False)
    return failed


def _find_map(folder: Path | None, photo: Path) -> Path | None:
    """The map of the photo's name."""
    if folder is None:
        return None
    if not folder.is_dir():
        raise PhotoError(f"{folder}: expected a folder of maps, as --batch was given")
    for suffix in _MAP_SUFFIXES:
        path = folder / f"{photo.stem}{suffix}"
        if path.is_file():
            return path
    raise PhotoError(f"{folder}: holds no map for {photo.name} ({photo.stem} with {', '.join(_MAP_SUFFIXES)})")


def read_disparity(path: Path, size: tuple[int, int]) -> Tensor:
    """A disparity map, brought to 0..1 if it reaches beyond.

    Raises:
        PhotoError: If the file cannot be read, does not fit the size or tells nothing apart.
    """
    disparity = read_map(path, size)
    low, high = disparity.aminmax()
    if disparity.numel() > 1 and low == high:
        raise PhotoError(f"{path}: the disparity is {float(low):g} everywhere; expected near and far")
    # Files of floats come in any unit.
    return disparity if low >= 0 and high <= 1 else normalize_disparity(disparity)


def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """A mask of the subject, 0..1.

    Raises:
        PhotoError: If the file cannot be read, does not fit the size, is empty or full.
    """
    mask = read_map(path, size)
    if mask.min() < 0 or mask.max() > 1:
        raise PhotoError(f"{path}: the mask reaches from {mask.min():g} to {mask.max():g}; expected 0 to 1")
    if mask.max() < 0.5:
        raise PhotoError(f"{path}: the mask is empty; expected the subject in white")
    if mask.min() > 0.5 and mask.numel() > 1:
        raise PhotoError(f"{path}: the mask is full; expected something beside the subject")
    return mask


def resize(map_or_image: Tensor, size: tuple[int, int]) -> Tensor:
    """To (height, width), by averaging where it becomes smaller."""
    return torch.nn.functional.interpolate(map_or_image, size, mode="bilinear", antialias=True)


def _scale(settings: Settings, scale: float) -> Settings:
    """Moves what is given in pixels of the photo to pixels of the reduced one."""
    focus, subject = settings.focus, settings.subject
    if isinstance(focus, tuple):
        focus = cast("tuple[float, float]", tuple(value * scale for value in focus))
    if subject is not None:
        subject = cast("tuple[float, float, float, float]", tuple(value * scale for value in subject))
    return replace(settings, focus=focus, subject=subject)


def _render(image: Tensor, disparity: Tensor | None, mask: Tensor | None, settings: Settings, exif: Lens) -> Rendering:
    renderer = BokehRenderer(settings.aperture, highlights=settings.highlights, quality=settings.quality)
    pipeline = BokehPipeline(renderer, reduce_large=True, refine=settings.refine)
    if disparity is None and mask is None:
        mask = pipeline.mask_model(image, settings.subject)
        disparity = pipeline.depth_model(image, mask)
    longer = max(image.shape[2:])
    strength = settings.strength if settings.strength is not None else longer / 40
    focus = settings.focus
    if settings.lens:
        lens = settings.lens.merge(exif).merge(_DEFAULT_LENS)
        plane = find_focus(disparity, mask, image, focus) if disparity is not None else torch.ones(1)
        values = (lens.focal_length_m, lens.f_number, lens.sensor_width_m, lens.focus_distance_m)
        focal, number, sensor, distance = cast("tuple[float, float, float, float]", values)
        computed = relative_strength(
            float(plane),
            focal_length_m=focal,
            f_number=number,
            focus_distance_m=distance,
            pixels_per_metre=longer / sensor,
        )
        strength = float(computed)
    call = partial(pipeline, image, disparity, mask, strength=strength, focus=focus)
    return cast("Rendering", _show_progress(call) if settings.quality == "exact" else call())


def _show_progress(call: Callable[..., Rendering]) -> Rendering:
    """Calls with a bar on the terminal that the call moves on."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("views", total=None)
        return call(progress=lambda done, total: bar.update(task, completed=done, total=total))


def _write_maps(folder: Path, stem: str, rendering: Rendering) -> None:
    """Writes the maps: mask and disparity as pictures, defocus (pixels, signed) as npy."""
    import numpy as np

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{folder}: cannot be made: {error.strerror}") from error
    if rendering.mask is not None:
        write_photo(folder / f"{stem}_mask.png", rendering.mask, overwrite=True)
    if rendering.disparity is not None:
        write_photo(folder / f"{stem}_disparity.png", rendering.disparity, bits=16, overwrite=True)
    with atomic_path(folder / f"{stem}_defocus.npy", overwrite=True) as path:
        np.save(path, rendering.defocus[0, 0].numpy())
