"""What ``depthbokeh evaluate`` does with files: find what belongs together, render where asked, judge, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import __version__
from .evaluate_rendered import Rendered, make_renderers
from .evaluation.matching import enumerate_names, list_pictures, match_pictures, parse_folder, select_ids
from .evaluation.page import format_page
from .evaluation.report import Table, format_csv, format_markdown, make_tables, printable
from .evaluation.scoring import Evaluation, Judge, Method, evaluate_pictures
from .files import PhotoError, atomic_path

_INPUT = "input"


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
        raise ValueError("--renderer and --model need --input, the photos to render")
    if judge.change_vs_input and (inputs is None or not (predictions or rendered)):
        raise ValueError("--change-vs-input needs --input, and --pred, --renderer or --model")
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
    for label, folder in map(parse_folder, predictions):
        _add(methods, label, match_pictures(targets, folder))
        origins.append(f"{label}: {folder}.")
    if rendered is not None:
        predictors, notes = make_renderers(rendered, targets)
        for label, predictor in predictors.items():
            _add(methods, label, predictor)
        for note in notes:
            say(note)
        origins += [f"Rendered: {', '.join(predictors)}, with {rendered}.", *(f"Note: {note}." for note in notes)]
    if not methods:
        raise ValueError("nothing to judge: give --pred, or --input, perhaps with --renderer or --model")
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


def _show_progress(total: int, run: Callable[[Callable[[str], None]], Evaluation]) -> Evaluation:
    """Runs with a bar on the terminal that is moved on by the callable it gets."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        return run(lambda name: bar.update(task, advance=1, description=escape(printable(name))))
