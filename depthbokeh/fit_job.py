"""What ``depthbokeh fit`` does with files: read a pair, fit the lens, say what it found."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from .fitting import LensFit, fit_lens
from .layers import find_focus
from .maps import read_disparity, read_mask, resize
from .photo import PhotoError, atomic_path, read_photo

# Open and closed lens show a little more or less at the sides; beyond this the two are different views.
_LARGEST_ASPECT_DIFFERENCE = 0.02


def fit_files(
    photo: Path,
    bokeh: Path,
    disparity: Path | None,
    mask: Path | None,
    *,
    aperture: str = "disk",
    focus: float | tuple[float, float] | tuple[float, float, float, float] | None = None,
    max_size: int | None = None,
    output: Path | None = None,
    overwrite: bool = False,
) -> str:
    """Fits the lens of a pair of files.

    Returns:
        What is to be printed.

    Raises:
        PhotoError: If a file cannot be read or written, or does not fit the photo.
        ValueError: If a setting does not fit the photo.
    """
    if output is not None and output.exists() and not overwrite:
        raise PhotoError(f"{output}: exists already; --overwrite replaces it")
    if disparity is None and mask is None:
        raise ValueError("--disparity or --mask must be given, got neither")
    image, target = read_photo(photo).image, read_photo(bokeh).image
    height, width = image.shape[2:]
    notes = []
    if target.shape != image.shape:
        other = target.shape[3] / target.shape[2]
        if abs(other * height / width - 1) > _LARGEST_ASPECT_DIFFERENCE:
            raise PhotoError(
                f"{bokeh}: {target.shape[3]} x {target.shape[2]} pixels, expected the aspect ratio of the photo's "
                f"{width} x {height}"
            )
        notes.append(f"bokeh     resized from {target.shape[3]} x {target.shape[2]} to the photo's {width} x {height}")
    depth = read_disparity(disparity, (height, width)) if disparity else None
    subject = read_mask(mask, (height, width)) if mask else None
    if isinstance(focus, tuple):
        # A point is looked up before anything is resized.
        focus = 1.0 if depth is None else float(find_focus(depth, focus=focus))
    scale = min(1.0, max_size / max(height, width)) if max_size else 1.0
    size = (max(1, round(height * scale)), max(1, round(width * scale)))

    def fitted(values: Tensor) -> Tensor:
        return values if tuple(values.shape[2:]) == size else resize(values, size)

    fit = fit_lens(
        fitted(image),
        fitted(target),
        None if depth is None else fitted(depth),
        None if subject is None else fitted(subject),
        aperture=aperture,
        focus=focus,
    )
    strength = fit.strength * max(height, width) / max(size)
    if output is not None:
        _write(output, fit, strength, (width, height), aperture, overwrite=overwrite)
    options = f"--strength {strength:.4g} --focus {fit.focus:.4g} --aperture {aperture} --highlights 1"
    return "\n".join([*notes, *_describe(fit, strength), f"options   {options}"])


def _describe(fit: LensFit, strength: float) -> list[str]:
    channels = zip(("red", "green", "blue"), fit.gain, strict=True)
    gains = ", ".join(f"{name} {math.log2(gain):+.2f} stops ({100 * (gain - 1):+.0f} %)" for name, gain in channels)
    before = f"{fit.psnr_input_db:.2f} dB before, {fit.psnr_db:.2f} dB after"
    matched = f"{fit.psnr_input_gain_db:.2f} dB before, {fit.psnr_gain_db:.2f} dB after"
    return [
        f"strength  {strength:.2f} px of the photo for a disparity of 1",
        f"focus     {fit.focus:.4f}",
        f"gain      {gains}",
        f"PSNR      {before}; with the gain {matched}",
        f"verdict   {'fits' if fit.fits else 'does not fit'}: {fit.reason}",
    ]


def _write(
    output: Path, fit: LensFit, strength: float, size: tuple[int, int], aperture: str, *, overwrite: bool
) -> None:
    """As JSON; what is infinite, as JSON knows no such number, is null."""
    values = asdict(fit) | {"strength": strength, "size": size, "aperture": aperture}
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }
    with atomic_path(output, overwrite=overwrite) as path:
        path.write_text(json.dumps(finite, indent=1) + "\n", encoding="utf-8")
