"""What the command line does with one photo: read, render, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from .layers import find_focus
from .lens import Lens
from .maps import read_disparity, read_mask, resize
from .models.choice import choose_depth_model, choose_mask_model
from .models.tiling import gains_from_tiles
from .optics import relative_strength
from .photo import Photo, PhotoError, atomic_path, read_photo, write_photo
from .pipeline import BokehPipeline, Rendering
from .render import BokehRenderer
from .settings import Settings

# Taken where neither the command line nor the photo's EXIF says more: a normal lens on full frame.
_DEFAULT_LENS = Lens(focal_length_m=0.05, sensor_width_m=0.036, focus_distance_m=2.0)


@dataclass(frozen=True, eq=False)
class Source:
    """A photo to be rendered, with the maps that were given for it, decoded and reduced."""

    photo: Photo
    image: Tensor  # (1, 3, H, W)
    alpha: Tensor | None
    disparity: Tensor | None
    mask: Tensor | None
    scale: float  # by which it was reduced


@dataclass(frozen=True)
class Paths:
    """Where a photo and its maps are, and where the result goes."""

    photo: Path
    output: Path
    disparity: Path | None = None
    mask: Path | None = None


def read_source(paths: Paths, settings: Settings) -> Source:
    """Reads a photo and its maps.

    Raises:
        PhotoError: If a file cannot be read, or does not fit the photo.
    """
    photo = read_photo(paths.photo)
    height, width = photo.image.shape[2:]
    kind = settings.disparity_kind
    disparity = read_disparity(paths.disparity, (height, width), kind) if paths.disparity else None
    mask = read_mask(paths.mask, (height, width)) if paths.mask else None
    image, alpha, scale = photo.image, photo.alpha, 1.0
    if settings.max_size and max(height, width) > settings.max_size:
        scale = settings.max_size / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        image = resize(image, size)
        disparity, mask, alpha = (t if t is None else resize(t, size) for t in (disparity, mask, alpha))
    return Source(photo, image, alpha, disparity, mask, scale)


class PhotoRenderer:
    """Renders photos as the settings say; its models are loaded once.

    Args:
        settings: What is asked for.
        has_disparity: Whether disparity maps are given with the photos.
        has_mask: Whether masks are.
    """

    def __init__(self, settings: Settings, *, has_disparity: bool = False, has_mask: bool = False) -> None:
        self.settings = settings
        self.notes: list[str] = []
        """Lines for the user about what serves in place of what."""
        self.device = _find_device(settings.device)
        self._pipeline = self._build(has_disparity, has_mask).to(self.device)

    @torch.inference_mode()
    def render(self, source: Source) -> Rendering:
        """Renders one photo.

        Raises:
            ValueError: If a setting does not fit the photo.
        """
        settings = _scale(self.settings, source.scale)
        image = source.image.to(self.device)
        disparity, mask = (t if t is None else t.to(self.device) for t in (source.disparity, source.mask))
        if mask is None:
            subject = settings.subject
            is_point = subject is not None and len(subject) == 2
            mask = self._pipeline.find_mask(image, None if is_point else subject, subject if is_point else None)
        if disparity is None:
            disparity = self._pipeline.find_disparity(image, mask)
        strength = self._find_strength(source, image, disparity, mask, settings)
        call = partial(self._pipeline, image, disparity, mask, strength=strength, focus=settings.focus)
        rendering = cast("Rendering", _show_progress(call) if settings.quality == "exact" else call())
        disparity, mask = (t if t is None else t.cpu() for t in (rendering.disparity, rendering.mask))
        return Rendering(rendering.bokeh.cpu(), rendering.defocus.cpu(), disparity, mask)

    def write(self, source: Source, rendering: Rendering, output: Path) -> None:
        """Writes the picture, with the photo's metadata, and the maps if they are asked for.

        Raises:
            PhotoError: If a file cannot be written.
        """
        photo, overwrite = source.photo, self.settings.overwrite
        write_photo(
            output,
            rendering.bokeh,
            bits=photo.bits,
            exif=photo.exif,
            icc=photo.icc,
            alpha=source.alpha,
            overwrite=overwrite,
        )
        if self.settings.save_maps:
            _write_maps(self.settings.save_maps, output.stem, rendering)

    def _build(self, has_disparity: bool, has_mask: bool) -> BokehPipeline:
        settings = self.settings
        if has_mask and settings.subject is not None:
            raise ValueError("subject tells where a mask is to be found, but the mask is given: give one of them")
        renderer = BokehRenderer(settings.aperture, highlights=settings.highlights, quality=settings.quality)
        if settings.pipeline is not None:
            saved = BokehPipeline.from_pretrained(settings.pipeline)
            return BokehPipeline(
                renderer,
                saved.mask_model,
                saved.depth_model,
                strength=saved.strength,
                reduce_large=True,
                refine=settings.refine or saved.refine,
                tile=settings.tile or saved.tile,
            )
        # One map given is used alone, unless a model for the other is asked for.
        wants_mask = _asks(settings, "mask", has_mask) or settings.subject is not None
        wants_depth = _asks(settings, "depth", has_disparity)
        mask_model = depth_model = None
        if not has_mask and (wants_mask or not has_disparity):
            mask_model, note = choose_mask_model(settings.mask_model, settings.mask_weights)
            self.notes += [note] if note else []
        if not has_disparity and (wants_depth or not has_mask):
            depth_model, note = choose_depth_model(settings.depth_model, settings.depth_weights)
            self.notes += [note] if note else []
        if settings.tile and not any(gains_from_tiles(model) for model in (mask_model, depth_model)):
            self.notes.append("tiles are of no use here: no model that serves shows more in parts of a photo")
        return BokehPipeline(
            renderer, mask_model, depth_model, reduce_large=True, refine=settings.refine, tile=settings.tile
        )

    def _find_strength(
        self, source: Source, image: Tensor, disparity: Tensor | None, mask: Tensor | None, settings: Settings
    ) -> float:
        longer = max(image.shape[2:])
        if not settings.lens:
            return settings.strength if settings.strength is not None else self._pipeline.strength * longer
        lens = settings.lens.merge(Lens.from_exif(source.photo.exif_ifd())).merge(_DEFAULT_LENS)
        plane = find_focus(disparity, mask, image, settings.focus) if disparity is not None else torch.ones(1)
        values = (lens.focal_length_m, lens.f_number, lens.sensor_width_m, lens.focus_distance_m)
        focal, number, sensor, distance = cast("tuple[float, float, float, float]", values)
        strength = relative_strength(
            float(plane),
            focal_length_m=focal,
            f_number=number,
            focus_distance_m=distance,
            pixels_per_metre=longer / sensor,
        )
        return float(strength)


def render_file(paths: Paths, settings: Settings, say: Callable[[str], None]) -> None:
    """Renders one photo into one file.

    Args:
        paths: The photo, its maps, the file to write.
        settings: What is asked for.
        say: Takes lines for the user.

    Raises:
        PhotoError: If a file cannot be read or written, or does not fit the photo.
        ValueError: If a setting does not fit the photo.
    """
    if paths.output.exists() and not settings.overwrite:
        raise PhotoError(f"{paths.output}: exists already; --overwrite replaces it")
    source = read_source(paths, settings)
    renderer = PhotoRenderer(settings, has_disparity=paths.disparity is not None, has_mask=paths.mask is not None)
    for note in renderer.notes:
        say(note)
    renderer.write(source, renderer.render(source), paths.output)


def _find_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except Exception as error:  # of another class for every kind of device
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device must be auto, cpu, cuda, cuda:1 ... and be there, got {name!r}: {reason}") from error
    return device


def _asks(settings: Settings, model: str, has_map: bool) -> bool:
    """Whether a model for a map is asked for by name.

    Raises:
        ValueError: If the map is given too.
    """
    asked = getattr(settings, f"{model}_model") != "auto" or getattr(settings, f"{model}_weights") is not None
    if asked and has_map:
        given = {"mask": "mask", "depth": "disparity"}[model]
        raise ValueError(f"the {given} is given, and a {model} model to find it is named: give one of them")
    return asked


def _scale(settings: Settings, scale: float) -> Settings:
    """Moves what is given in pixels of the photo to pixels of the reduced one."""
    focus, subject = settings.focus, settings.subject
    if isinstance(focus, tuple):
        focus = cast("tuple[float, float]", tuple(value * scale for value in focus))
    if subject is not None:
        subject = cast("tuple[float, float]", tuple(value * scale for value in subject))
    return replace(settings, focus=focus, subject=subject)


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
