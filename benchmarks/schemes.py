"""What is compared: this library's renderer at its settings, and the baselines, behind one signature."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import baselines
import numpy as np
import torch
from torch import Tensor

import depthbokeh
from depthbokeh import BokehRenderer, find_focus, fuse_defocus
from depthbokeh.photo import atomic_path
from depthbokeh.render import Quality


@dataclass(frozen=True)
class Shot:
    """One picture to be rendered and what is known about it.

    ``linear`` (1, 3, H, W) is all-in-focus in linear light; ``disparity`` and ``mask`` (1, 1, H, W) belong to it.
    With ``exact`` the disparity is free of error, edges included, and the mask need not correct it.
    """

    linear: Tensor
    disparity: Tensor
    mask: Tensor
    focus: float
    strength: float
    exact: bool

    @functools.cached_property
    def defocus(self) -> Tensor:
        """One signed defocus in pixels for every pixel, (1, 1, H, W)."""
        mask = None if self.exact else self.mask
        return fuse_defocus(self.disparity, mask, strength=self.strength, focus=self.focus)

    @classmethod
    def of_pair(cls, linear: Tensor, disparity: Tensor, mask: Tensor, strength: float) -> Shot:
        """A photo with an estimated disparity, in focus where its subject is."""
        return cls(linear, disparity, mask, float(find_focus(disparity, mask)), strength, exact=False)


Scheme = Callable[[Shot], Tensor]


def _ours(quality: str, shot: Shot) -> Tensor:
    """This library: linear light in, linear light out. The only place that knows how it is called."""
    renderer = BokehRenderer(gamma="linear", quality=quality)
    return renderer(shot.linear, shot.disparity, shot.mask, focus=shot.focus, strength=shot.strength)


def _of_defocus(render: Callable[[Tensor, Tensor], Tensor], shot: Shot) -> Tensor:
    return render(shot.linear, shot.defocus)


OURS: dict[str, Scheme] = {quality: functools.partial(_ours, quality) for quality in get_args(Quality)}
BASELINES: dict[str, Scheme] = {
    "input": functools.partial(_of_defocus, baselines.unchanged),
    "gather_gamma": functools.partial(_of_defocus, baselines.gather_gamma),
    "gather_linear": functools.partial(_of_defocus, baselines.gather_linear),
    "bokehme": functools.partial(_of_defocus, baselines.bokehme),
    "planes": functools.partial(_of_defocus, baselines.planes),
    "soft_layers": functools.partial(_of_defocus, baselines.soft_layers),
    "blend": functools.partial(_of_defocus, baselines.blend),
    "mask_gaussian": lambda shot: baselines.mask_gaussian(shot.linear, shot.defocus, shot.mask),
    "scatter": functools.partial(_of_defocus, baselines.scatter),
}
SCHEMES = BASELINES | OURS


@dataclass(frozen=True)
class Renderer:
    """Renders shots; with a folder for reuse, pictures of baselines are kept there and not computed again."""

    reuse: Path | None = None

    def __call__(self, scheme: str, shot: Shot) -> Tensor:
        """The scheme's picture in linear light, (1, 3, H, W).

        Raises:
            RuntimeError: If the scheme returns something that is no such picture.
        """
        kept = None if self.reuse is None or scheme in OURS else self.reuse / f"{_fingerprint(scheme, shot)}.npy"
        if kept is not None and kept.is_file():
            return torch.from_numpy(np.load(kept))
        with torch.no_grad():
            picture = SCHEMES[scheme](shot)
        if picture.shape != shot.linear.shape or not bool(torch.isfinite(picture).all()):
            raise RuntimeError(f"{scheme}: returned {tuple(picture.shape)}, expected finite {tuple(shot.linear.shape)}")
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(kept, overwrite=True) as part:
                np.save(part, picture.numpy())
        return picture


# Read together with the code itself: somebody may edit while this runs.
_CODE = b"".join(Path(path).read_bytes() for path in (baselines.__file__, depthbokeh.blend.__file__))


def _fingerprint(scheme: str, shot: Shot) -> str:
    """Of a baseline, its inputs and its code; the blur operators are taken to do what they are defined to do."""
    digest = hashlib.sha256(scheme.encode() + _CODE)
    for tensor in (shot.linear, shot.defocus, shot.mask):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
