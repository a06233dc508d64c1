"""Pairs that a table lists, and what a manifest knows of pairs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from ..files import PhotoError
from .records import Listing, PairRecord, sort_pairs

_HEADER = ("bokeh", "original")


def find_csv(root: Path, disparity: str | None) -> Listing:
    """Pairs that the CSV files of a folder list, ``train.csv`` and so on, each of them a part.

    Paths count from the folder of the table, also with a leading ``/`` or ``./``. Files with other columns are passed
    over; maps are not listed.
    """
    tables = [path for path in sorted(root.iterdir()) if path.suffix.lower() == ".csv"]
    rows = {path.stem: found for path in tables if (found := _read_table(path))}
    pairs: list[PairRecord] = []
    unpaired: list[Path] = []
    for table, found in rows.items():
        for bokeh, original in found:
            files = [root / name.replace("\\", "/").lstrip("./") for name in (original, bokeh)]
            missing = [path for path in files if not path.is_file()]
            unpaired += [path for path in files if missing and path not in missing]
            if not missing:
                part = table if len(rows) > 1 else ""
                pairs.append(PairRecord(files[0].stem, part, original=files[0], bokeh=files[1]))
        if not pairs and found:
            raise PhotoError(f"{root / table}.csv: none of its {len(found)} pairs is there, such as {found[0][1]}")
    return Listing("csv", sort_pairs(pairs), tuple(sorted(set(unpaired))))


def _read_table(path: Path) -> list[tuple[str, str]]:
    """Bokeh and original of every row; nothing if the table has other columns."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            if not all(name in columns for name in _HEADER):
                return []
            return [(row[columns["bokeh"]].strip(), row[columns["original"]].strip()) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise PhotoError(f"{path}: cannot be read as a table: {error}") from error


def read_manifest(root: Path, disparity: str | None) -> dict[str, dict[str, float]]:
    """What ``manifest.jsonl`` of `depthbokeh synthesize` says of each pair, by its id.

    Strength and focus are given for the disparity maps as they are read, 0..1; those of the coarse maps, whose scale is
    unknown, are not known.

    Raises:
        PhotoError: If a line cannot be read.
    """
    path = root / "manifest.jsonl"
    if not path.is_file() or disparity not in (None, "disparity"):
        return {}
    values: dict[str, dict[str, float]] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            record = json.loads(line)
            if "disparity_scale" in record:
                scale = float(record["disparity_scale"])
                lens = {"strength": float(record["strength"]) * scale, "focus": float(record["focus"]) / scale}
            else:
                lens = {key: float(value) for key, value in record.get("values", {}).items()}
            values[str(record["id"])] = lens
        except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise PhotoError(f"{path}: line {number} cannot be read as a pair's record: {error!r}") from error
    return values
