"""Path-traced scenes with real lens blur: what they hold, and how near every scheme comes to it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from schemes import Renderer, Shot
from torch import Tensor

from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.photo import read_photo

CLASSES = {"plain": "no lights, no near occluder", "occluder": "near occluder", "lights": "HDR lights"}
INPUTS = {"hdr": "linear HDR input", "8bit": "8-bit sRGB input, clipped"}


@dataclass(frozen=True)
class Truth:
    """A scene at one aperture: the shot, and the picture the lens takes, (1, 3, H, W) in linear light."""

    scene: str
    kind: str
    aperture: int
    shot: Shot
    picture: Tensor


@dataclass(frozen=True)
class Score:
    """How well a scheme did on one picture."""

    scheme: str
    input: str
    scene: str
    kind: str
    aperture: int
    psnr_db: float
    seconds: float


def psnr(picture: Tensor, truth: Tensor) -> float:
    """Of two pictures with white at 1, dB; both are clipped to 0..1."""
    error = float((picture.clamp(0, 1).double() - truth.clamp(0, 1).double()).square().mean())
    return -10 * math.log10(error) if error > 0 else math.inf


def list_scenes(data: Path, names: Sequence[str] | None = None) -> list[Path]:
    """The folders of the scenes, of all or of those with these names.

    Raises:
        FileNotFoundError: If there are none, or one of the names is not among them.
    """
    folders = {path.parent.name: path.parent for path in sorted((data / "ground_truth").glob("*/scene.npz"))}
    missing = [name for name in names or () if name not in folders]
    if not folders or missing:
        found = ", ".join(folders) or "none"
        raise FileNotFoundError(f"{data / 'ground_truth'}: scenes {missing or '*'} expected, found {found}")
    return [folders[name] for name in names or folders]


def read_truths(folder: Path, source: str) -> Iterator[Truth]:
    """A scene at all its apertures; ``source`` is one of INPUTS."""
    meta = json.loads((folder / "meta.json").read_text())
    classes = meta["classes"]
    kind = "lights" if classes["highlights"] else "occluder" if classes["fg_occluder"] else "plain"
    with np.load(folder / "scene.npz") as arrays:
        pictures = {name: _picture(arrays[name]) for name in ("aif", "blur0", "blur1", "blur2")}
        disparity = 1 / torch.from_numpy(arrays["z"].astype(np.float32))[None, None]
        mask = torch.from_numpy(arrays["alpha"].astype(np.float32) / 255)[None, None]
    linear = srgb_to_linear(read_photo(folder / "aif.png").image) if source == "8bit" else pictures["aif"]
    for index, radius in enumerate(meta["aperture_radii"]):
        strength = radius * meta["focal_px"]
        shot = Shot(linear, disparity, mask, 1 / meta["focus_distance"], strength, exact=True)
        yield Truth(folder.name, kind, index, shot, pictures[f"blur{index}"])


def _picture(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)).movedim(2, 0)[None]


def score_truth(scheme: str, truth: Truth, source: str, renderer: Renderer) -> tuple[Score, Tensor]:
    """Renders and judges a scheme; its picture in sRGB comes along."""
    start = time.perf_counter()
    picture = linear_to_srgb(renderer(scheme, truth.shot))
    seconds = time.perf_counter() - start
    value = psnr(picture, linear_to_srgb(truth.picture))
    return Score(scheme, source, truth.scene, truth.kind, truth.aperture, value, seconds), picture


def mean_psnr(scores: Sequence[Score], scheme: str, source: str, kind: str | None = None) -> float | None:
    """Over the pictures of a class or of all, ``None`` without any."""
    values = [s.psnr_db for s in scores if (s.scheme, s.input) == (scheme, source) and kind in (None, s.kind)]
    return sum(values) / len(values) if values else None
