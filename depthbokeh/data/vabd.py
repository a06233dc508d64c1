"""VABD: the same scene at several f-numbers."""

from __future__ import annotations

import re
from pathlib import Path

from .records import (
    PARTS,
    PICTURE_SUFFIXES,
    Listing,
    PairRecord,
    existing_parts,
    index_maps,
    index_pictures,
    sort_pairs,
)

_F_NUMBER = re.compile(r"f?(\d+)(?:[._](\d+))?", re.IGNORECASE)
_STOPPED_DOWN = 16.0  # of the pictures in VABD's `input`


def find_vabd(root: Path, disparity: str | None) -> Listing:
    """VABD: beside ``input`` (f/16) a folder for each f-number, ``1_8``, ``f2.8``, ``8`` ...; every picture a pair.

    Where there is no ``input``, the largest f-number takes its place.
    """
    pairs: list[PairRecord] = []
    unpaired: list[Path] = []
    for part, folder in existing_parts(root, ("", *PARTS)):
        stops = {number: path for path in sorted(folder.iterdir()) if (number := _parse_stop(path)) is not None}
        sharp, widest = folder / "input", max(stops, default=_STOPPED_DOWN)
        number = _STOPPED_DOWN
        if stops and not sharp.is_dir():
            sharp, number = stops.pop(widest), widest
        originals = index_pictures(sharp if sharp.is_dir() else None, PICTURE_SUFFIXES)
        depth, mask = index_maps(folder, disparity) if stops else ({}, {})
        for stop, path in stops.items():
            values = {"f_number": stop, "original_f_number": number}
            for name, bokeh in index_pictures(path, PICTURE_SUFFIXES).items():
                if name not in originals:
                    unpaired.append(bokeh)
                    continue
                maps = depth.get(name), mask.get(name)
                pairs.append(PairRecord(f"{name}_f{stop:g}", part, originals[name], bokeh, *maps, values))
    return Listing("vabd", sort_pairs(pairs), tuple(sorted(unpaired)))


def _parse_stop(path: Path) -> float | None:
    found = _F_NUMBER.fullmatch(path.name) if path.is_dir() else None
    return float(f"{found[1]}.{found[2] or 0}") if found else None
