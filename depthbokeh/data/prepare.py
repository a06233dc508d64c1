"""Makes a data set ready for training: what ``depthbokeh prepare`` does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ..files import PhotoError, atomic_path
from .layouts import find_pairs
from .parallel import count_workers, run_parallel, show_progress
from .prepare_pair import PrepareSettings, load_depth_model, load_mask_model, prepare_pair
from .records import Listing, PairRecord

__all__ = ["PrepareSettings", "prepare"]

_FOLDERS = ("original", "bokeh", "disparity", "mask")
_RECORDS, _SETTINGS, _MANIFEST = "records", "prepare.json", "manifest.jsonl"
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}(\.\w+)?")  # as atomic_path names what it has not finished


def prepare(
    root: str | Path,
    out: str | Path,
    settings: PrepareSettings | None = None,
    *,
    layout: str | None = None,
    workers: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Prepares every pair of a data set that is not prepared yet, and writes a manifest over all of them.

    Nothing below ``root`` is written. Each file of ``out`` appears whole or not at all and a pair's record last, so a
    run that was killed is simply started again. Pairs come out the same for any number of workers.

    Args:
        root: The data set, in any of the layouts of :func:`depthbokeh.data.layouts.find_pairs`.
        out: Folder for the result, in the layout ``ebb`` (``pynet`` if the data set has parts); made if it is missing.
        settings: What is done to every pair.
        layout: The data set's layout; found out by default.
        workers: Processes; by default one for every processor.
        report: Called with what a user should know, in words.

    Returns:
        The manifest's lines: ``id``, ``fate`` (``"kept"`` or ``"rejected"``), ``reason``, and for pairs that were kept
        ``alignment``, ``matches``, ``inliers``, ``error_before``, ``error_after``, ``matrix``, ``crop``, ``width``,
        ``height``, where ``disparity`` and ``mask`` come from, and ``values``.

    Raises:
        PhotoError: If there are no pairs, or ``out`` cannot be written, lies in the data set, holds other files, or was
            made from another data set or with other settings.
        ValueError: If a setting does not fit.
    """
    root, out, settings = Path(root), Path(out), settings or PrepareSettings()
    workers = count_workers(workers)
    listing = find_pairs(root, layout)
    # Wrong names and weights are told before any work is done.
    models = {"disparity": load_depth_model(settings), "mask": load_mask_model(settings)}
    for kind, (_, note) in models.items():
        if note and any(getattr(pair, kind) is None for pair in listing.pairs):
            report(note)
    # Which model "auto" stands for changes when weights come.
    made_by = {f"{kind}_by": type(model).__name__ for kind, (model, _) in models.items()}
    _open_folder(root, out, listing, {**_tell_settings(settings), **made_by})
    todo = [pair for pair in listing.pairs if not _is_done(out, pair)]
    try:
        with run_parallel(partial(_prepare_one, out, settings), todo, workers) as done:
            for _ in show_progress(done, total=len(listing.pairs), before=len(listing.pairs) - len(todo)):
                pass
    finally:
        manifest = _write_manifest(root, out, listing)
    return manifest


def _open_folder(root: Path, out: Path, listing: Listing, settings: dict[str, Any]) -> None:
    """Makes the folders, and makes sure that everything in them may be replaced."""
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise PhotoError(f"{out}: lies within the data set or around it, expected a folder of its own")
    wanted = {"root": str(root.resolve()), "layout": listing.layout, **settings}
    note = out / _SETTINGS
    try:
        if note.is_file():
            _compare_settings(note, wanted)
        elif out.exists() and any(not _UNFINISHED.fullmatch(path.name) for path in out.iterdir()):
            raise PhotoError(f"{out}: holds files that are not of a prepared data set, expected an empty folder")
        else:
            out.mkdir(parents=True, exist_ok=True)
            with atomic_path(note, overwrite=False) as path:
                path.write_text(json.dumps(wanted, indent=2) + "\n")
        parts = {pair.part for pair in listing.pairs}
        folders = [_folder(out, part) / kind for part in parts for kind in _FOLDERS]
        folders += [out / _RECORDS / part for part in parts]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (out, *folders):
            for path in folder.iterdir():
                if _UNFINISHED.fullmatch(path.name):
                    path.unlink()
    except OSError as error:
        raise PhotoError(f"{out}: cannot be written: {error.strerror or error}") from error


