"""Photos for the tests of the app: made up, so that they may be shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageCms
from torch import Tensor

from depthbokeh.color import linear_to_srgb
from depthbokeh.data.scenes import random_scene
from depthbokeh.photo import write_photo

_F_NUMBER = 33437


@dataclass(frozen=True)
class ScenePhoto:
    """A portrait in a JPEG with EXIF and ICC profile, and what is known of it."""

    photo: Path
    mask: Tensor  # (1, 1, H, W)


def write_scene(
    folder: Path, *, seed: int, size: tuple[int, int] = (96, 128), name: str = "portrait.jpg"
) -> ScenePhoto:
    """Writes a portrait of a made-up person; the same for the same seed and size."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = random_scene(seed, size, portraits=True).render(samples=4)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[_F_NUMBER] = 8.0
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = folder / name
    write_photo(path, linear_to_srgb(pair.all_in_focus), exif=exif.tobytes()[6:], icc=icc, overwrite=True)
    return ScenePhoto(path, pair.mask)
