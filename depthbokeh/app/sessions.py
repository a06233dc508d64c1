"""Who has which photo open, and where their files lie: nobody reaches another's, and nothing stays behind."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from ..files import PHOTO_SUFFIXES, PhotoError
from .look import Look
from .pictures import save_preview
from .session import Session, Upload
from .studio import Studio
from .uploads import clean_name

MAX_SESSIONS = 64
IDLE_SECONDS = 3600
_KEPT_PICTURES = 6  # a browser may still be fetching those before the last


class NoPhotoError(ValueError):
    """Somebody has no photo open."""


@dataclass
class Desk:
    """What one user has open: a session, and a folder for its files."""

    folder: Path
    session: Session
    used: float = field(default_factory=time.monotonic)
    _pictures: list[Path] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def take_file(self, upload: Path, kind: str) -> Upload:
        """Links a file that was uploaded into the folder, under a name of our own."""
        return _take_file(self.folder, upload, kind)

    def render_preview(self, look: Look, *, draft: bool = False) -> tuple[Path, Path]:
        """Files with the small photo as it is and as it will look, see :meth:`Session.render_preview`."""
        before = self.folder / "before.jpg"
        if before.exists():
            os.utime(before)  # what is old is removed
        else:
            save_preview(self.session.image, before, self.session.icc)
        picture = self.session.render_preview(look, draft=draft)
        after = self.folder / f"after-{secrets.token_hex(8)}.jpg"
        save_preview(picture, after, self.session.icc)
        self._keep(after)
        return before, after

    def render_full(self, look: Look) -> Path:
        """A file with the photo at its full size, in the format of what was uploaded."""
        name = Path(self.session.upload.name)
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        suffix = name.suffix.lower() if name.suffix.lower() in PHOTO_SUFFIXES else ".jpg"
        path = folder / f"{name.stem}-bokeh{suffix}"
        try:
            self.session.render_full(look, path)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, PhotoError):  # which names a place on the server
                raise PhotoError(str(error).replace(f"{path.parent}{os.sep}", "")) from error
            raise
        self._keep(path)
        return path

    def _keep(self, picture: Path) -> None:
        """Remembers a picture; the oldest of those before are removed."""
        with self._lock:
            self._pictures.append(picture)
            surplus, self._pictures = self._pictures[:-_KEPT_PICTURES], self._pictures[-_KEPT_PICTURES:]
        for path in surplus:
            path.unlink(missing_ok=True)


class Sessions:
    """All desks, by the key of the browser's session.

    Args:
        studio: Shared by all.
        root: A folder of the app's own.

    Methods may be called from several threads.
    """

    def __init__(self, studio: Studio, root: Path) -> None:
        self._studio = studio
        self._root = root
        self._desks: dict[str, Desk] = {}
        self._lock = Lock()

    def open(self, key: str, upload: Path) -> Desk:
        """Opens a photo in place of the one before.

        Raises:
            PhotoError: It is no photo, or larger or smaller than what is taken; the one before stays open.
        """
        folder = self._root / secrets.token_hex(16)
        folder.mkdir(mode=0o700, parents=True)
        try:
            desk = Desk(folder, Session(self._studio, _take_file(folder, upload, "photo")))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            leaving = [self._desks.pop(key, None), *self._pop_idle()]
            self._desks[key] = desk
        _clear(leaving)
        return desk

    def get(self, key: str) -> Desk:
        """The desk of a session.

        Raises:
            NoPhotoError: It has none, or no longer.
        """
        with self._lock:
            desk = self._desks.get(key)
            if desk is None:
                raise NoPhotoError("no photo is open, or it has been idle for too long; open one first")
            desk.used = time.monotonic()
            return desk

    def close(self, key: str) -> None:
        """Removes all that a session has."""
        with self._lock:
            desk = self._desks.pop(key, None)
        _clear([desk])

    def close_all(self) -> None:
        """Removes everything."""
        with self._lock:
            desks = list(self._desks.values())
            self._desks.clear()
        _clear(desks)

    def __len__(self) -> int:
        return len(self._desks)

    def _pop_idle(self) -> list[Desk]:
        """Takes away those unused for long, and of the others the oldest if there are too many."""
        now = time.monotonic()
        by_age = sorted(self._desks, key=lambda key: self._desks[key].used)
        surplus = len(by_age) - MAX_SESSIONS + 1
        idle = [key for i, key in enumerate(by_age) if i < surplus or now - self._desks[key].used > IDLE_SECONDS]
        return [self._desks.pop(key) for key in idle]


def _take_file(folder: Path, upload: Path, kind: str) -> Upload:
    name = clean_name(upload.name)
    path = folder / f"{kind}-{secrets.token_hex(4)}{Path(name).suffix.lower()}"
    try:
        os.link(upload, path)
    except OSError:
        shutil.copyfile(upload, path)
    with suppress(OSError):
        upload.unlink()
    return Upload(path, name)


def _clear(desks: list[Desk | None] | list[Desk]) -> None:
    for desk in desks:
        if desk is not None:
            shutil.rmtree(desk.folder, ignore_errors=True)
