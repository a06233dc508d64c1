"""Methods for ``depthbokeh evaluate`` that are rendered here: renderers with maps from files or from mask models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor

from .aperture import Aperture
from .evaluation.matching import MAP_SUFFIXES, match_pictures
from .evaluation.scoring import Predictor
from .maps import read_disparity, read_mask
from .models.choice import choose_depth_model, choose_mask_model
from .pipeline import BokehPipeline
from .render import BokehRenderer, Quality


@dataclass(frozen=True)
class Rendered:
    """What is to be rendered: every renderer with every mask model.

    Attributes:
        renderers: Qualities of :class:`depthbokeh.BokehRenderer`.
        mask_models: ``NAME`` or ``NAME=CHECKPOINT``.
        disparity: Folder of disparity maps.
        mask: Folder of masks. Where one of the two folders is given, it is used alone unless there are mask models;
            without both the models that ``depthbokeh render`` would choose stand in.
        strength: Blur radius in pixels for a disparity of 1; ``None`` for 1/40 of the longer side.
        aperture: Text form, see :meth:`depthbokeh.Aperture.parse`.
        highlights: See :class:`depthbokeh.BokehRenderer`.
    """

    renderers: tuple[str, ...]
    mask_models: tuple[str, ...] = ()
    disparity: Path | None = None
    mask: Path | None = None
    strength: float | None = None
    aperture: str = "disk"
    highlights: float = 4.0

    def __str__(self) -> str:
        strength = "1/40 of the longer side" if self.strength is None else f"{self.strength:g} px"
        maps = [f"{kind} {folder}" for kind in ("disparity", "mask") if (folder := getattr(self, kind)) is not None]
        models = f"mask models {', '.join(self.mask_models)}" if self.mask_models else ""
        parts = [f"strength {strength}", f"aperture {self.aperture}", f"highlights {self.highlights:g}", *maps, models]
        return ", ".join(filter(None, parts))

    def __post_init__(self) -> None:
        Aperture.parse(self.aperture)
        if not self.renderers:
            raise ValueError(f"renderer must be of {', '.join(get_args(Quality))}, got none")
        for quality in self.renderers:
            if quality not in get_args(Quality):
                raise ValueError(f"renderer must be one of {', '.join(get_args(Quality))}, got {quality!r}")
        if self.mask_models and self.mask is not None:
            raise ValueError("--mask-model and --mask both say where the subject is: give one of them")
        if self.strength is not None and not 0 <= self.strength < float("inf"):
            raise ValueError(f"strength must be finite and not negative, got {self.strength:g}")


def make_renderers(rendered: Rendered, ids: Iterable[str]) -> tuple[dict[str, Predictor], list[str]]:
    """Makes the methods.

    Args:
        rendered: What is asked for.
        ids: The pictures that will be rendered; maps must be there for all of them.

    Returns:
        The methods by their names, ``QUALITY``, or ``MODEL/QUALITY`` where there are mask models; and lines for the
        user about what serves in place of what.

    Raises:
        PhotoError: If maps are missing.
        ValueError: If a model is unknown, its weights cannot be had, or two methods have one name.
    """
    ids = list(ids)
    disparities, masks = (
        {} if folder is None else match_pictures(ids, folder, suffixes=MAP_SUFFIXES)
        for folder in (rendered.disparity, rendered.mask)
    )
    depth_model, note = (None, None) if disparities or masks else choose_depth_model()
    notes = [note]
    predictors: dict[str, Predictor] = {}
    for text in rendered.mask_models or ("",):
        name, _, weights = text.partition("=")
        mask_model = None
        if not masks and (name or not disparities):
            mask_model, note = choose_mask_model(name or "auto", Path(weights) if weights else None)
            notes.append(note)
        for quality in rendered.renderers:
            label = f"{name}/{quality}" if name else quality
            if label in predictors:
                raise ValueError(f"--renderer and --mask-model name {label!r} twice: give it once")
            renderer = BokehRenderer(
                rendered.aperture, highlights=rendered.highlights, quality=cast("Quality", quality)
            )
            pipeline = BokehPipeline(renderer, mask_model, depth_model, reduce_large=True)
            predictors[label] = _make_predictor(pipeline, disparities, masks, rendered.strength)
    return predictors, [note for note in notes if note]


def _make_predictor(
    pipeline: BokehPipeline, disparities: Mapping[str, Path], masks: Mapping[str, Path], strength: float | None
) -> Predictor:
    """What renders a photo with the maps that there are of it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipeline = pipeline.to(device)

    def predict(photo: Tensor, name: str) -> Tensor:
        size = (photo.shape[2], photo.shape[3])
        disparity = read_disparity(disparities[name], size).to(device) if disparities else None
        mask = read_mask(masks[name], size).to(device) if masks else None
        radius = max(size) / 40 if strength is None else strength
        bokeh: Tensor = pipeline(photo.to(device), disparity, mask, strength=radius).bokeh
        return bokeh.cpu()

    return predict
