"""Methods for ``depthbokeh evaluate`` that are rendered here: renderers with maps from files or from mask models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor

from .aperture import Aperture
from .evaluation.matching import match_pictures, parse_folder
from .evaluation.scoring import Predictor
from .files import MAP_SUFFIXES, PhotoError
from .maps import read_disparity, read_mask
from .models.choice import choose_depth_model, choose_mask_model
from .pipeline import BokehPipeline
from .render import BokehRenderer, Quality


@dataclass(frozen=True)
class Rendered:
    """What is to be rendered: by every renderer with every mask model, and by saved pipelines.

    Attributes:
        renderers: Qualities of :class:`depthbokeh.BokehRenderer`.
        mask_models: ``NAME`` or ``NAME=CHECKPOINT``.
        disparity: Folder of disparity maps.
        mask: Folder of masks. Where one of the two folders is given, it is used alone unless there are mask models;
            without both the models that ``depthbokeh render`` would choose stand in.
        strength: Blur radius in pixels for a disparity of 1; ``None`` for 1/40 of the longer side, or what a saved
            pipeline says.
        aperture: Text form, see :meth:`depthbokeh.Aperture.parse`.
        highlights: See :class:`depthbokeh.BokehRenderer`.
        models: ``RUN`` or ``NAME=RUN``: folders of fine-tuning runs, whose ``best`` is taken, or of saved pipelines.
            They render as they were saved, with the disparity maps, and with the masks if they have no mask model.
    """

    renderers: tuple[str, ...]
    mask_models: tuple[str, ...] = ()
    disparity: Path | None = None
    mask: Path | None = None
    strength: float | None = None
    aperture: str = "disk"
    highlights: float = 4.0
    models: tuple[str, ...] = ()

    def __str__(self) -> str:
        strength = "by default" if self.strength is None else f"{self.strength:g} px"
        maps = [f"{kind} {folder}" for kind in ("disparity", "mask") if (folder := getattr(self, kind)) is not None]
        models = f"mask models {', '.join(self.mask_models)}" if self.mask_models else ""
        look = [f"aperture {self.aperture}", f"highlights {self.highlights:g}"] if self.renderers else []
        saved = f"saved pipelines {', '.join(self.models)}" if self.models else ""
        return ", ".join(filter(None, [f"strength {strength}", *look, *maps, models, saved]))

    def __post_init__(self) -> None:
        Aperture.parse(self.aperture)
        if not self.renderers and not self.models:
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
        The methods by their names, ``QUALITY``, or ``MODEL/QUALITY`` where there are mask models, or a run's; and
        lines for the user about what serves in place of what.

    Raises:
        PhotoError: If maps are missing.
        ValueError: If a model is unknown, its weights cannot be had, or two methods have one name.
    """
    ids = list(ids)
    disparities, masks = (
        {} if folder is None else match_pictures(ids, folder, suffixes=MAP_SUFFIXES)
        for folder in (rendered.disparity, rendered.mask)
    )
    pipelines, notes = _build_pipelines(rendered, has_disparity=bool(disparities), has_mask=bool(masks))
    for name, run in map(parse_folder, rendered.models):
        if name in pipelines:
            raise ValueError(f"two methods are named {name!r}: give them names with --model NAME=RUN")
        pipelines[name] = _load_pipeline(run)
    predictors = {
        name: _make_predictor(pipeline, disparities, masks, rendered.strength) for name, pipeline in pipelines.items()
    }
    return predictors, notes


def _build_pipelines(
    rendered: Rendered, *, has_disparity: bool, has_mask: bool
) -> tuple[dict[str, BokehPipeline], list[str]]:
    """Every renderer with every mask model."""
    pipelines: dict[str, BokehPipeline] = {}
    if not rendered.renderers:
        return pipelines, []
    depth_model, note = (None, None) if has_disparity or has_mask else choose_depth_model()
    notes = [note]
    for text in rendered.mask_models or ("",):
        name, _, weights = text.partition("=")
        mask_model = None
        if not has_mask and (name or not has_disparity):
            mask_model, note = choose_mask_model(name or "auto", Path(weights) if weights else None)
            notes.append(note)
        for quality in rendered.renderers:
            label = f"{name}/{quality}" if name else quality
            if label in pipelines:
                raise ValueError(f"--renderer and --mask-model name {label!r} twice: give it once")
            renderer = BokehRenderer(
                rendered.aperture, highlights=rendered.highlights, quality=cast("Quality", quality)
            )
            pipelines[label] = BokehPipeline(renderer, mask_model, depth_model, reduce_large=True)
    return pipelines, [note for note in notes if note]


def _load_pipeline(run: Path) -> BokehPipeline:
    if not run.is_dir():
        raise PhotoError(f"{run}: expected the folder of a fine-tuning run or of a saved pipeline")
    best = run / "best"
    return BokehPipeline.from_pretrained(best if best.is_dir() else run)


def _make_predictor(
    pipeline: BokehPipeline, disparities: Mapping[str, Path], masks: Mapping[str, Path], strength: float | None
) -> Predictor:
    """What renders a photo with the maps that there are of it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipeline = pipeline.to(device)

    def predict(photo: Tensor, name: str) -> Tensor:
        size = (photo.shape[2], photo.shape[3])
        disparity = read_disparity(disparities[name], size).to(device) if disparities else None
        mask = read_mask(masks[name], size).to(device) if masks and pipeline.mask_model is None else None
        bokeh: Tensor = pipeline(photo.to(device), disparity, mask, strength=strength).bokeh
        return bokeh.cpu()

    return predict
