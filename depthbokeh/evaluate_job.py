"""What ``depthbokeh evaluate`` does with files: find what belongs together, render where asked, judge, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor

from . import __version__
from .aperture import Aperture
from .evaluation.matching import MAP_SUFFIXES, enumerate_names, list_pictures, match_pictures, select_ids
from .evaluation.page import format_page
from .evaluation.report import Table, format_csv, format_markdown, make_tables, printable
from .evaluation.scoring import Evaluation, Judge, Method, Predictor, evaluate_pictures
from .files import PhotoError, atomic_path
from .maps import read_disparity, read_mask
from .models.choice import choose_depth_model, choose_mask_model
from .pipeline import BokehPipeline
from .render import BokehRenderer, Quality

_INPUT = "input"


@dataclass(frozen=True)
class Rendered:
    """Methods that are rendered here: every renderer with every mask model.

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


def evaluate_files(
    target: Path,
    predictions: Sequence[str],
    *,
    inputs: Path | None = None,
    rendered: Rendered | None = None,
    ids: str | None = None,
    judge: Judge | None = None,
    examples: int = 4,
    workers: int = 2,
    say: Callable[[str], None],
    out: Path | None = None,
    overwrite: bool = False,
) -> list[Table]:
    """Judges folders of pictures, and pictures rendered here, against a folder of photographs.

    Args:
        target: Folder of the photographs through the open lens.
        predictions: ``DIR`` or ``NAME=DIR``, one for each method.
        inputs: Folder of the photos all in focus, which are judged too, as the method ``input``.
        rendered: What is to be rendered of the inputs.
        ids: See :func:`depthbokeh.evaluation.matching.select_ids`; by default all targets.
        judge: What is measured.
        examples: How many of every method's worst and best pictures are shown.
        workers: Threads that read files.
        say: Takes lines for the user.
        out: Folder for ``scores.csv``, ``report.md``, ``report.html`` and perhaps ``change_vs_input.csv``.
        overwrite: Whether files there are replaced.

    Returns:
        The tables of the report.

    Raises:
        PhotoError: If a file is missing, cannot be read or written, or does not fit its target.
        ValueError: If an option does not fit.
    """
    judge = judge or Judge()
    if rendered is not None and inputs is None:
        raise ValueError("--renderer needs --input, the photos to render")
    if judge.change_vs_input and (inputs is None or not (predictions or rendered)):
        raise ValueError("--change-vs-input needs --input, and --pred or --renderer")
    found = _find(target, predictions, inputs, rendered, ids, say)
    names = ["scores.csv", "report.md", "report.html", *(["change_vs_input.csv"] if judge.change_vs_input else [])]
    files = {} if out is None else _claim(out, names, overwrite)
    evaluation = _show_progress(
        len(found.targets),
        lambda advance: evaluate_pictures(
            found.targets,
            found.methods,
            inputs=found.photos,
            judge=judge,
            examples=examples,
            workers=workers,
            progress=advance,
        ),
    )
    tables = make_tables(evaluation.scores, evaluation.changes, [f"depthbokeh {__version__}.", *found.origins])
    texts = {
        "scores.csv": lambda: format_csv(evaluation.scores),
        "report.md": lambda: format_markdown(tables, evaluation.scores),
        "report.html": lambda: format_page(tables, evaluation.scores, evaluation.gallery),
        "change_vs_input.csv": lambda: format_csv(evaluation.changes, "change_vs_input_"),
    }
    for name, file in files.items():
        with atomic_path(file, overwrite=overwrite) as path:
            path.write_text(texts[name](), encoding="utf-8", errors="backslashreplace")
    return tables


def parse_prediction(text: str) -> tuple[str, Path]:
    """Reads ``NAME=DIR`` or ``DIR``, whose own name is taken then.

    Example:
        >>> parse_prediction("PyNET=out/pynet")
        ('PyNET', PosixPath('out/pynet'))
        >>> parse_prediction("out/pynet")
        ('pynet', PosixPath('out/pynet'))
    """
    name, equals, folder = text.partition("=")
    if equals and name and "/" not in name and not Path(text).is_dir():
        return name, Path(folder)
    return Path(text).resolve().name, Path(text)


@dataclass(frozen=True)
class _Found:
    """What is to be judged, by ids and by names, and sentences on where it comes from."""

    targets: dict[str, Path]
    photos: dict[str, Path] | None
    methods: dict[str, Method]
    origins: list[str]


def _find(
    target: Path,
    predictions: Sequence[str],
    inputs: Path | None,
    rendered: Rendered | None,
    ids: str | None,
    say: Callable[[str], None],
) -> _Found:
    targets = list_pictures(target, "target")
    if ids is not None:
        targets = {name: targets[name] for name in select_ids(ids, targets)}
    photos = None if inputs is None else match_pictures(targets, inputs, "input")
    methods: dict[str, Method] = {} if photos is None else {_INPUT: photos}
    origins = [f"Targets: {target}."] + ([] if inputs is None else [f"{_INPUT}: {inputs}, untouched."])
    for label, folder in map(parse_prediction, predictions):
        _add(methods, label, match_pictures(targets, folder))
        origins.append(f"{label}: {folder}.")
    if rendered is not None:
        predictors = _make_renderers(rendered, targets, say)
        for label, predictor in predictors.items():
            _add(methods, label, predictor)
        origins.append(f"Rendered: {', '.join(predictors)}, with {rendered}.")
    if not methods:
        raise ValueError("nothing to judge: give --pred, or --input, perhaps with --renderer")
    return _Found(targets, photos, methods, origins)


def _add(methods: dict[str, Method], label: str, method: Method) -> None:
    if label in methods:
        raise ValueError(f"two methods are named {label!r}: give them names with --pred NAME=DIR")
    methods[label] = method


def _claim(out: Path, names: Sequence[str], overwrite: bool) -> dict[str, Path]:
    """The files to write, checked before anything is computed."""
    files = {name: out / name for name in names}
    standing = [path.name for path in files.values() if path.exists()]
    if standing and not overwrite:
        raise PhotoError(f"{out}: {enumerate_names(standing)} exist already; --overwrite replaces them")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{out}: cannot be made: {error.strerror}") from error
    return files


def _make_renderers(rendered: Rendered, ids: Mapping[str, Path], say: Callable[[str], None]) -> dict[str, Predictor]:
    """By their names: ``QUALITY``, or ``MODEL/QUALITY`` where there are mask models."""
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
    for note in filter(None, notes):
        say(note)
    return predictors


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


def _show_progress(total: int, run: Callable[[Callable[[str], None]], Evaluation]) -> Evaluation:
    """Runs with a bar on the terminal that is moved on by the callable it gets."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        return run(lambda name: bar.update(task, advance=1, description=escape(printable(name))))
