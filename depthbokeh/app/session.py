"""One photo on its way through the app: what was picked, painted and given, and pictures of where that leads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock

from torch import Tensor

from ..files import PhotoError
from ..maps import resize
from ..photo import write_photo
from .enlarging import enlarge_mask
from .look import Look, read_lens
from .strokes import MAX_STROKES, Stroke, paint
from .studio import Pick, Studio
from .uploads import open_disparity, open_mask, open_photo

PREVIEW_PIXELS = 768
"""Longer side of the picture that is rendered while controls move."""


@dataclass(frozen=True)
class Upload:
    """A file that was uploaded, and what its owner calls it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Choices:
    """All that the user decided about subject, depth and focus; with photo and look it says what is rendered.

    Attributes:
        pick: Where the subject was clicked or drawn.
        mark: What was clicked or drawn last, which may lie on the subject that was there.
        strokes: What was painted over its mask.
        mask: A mask that was given in place of what is found.
        disparity: Likewise.
        cuts_out: Whether there is a subject at all, or only depth.
        focus: Disparity that is sharp, 0 (far) to 1 (near); ``None`` is the subject's.
    """

    pick: Pick | None = None
    mark: Pick | None = None
    strokes: tuple[Stroke, ...] = ()
    mask: Upload | None = None
    disparity: Upload | None = None
    cuts_out: bool = True
    focus: float | None = None


