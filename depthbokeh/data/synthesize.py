"""Writes made-up pairs in the layout of EBB!: what ``depthbokeh synthesize`` does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..aperture import Aperture
from ..color import linear_to_srgb
from ..photo import PhotoError, atomic_path, write_photo
from .coarse import coarsen_disparity
from .parallel import count_workers, run_parallel, show_progress
from .scenes import random_scene

_FOLDERS = {"original": "jpg", "bokeh": "jpg", "disparity": "png", "coarse_disparity": "png", "mask": "png"}
# Written last: a pair that has it is complete.
_RECORD = "parameters"


@dataclass(frozen=True)
class Recipe:
    """What a set of pairs is made from.

    Attributes:
        size: Height and width, pixels.
        seed: Pair i is made from this and i alone.
        aperture: Text form, see :meth:`depthbokeh.Aperture.parse`.
        samples: Rays per pixel, ``None`` for as many as each pair needs.
        photos: See :func:`depthbokeh.data.random_scene`.
        portraits: Likewise.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> Recipe(size=(64, 96), portraits=True).aperture
        'disk'
    """

    size: tuple[int, int] = (512, 768)
    seed: int = 0
    aperture: str = "disk"
    samples: int | None = None
    photos: bool = False
    portraits: bool = False

    def __post_init__(self) -> None:
        Aperture.parse(self.aperture)
        if min(self.size) < 32:
            raise ValueError(f"size must be at least 32x32, got {self.size[1]}x{self.size[0]}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be at least 0 and below 2**31, got {self.seed}")


def parse_size(text: str) -> tuple[int, int]:
    """Reads ``WxH``; returns height and width.

    Raises:
        ValueError: If it is something else.

    Example:
        >>> parse_size("768x512")
        (512, 768)
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"size must be WxH, such as 768x512, got {text!r}")
    return int(height), int(width)


def write_pairs(out: Path, pairs: int, recipe: Recipe, *, workers: int | None = None) -> int:
    """Writes the pairs 0 to ``pairs - 1`` that are not there yet, and ``manifest.jsonl`` over all of them.

    ``Training/original/{i}.jpg`` and ``Training/bokeh/{i}.jpg`` are sRGB, ``disparity`` (exact, ``value / 65535 *
    disparity_scale``) and ``coarse_disparity`` 16-bit PNG, ``mask`` 8-bit PNG of the subject, ``parameters/{i}.json``
    the record that the manifest is made of. Files are the same for any number of workers.

    Args:
        out: Folder; made if it is missing.
        pairs: How many.
        recipe: What they are made from.
        workers: Processes; by default one for every processor.

    Returns:
        How many were written; the others were there.

    Raises:
        PhotoError: If the folder cannot be written, or holds pairs of another recipe.
        ValueError: If a number is below 1.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = write_pairs(Path(folder), 1, Recipe(size=(32, 48), samples=4), workers=1)
        ...     print(written, sorted(path.name for path in Path(folder, "Training").iterdir()))
        1 ['bokeh', 'coarse_disparity', 'disparity', 'mask', 'original', 'parameters']
    """
    if pairs < 1:
        raise ValueError(f"pairs must be at least 1, got {pairs}")
    workers = count_workers(workers)
    root = out / "Training"
    try:
        for folder in (*_FOLDERS, _RECORD):
            (root / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{out}: cannot be made: {error.strerror}") from error
    missing = [index for index in range(pairs) if not _is_complete(root, index, recipe)]
    with run_parallel(partial(write_pair, root, recipe), missing, workers) as done:
        for _ in show_progress(done, total=pairs, before=pairs - len(missing)):
            pass
    with atomic_path(out / "manifest.jsonl", overwrite=True) as path, path.open("w") as stream:
        stream.writelines(_record_path(root, index).read_text() for index in range(pairs))
    return len(missing)


def write_pair(root: Path, recipe: Recipe, index: int) -> None:
    """Makes and writes one pair into the folders below ``root``, its record last."""
    seed = recipe.seed * 2**32 + index
    scene = random_scene(seed, recipe.size, photos=recipe.photos, portraits=recipe.portraits)
    pair = scene.render(recipe.aperture, samples=recipe.samples)
    coarse = coarsen_disparity(pair.disparity, torch.Generator().manual_seed(seed))
    scale = float(pair.disparity.max().clamp(min=1e-6))
    pictures: dict[str, tuple[Tensor, int]] = {
        "original": (linear_to_srgb(pair.all_in_focus), 8),
        "bokeh": (linear_to_srgb(pair.bokeh), 8),
        "disparity": (pair.disparity / scale, 16),
        "coarse_disparity": (coarse, 16),
        "mask": (pair.mask, 8),
    }
    for folder, (picture, bits) in pictures.items():
        path = root / folder / f"{index}.{_FOLDERS[folder]}"
        write_photo(path, picture, bits=bits, quality=95, overwrite=True)
    record = {
        "id": index,
        **_recipe_record(recipe),
        "scene_seed": seed,
        "strength": scene.strength,
        "focus": scene.focus,
        "disparity_scale": scale,
        "largest_radius": scene.largest_radius(),
        "layers": len(scene.layers),
    }
    with atomic_path(_record_path(root, index), overwrite=True) as path:
        path.write_text(json.dumps(record) + "\n")


def _recipe_record(recipe: Recipe) -> dict[str, Any]:
    return {
        "width": recipe.size[1],
        "height": recipe.size[0],
        "seed": recipe.seed,
        "aperture": Aperture.parse(recipe.aperture).name,
        "samples": recipe.samples,
        "photos": recipe.photos,
        "portraits": recipe.portraits,
    }


def _record_path(root: Path, index: int) -> Path:
    return root / _RECORD / f"{index}.json"


def _is_complete(root: Path, index: int, recipe: Recipe) -> bool:
    record = _record_path(root, index)
    if not record.is_file():
        return False
    try:
        found = json.loads(record.read_text())
        differing = [key for key, value in _recipe_record(recipe).items() if found[key] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PhotoError(f"{record}: cannot be read as a pair's record: {error!r}") from error
    if differing:
        key = differing[0]
        wanted = _recipe_record(recipe)[key]
        raise PhotoError(f"{record}: the pair was made with {key} {found[key]}, not {wanted}; choose another folder")
    return all((root / folder / f"{index}.{suffix}").is_file() for folder, suffix in _FOLDERS.items())
