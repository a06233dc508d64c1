"""Finding the pairs of a data set, in every layout in which EBB! and its relatives are met."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ..files import PhotoError
from .realbokeh import find_realbokeh
from .records import (
    PARTS,
    PICTURE_SUFFIXES,
    Listing,
    PairRecord,
    existing_parts,
    index_maps,
    index_pictures,
    sort_pairs,
    subfolder,
)
from .tables import find_csv, read_manifest
from .vabd import find_vabd

__all__ = ["Listing", "PairRecord", "find_pairs", "list_layouts"]


def find_pairs(root: str | Path, layout: str | None = None, *, disparity: str | None = None) -> Listing:
    """Lists the pairs below a folder.

    Args:
        root: The data set's folder.
        layout: One of `list_layouts`; by default the first that finds a pair.
        disparity: Folder that the disparity maps are taken from, such as ``"coarse_disparity"``, beside the pictures'
            folders. By default the first of ``disparity``, ``coarse_disparity``, ``original_depth``, ``depth``.

    Returns:
        The pairs, and the pictures that have no partner.

    Raises:
        PhotoError: If there is no such folder, or no pair in it; what was looked for is listed.
        ValueError: If there is no such layout.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for kind in ("original", "bokeh"):
        ...         Path(folder, "Training", kind).mkdir(parents=True)
        ...         Path(folder, "Training", kind, "12.jpg").touch()
        ...     listing = find_pairs(folder)
        >>> listing.layout, [pair.id for pair in listing.pairs]
        ('ebb', ['12'])
    """
    root = Path(root)
    if not root.is_dir():
        raise PhotoError(f"{root}: no such folder, expected a data set")
    if layout is not None and layout not in _LAYOUTS:
        raise ValueError(f"layout is {layout!r}: expected one of {', '.join(_LAYOUTS)}")
    for finder, _ in [_LAYOUTS[layout]] if layout else _LAYOUTS.values():
        listing = finder(root, disparity)
        if listing.pairs:
            return listing
    sought = {layout: _LAYOUTS[layout]} if layout else _LAYOUTS
    lines = "".join(f"\n  {name}: {description}" for name, (_, description) in sought.items())
    raise PhotoError(f"{root}: holds no pairs of pictures; looked for{lines}")


def list_layouts() -> list[str]:
    """Returns the names of the layouts, in the order in which they are tried.

    Example:
        >>> list_layouts()
        ['ebb', 'pynet', 'vabm', 'vabd', 'realbokeh', 'bokehlicious', 'csv', 'aisp']
    """
    return list(_LAYOUTS)


def _find_ebb(root: Path, disparity: str | None) -> Listing:
    parts = [part for part in ("Training", "training") if subfolder(root, part)]
    listing = _pair_folders(root, "ebb", parts[:1] or [""], "original", "bokeh", disparity)
    values = read_manifest(root, disparity)
    # There is only one part, which the pairs' names do without.
    pairs = tuple(replace(pair, part="", values=values.get(pair.id, {})) for pair in listing.pairs)
    return replace(listing, pairs=pairs)


def _find_pynet(root: Path, disparity: str | None) -> Listing:
    listing = _pair_folders(root, "pynet", PARTS, "original", "bokeh", disparity)
    values = read_manifest(root, disparity)
    return replace(listing, pairs=tuple(replace(pair, values=values.get(pair.key, {})) for pair in listing.pairs))


def _find_vabm(root: Path, disparity: str | None) -> Listing:
    return _pair_folders(root, "vabm", ("", *PARTS), "input", "target", disparity)


def _find_bokehlicious(root: Path, disparity: str | None) -> Listing:
    return _pair_folders(root, "bokehlicious", ("", *PARTS), "in", "gt", disparity)


def _find_aisp(root: Path, disparity: str | None) -> Listing:
    pairs: list[PairRecord] = []
    unpaired: list[Path] = []
    for part, folder in existing_parts(root, ("", *PARTS)):
        files = index_pictures(folder, PICTURE_SUFFIXES)
        source, target = (
            {stem.removesuffix(end): path for stem, path in files.items() if stem.endswith(end)}
            for end in (".src", ".tgt")
        )
        pairs += [PairRecord(name, part, source[name], target[name]) for name in source.keys() & target.keys()]
        unpaired += [(source | target)[name] for name in source.keys() ^ target.keys()]
    return Listing("aisp", sort_pairs(pairs), tuple(sorted(unpaired)))


def _pair_folders(
    root: Path, layout: str, parts: Iterable[str], original: str, bokeh: str, disparity: str | None
) -> Listing:
    """Pairs the files of two folders by their names, in each of the parts that are there."""
    pairs: list[PairRecord] = []
    unpaired: list[Path] = []
    for part, folder in existing_parts(root, parts):
        first = index_pictures(subfolder(folder, original), PICTURE_SUFFIXES)
        second = index_pictures(subfolder(folder, bokeh), PICTURE_SUFFIXES)
        both = first.keys() & second.keys()
        depth, mask = index_maps(folder, disparity) if both else ({}, {})
        pairs += [PairRecord(name, part, first[name], second[name], depth.get(name), mask.get(name)) for name in both]
        unpaired += [(first | second)[name] for name in first.keys() ^ second.keys()]
    return Listing(layout, sort_pairs(pairs), tuple(sorted(unpaired)))


# Each with what is looked for, in words. The order decides where several would find something.
_LAYOUTS: dict[str, tuple[Callable[[Path, str | None], Listing], str]] = {
    "ebb": (_find_ebb, "Training/{original,bokeh}/ID.jpg, or {original,bokeh}/ID.jpg"),
    "pynet": (_find_pynet, "{train,test}/{original,bokeh}/ID.jpg, depth in original_depth"),
    "vabm": (_find_vabm, "{train,test}/{input,target}/ID.jpg, with depth and focal"),
    "vabd": (find_vabd, "{train,test}/{input,1_8,2_8,8}/ID.jpg, a folder for each f-number"),
    "realbokeh": (find_realbokeh, "{train,validation,test}/metadata/ID.json, pictures named there"),
    "bokehlicious": (_find_bokehlicious, "{train,validation,test}/{in,gt}/ID.jpg"),
    "csv": (find_csv, "a CSV file with the header bokeh,original"),
    "aisp": (_find_aisp, "ID.src.jpg and ID.tgt.jpg"),
}
