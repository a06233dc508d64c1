"""Which files of several folders are pictures of the same thing, told by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from ..files import PHOTO_SUFFIXES, PhotoError

Role: TypeAlias = Literal["input", "target", "other"]
# Some data sets keep both pictures of a pair in one folder: 17.src.jpg and 17.tgt.jpg.
_ROLES: dict[str, Role] = {".src": "input", ".tgt": "target"}
_SEPARATORS = "._-"
_NAMED = 5  # ids that a message names; the others are counted


def list_pictures(folder: Path, role: Role = "other", suffixes: tuple[str, ...] = PHOTO_SUFFIXES) -> dict[str, Path]:
    """The pictures of a folder by their ids: the names without extension, and without ``.src`` or ``.tgt``.

    Args:
        folder: Is not searched any deeper.
        role: Of ``"input"`` the ``.tgt`` files are left out, of ``"target"`` the ``.src`` files.
        suffixes: What the names may end in.

    Returns:
        Paths by id, in natural order (2 before 10).

    Raises:
        PhotoError: If there is no such folder, no picture in it, or two of them have one id.
    """
    if not folder.is_dir():
        raise PhotoError(f"{folder}: expected a folder of pictures")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: _natural_key(path.name)):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        stem = Path(path.stem)
        of_file = _ROLES.get(stem.suffix.lower(), "other")
        if role != "other" and of_file not in (role, "other"):
            continue
        name = path.stem if of_file == "other" else stem.stem
        if name in found:
            raise PhotoError(
                f"{folder}: {found[name].name} and {path.name} are both named {name}; expected one of them"
            )
        found[name] = path
    if not found:
        raise PhotoError(f"{folder}: holds no picture ({', '.join(suffixes)})")
    return found


def match_pictures(
    ids: Iterable[str], folder: Path, role: Role = "other", suffixes: tuple[str, ...] = PHOTO_SUFFIXES
) -> dict[str, Path]:
    """The picture of each id: the file of that name, or else the one whose name goes on after it, as ``17_bokeh.png``.

    Args:
        ids: Names without extension.
        folder: Where to look.
        role: See :func:`list_pictures`.
        suffixes: What the names may end in.

    Returns:
        Paths by id, one for each.

    Raises:
        PhotoError: If pictures are missing, which are named, or an id has two.
    """
    ids = list(ids)
    pictures = list_pictures(folder, role, suffixes)
    longer = _group_longer_names(ids, pictures)
    matched, missing = {}, []
    for name in ids:
        candidates = [name] if name in pictures else longer.get(name, [])
        if len(candidates) > 1:
            both = " and ".join(pictures[candidate].name for candidate in candidates[:2])
            raise PhotoError(f"{folder}: {both} could both be the picture of {name}; expected one of them")
        if candidates:
            matched[name] = pictures[candidates[0]]
        else:
            missing.append(name)
    if missing:
        raise PhotoError(f"{folder}: {len(missing)} of {len(ids)} pictures are missing: {enumerate_names(missing)}")
    return matched


def select_ids(text: str, available: Iterable[str]) -> list[str]:
    """Reads which pictures are meant: ids and ranges of numbers, as ``4400-4693`` or ``3,7,20-29``.

    Args:
        text: Parts separated by commas.
        available: The ids there are.

    Returns:
        Those of them that are meant, in their order.

    Raises:
        ValueError: If a part names nothing that is there.

    Example:
        >>> select_ids("2,8-10", ["2", "9", "10", "11"])
        ['2', '9', '10']
    """
    available = list(available)
    wanted: set[str] = set()
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d+)-(\d+)\s*", part, re.ASCII)
        if part.strip() in available:
            named = {part.strip()}
        elif ends:
            low, high = int(ends[1]), int(ends[2])
            named = {name for name in available if name.isdecimal() and low <= int(name) <= high}
        else:
            named = set()
        if not named:
            raise ValueError(f"ids: {part.strip()!r} names none of the {len(available)} pictures there are")
        wanted |= named
    return [name for name in available if name in wanted]


def parse_folder(text: str) -> tuple[str, Path]:
    """Reads ``NAME=DIR`` or ``DIR``, whose own name is taken then.

    Example:
        >>> parse_folder("PyNET=out/pynet")
        ('PyNET', PosixPath('out/pynet'))
        >>> parse_folder("out/pynet")
        ('pynet', PosixPath('out/pynet'))
    """
    name, equals, folder = text.partition("=")
    if equals and name and "/" not in name and not Path(text).is_dir():
        return name, Path(folder)
    return Path(text).resolve().name, Path(text)


def enumerate_names(names: list[str]) -> str:
    """The first few of them, and how many more there are.

    Example:
        >>> enumerate_names(["1", "2", "3", "4", "5", "6", "7"])
        '1, 2, 3, 4, 5 and 2 more'
    """
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _group_longer_names(ids: list[str], pictures: Mapping[str, Path]) -> dict[str, list[str]]:
    """The names that begin with an id and a separator, by the longest such id."""
    known = set(ids)
    groups: dict[str, list[str]] = {}
    for name in pictures:
        if name in known:
            continue
        cuts = [position for position, letter in enumerate(name) if letter in _SEPARATORS]
        owner = next((name[:cut] for cut in reversed(cuts) if name[:cut] in known), None)
        if owner is not None:
            groups.setdefault(owner, []).append(name)
    return groups


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return [(1, int(part), "") if index % 2 else (0, 0, part) for index, part in enumerate(parts)]
