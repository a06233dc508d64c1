"""RealBokeh: scenes described in JSON, at several f-numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..files import PhotoError
from .records import PARTS, Listing, PairRecord, existing_parts, index_maps, sort_pairs


def find_realbokeh(root: Path, disparity: str | None) -> Listing:
    """RealBokeh: a JSON file for each scene in ``metadata``, which names the pictures and their f-numbers.

    Raises:
        PhotoError: If one of the files cannot be read or lacks something.
    """
    pairs: list[PairRecord] = []
    unpaired: list[Path] = []
    for part, folder in existing_parts(root, ("", *PARTS)):
        files = sorted((folder / "metadata").glob("*.json")) if (folder / "metadata").is_dir() else []
        depth, mask = index_maps(folder, disparity) if files else ({}, {})
        for file in files:
            scene = _read_scene(file)
            original = folder / scene["source"]
            for target, number in scene["targets"]:
                bokeh = folder / target
                missing = [path for path in (original, bokeh) if not path.is_file()]
                if missing:
                    unpaired += [path for path in (original, bokeh) if path not in missing]
                    continue
                maps = depth.get(original.stem), mask.get(original.stem)
                values = {**scene["values"], "f_number": number}
                pairs.append(PairRecord(bokeh.stem, part, original, bokeh, *maps, values))
    return Listing("realbokeh", sort_pairs(pairs), tuple(sorted(set(unpaired))))


def _read_scene(file: Path) -> dict[str, Any]:
    """Source, targets with their f-numbers, and the numbers that hold for all of them."""
    names = {"source_av": "original_f_number", "focal_length": "focal_length_mm"}
    names["focus_plane_distance"] = "focus_distance_m"
    try:
        record = json.loads(file.read_text())
        targets = list(zip(record["target_images"], map(float, record["target_avs"]), strict=True))
        values = {name: float(record[key]) for key, name in names.items() if record.get(key) is not None}
        return {"source": str(record["source_image"]), "targets": targets, "values": values}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PhotoError(f"{file}: cannot be read as a scene of RealBokeh: {error!r}") from error