class Session:
    """A photo, the choices made for it and a small picture of it.

    Methods may be called from several threads.

    Args:
        studio: The models and the renderer.
        photo: The photo; its file must stay.

    Raises:
        PhotoError: It is no photo, or larger or smaller than what is taken.
    """

    def __init__(self, studio: Studio, photo: Upload) -> None:
        self._studio = studio
        self._lock = RLock()
        self.upload = photo
        opened = open_photo(photo.path, photo.name)
        self.size = (opened.image.shape[2], opened.image.shape[3])
        self.lens = read_lens(opened.exif_ifd())
        self.icc = opened.icc
        longer = max(self.size)
        small = (max(1, round(side * PREVIEW_PIXELS / longer)) for side in self.size)
        self.image = resize(opened.image, tuple(small)) if longer > PREVIEW_PIXELS else opened.image  # type: ignore[arg-type]
        self.choices = Choices()
        self.mask: Tensor | None = None
        self._found: Tensor | None = None  # the mask before anything is painted
        self._given: Tensor | None = None  # the disparity that was uploaded
        self._estimated: Tensor | None = None  # that of the model
        self._find_mask()

    def pick(self, pick: Pick) -> None:
        """Makes sharp what was clicked or drawn.

        A click on the subject moves the focus back to it. Any other finds a new subject, for which nothing is painted
        yet; where no subject is cut out, a click is only focused on.
        """
        with self._lock:
            choices = replace(self.choices, mark=pick, focus=None)
            if pick.is_point and self.mask is not None and _read_at(self.mask, pick) > 0.5:
                self.choices = choices
            elif pick.is_point and not choices.cuts_out:
                self._choose(replace(choices, pick=pick))
            else:
                self._choose(replace(choices, pick=pick, strokes=(), mask=None, cuts_out=True))

    def paint(self, stroke: Stroke) -> None:
        """Paints over the mask.

        Raises:
            ValueError: There are too many strokes.
        """
        with self._lock:
            if len(self.choices.strokes) >= MAX_STROKES:
                raise ValueError(f"there are {MAX_STROKES} strokes on the mask already; undo some, or pick again")
            self.choices = replace(self.choices, strokes=(*self.choices.strokes, stroke), cuts_out=True)
            self._paint()

    def undo(self) -> None:
        """Takes the last stroke back."""
        with self._lock:
            self.choices = replace(self.choices, strokes=self.choices.strokes[:-1])
            self._paint()

    def reset(self) -> None:
        """Forgets what was picked, painted and given."""
        with self._lock:
            self._choose(Choices())

    def cut_out(self, wanted: bool) -> None:
        """Says whether there is a subject at all, or only depth."""
        with self._lock:
            self.choices = replace(self.choices, cuts_out=wanted)
            self._paint()

    def focus_on(self, disparity: float) -> None:
        """Moves the focus.

        Raises:
            ValueError: The disparity is not within 0..1.
        """
        if not 0 <= disparity <= 1:
            raise ValueError(f"focus is {disparity:g}: expected 0 (far) to 1 (near)")
        with self._lock:
            self.choices = replace(self.choices, focus=disparity)

    def give_mask(self, mask: Upload) -> None:
        """Takes a mask in place of what was found; raises like :func:`open_mask`."""
        with self._lock:
            self._choose(replace(self.choices, mask=mask, strokes=(), cuts_out=True, focus=None))

    def give_disparity(self, disparity: Upload) -> None:
        """Takes a disparity map, used alone until a subject is asked for; raises like :func:`open_disparity`."""
        with self._lock:
            keeps_mask = self.choices.mask is not None or self.choices.pick is not None
            self._choose(replace(self.choices, disparity=disparity, cuts_out=keeps_mask, focus=None))

    def render_preview(self, look: Look, *, draft: bool = False) -> Tensor:
        """The small picture ``(1, 3, H, W)`` as it will look; as a draft, quickly and nearly so."""
        with self._lock:
            parts, plane, choices = (self.image, self.disparity, self.mask), self.plane, self.choices
        pick, focus = choices.pick, choices.focus
        return self._studio.render(*parts, look, plane=plane, pick=pick, focus=focus, draft=draft)

    def render_full(self, look: Look, output: Path) -> None:
        """Renders the photo at its full size, with its metadata.

        Args:
            look: What the controls say.
            output: The file to write; its ending chooses the format.

        Raises:
            PhotoError: A file cannot be read or written.
        """
        with self._lock:
            choices, plane, found, estimated = self.choices, self.plane, self._found, self._estimated
        photo = open_photo(self.upload.path, self.upload.name)
        image = photo.image
        # What was found on the small picture is kept: found anew, it might be something else than was shown.
        if choices.mask is not None:
            found = self._read_mask(image, choices)
        elif found is not None:
            found = enlarge_mask(found, self.image, image)
        mask = self._apply(image, found, choices)
        if choices.disparity is not None or self._studio.depth_needs_mask or estimated is None:
            disparity = self._read_disparity(image, mask, choices)
        else:
            disparity = resize(estimated, (image.shape[2], image.shape[3]))
        parts = (image, disparity, mask)
        bokeh = self._studio.render(*parts, look, plane=plane, pick=choices.pick, focus=choices.focus)
        write_photo(output, bokeh, bits=photo.bits, exif=photo.exif, icc=photo.icc, alpha=photo.alpha)

    def _choose(self, choices: Choices) -> None:
        """Changes the choices, or nothing if a file that they name is unfit."""
        before = self.choices
        self.choices = choices
        try:
            self._find_mask()
        except PhotoError:
            self.choices = before
            raise

    def _find_mask(self) -> None:
        """Finds or reads the maps that the choices ask for."""
        choices = self.choices
        found = self._read_mask(self.image, choices)
        given = None if choices.disparity is None else self._read_disparity(self.image, None, choices)
        self._found, self._given = found, given
        self._paint()

    def _paint(self) -> None:
        """Brings mask, disparity and plane up to date with the choices."""
        self.mask = self._apply(self.image, self._found, self.choices)
        if self._given is None and (self._estimated is None or self._studio.depth_needs_mask):
            self._estimated = self._studio.find_disparity(self.image, self.mask)
        disparity = self._estimated if self._given is None else self._given
        assert disparity is not None
        self.disparity = disparity
        self.plane = self._studio.find_plane(self.image, disparity, self.mask, self.choices.pick)

    def _read_mask(self, image: Tensor, choices: Choices) -> Tensor | None:
        if choices.mask is not None:
            return open_mask(choices.mask.path, choices.mask.name, (image.shape[2], image.shape[3]))
        return self._studio.find_mask(image, choices.pick)

    def _read_disparity(self, image: Tensor, mask: Tensor | None, choices: Choices) -> Tensor:
        if choices.disparity is not None:
            return open_disparity(choices.disparity.path, choices.disparity.name, (image.shape[2], image.shape[3]))
        return self._studio.find_disparity(image, mask)

    def _apply(self, image: Tensor, found: Tensor | None, choices: Choices) -> Tensor | None:
        """What was found, painted over."""
        if not choices.cuts_out:
            return None
        if not choices.strokes:
            return found
        return paint(image.new_zeros(1, 1, *image.shape[2:]) if found is None else found, choices.strokes)


def _read_at(mask: Tensor, pick: Pick) -> float:
    """The value of a map ``(1, 1, H, W)`` at a point."""
    x, y = pick.scale(mask)
    return float(mask[0, 0, int(y), int(x)])