def _tell_settings(settings: PrepareSettings) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(settings).items()}


def _compare_settings(note: Path, wanted: dict[str, Any]) -> None:
    try:
        found = json.loads(note.read_text())
        differing = next((key for key, value in wanted.items() if found[key] != value), None)
    except (ValueError, KeyError, TypeError) as error:
        raise PhotoError(f"{note}: cannot be read: {error!r}") from error
    if differing:
        made = f"was made with {differing} {found[differing]!r}, not {wanted[differing]!r}"
        raise PhotoError(f"{note.parent}: {made}; choose another folder")


def _prepare_one(out: Path, settings: PrepareSettings, pair: PairRecord) -> None:
    """Prepares a pair and writes its record last."""
    stamps = _stamps(pair)  # from before the files are read
    record = prepare_pair(pair, _folder(out, pair.part), settings)
    with atomic_path(_record_path(out, pair), overwrite=True) as path:
        path.write_text(json.dumps({"id": pair.key, **record, "sources": stamps}) + "\n")


def _is_done(out: Path, pair: PairRecord) -> bool:
    """Whether a pair has its fate; what was rejected is looked at again when its files have changed.

    Raises:
        PhotoError: If the files of a pair that was kept have changed.
    """
    path = _record_path(out, pair)
    if not path.is_file():
        return False
    record = _read_record(path)
    same = bool(record["sources"] == _stamps(pair))
    if record["fate"] == "rejected":
        return same
    if not same:
        raise PhotoError(f"{pair.original}: pair {pair.key} has changed since it was prepared; choose another folder")
    folder = _folder(out, pair.part)
    return all(any((folder / kind).glob(f"{_escape(pair.id)}.*")) for kind in _FOLDERS)


def _escape(name: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", name)


def _stamps(pair: PairRecord) -> list[list[Any]]:
    """What tells whether the pictures have changed: name, size, time."""
    stats = [(path.name, path.stat()) for path in (pair.original, pair.bokeh)]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _write_manifest(root: Path, out: Path, listing: Listing) -> list[dict[str, Any]]:
    """Puts the records together; pairs whose turn has not come yet are left out."""
    paths = [path for pair in listing.pairs if (path := _record_path(out, pair)).is_file()]
    lines = [_read_record(path) for path in paths]
    lines = [{key: value for key, value in line.items() if key != "sources"} for line in lines]
    lines += [
        {"id": path.relative_to(root).as_posix(), "fate": "rejected", "reason": "no partner"}
        for path in listing.unpaired
    ]
    with atomic_path(out / _MANIFEST, overwrite=True) as path, path.open("w") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
    return lines


def summarize(manifest: Iterable[dict[str, Any]]) -> str:
    r"""Says in words what became of the pairs.

    Example:
        >>> summarize([{"fate": "kept", "alignment": "none"}, {"id": "2", "fate": "rejected", "reason": "no partner"}])
        '1 kept (0 moved by a homography, 0 by a translation, 1 as they were), 1 rejected\n  2: no partner'
    """
    manifest = list(manifest)
    rejected = [line for line in manifest if line["fate"] == "rejected"]
    moved = [line["alignment"] for line in manifest if line["fate"] == "kept"]
    counts = f"{moved.count('homography')} moved by a homography, {moved.count('translation')} by a translation"
    text = f"{len(moved)} kept ({counts}, {moved.count('none')} as they were), {len(rejected)} rejected"
    text += "".join(f"\n  {line['id']}: {line['reason']}" for line in rejected[:10])
    return text + (f"\n  and {len(rejected) - 10} more, see {_MANIFEST}" if len(rejected) > 10 else "")


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        missing = {"id", "fate", "sources"} - record.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise PhotoError(f"{path}: cannot be read as a pair's record: {error!r}") from error
    if missing:
        raise PhotoError(f"{path}: a pair's record without {', '.join(sorted(missing))}")
    return record


def _folder(out: Path, part: str) -> Path:
    return out / (part or "Training")


def _record_path(out: Path, pair: PairRecord) -> Path:
    return out / _RECORDS / pair.part / f"{pair.id}.json"
