"""What happens when something on the page is clicked, moved or uploaded."""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import gradio as gr

from . import pictures
from .look import Look
from .sessions import Desk, Sessions
from .strokes import read_stroke
from .studio import Pick

Updates: TypeAlias = dict[str, Any]
"""New values or settings, by the names that the page gives its components."""

CONTROLS = ("by", "f_number", "focal_length", "distance", "strength", "shape", "blades", "cat_eye", "highlights")
"""Components that say how the blur looks, in the order in which their values come."""

_log = logging.getLogger(__name__)


def make_look(controls: tuple[Any, ...]) -> Look:
    """What the controls say; raises ValueError where they say nothing that can be."""
    given = dict(zip(CONTROLS, controls, strict=True))
    missing = [name.replace("_", " ") for name, value in given.items() if value is None]
    if missing:
        raise ValueError(f"{missing[0]} is empty: expected a number")
    return Look(
        f_number=given["f_number"] if given["by"] == "f-number" else None,
        focal_length_mm=given["focal_length"],
        distance_m=given["distance"],
        strength=given["strength"],
        shape=given["shape"],
        blades=round(given["blades"]),
        cat_eye=given["cat_eye"],
        highlights=given["highlights"],
    )


class Handlers:
    """One method for every kind of event: the key of the browser's session and values in, what changes on the page out.

    Args:
        sessions: Who has which photo open.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def open(self, key: str, path: str | None, *controls: Any) -> Updates:
        """A photo was dropped."""
        if path is None:
            return {}
        desk = self._sessions.open(key, Path(path))
        session = desk.session
        focal_length_mm, distance_m = session.lens
        height, width = session.size
        look = replace(make_look(controls), focal_length_mm=focal_length_mm, distance_m=distance_m)
        return {
            **self._show(desk, look, with_photo=True),
            "focal_length": focal_length_mm,
            "distance": distance_m,
            "head": head(f"{session.upload.name}, {width} × {height} pixels"),
            "another": gr.update(visible=True),
            "drop": gr.update(value=None, visible=False),
            "work": gr.update(visible=True),
        }

    def look(self, key: str, *controls: Any) -> Updates:
        """A control that says how the blur looks was set."""
        return self._render(self._sessions.get(key), make_look(controls))

    def draft_look(self, key: str, *controls: Any) -> Updates:
        """A slider that says how the blur looks is being dragged."""
        return self._render(self._sessions.get(key), make_look(controls), draft=True)

    def focus(self, key: str, percent: float | None, *controls: Any) -> Updates:
        """The focus is being dragged."""
        desk = self._sessions.get(key)
        if percent is None:
            raise ValueError("focus is empty: expected a number")
        desk.session.focus_on(percent / 100)
        return self._render(desk, make_look(controls), draft=True)

    def cut_out(self, key: str, wanted: bool, *controls: Any) -> Updates:
        """The subject is to be cut out, or not."""
        desk = self._sessions.get(key)
        desk.session.cut_out(wanted)
        return self._show(desk, make_look(controls))

    def pick(self, key: str, sent: Mapping[str, Any], *controls: Any) -> Updates:
        """The photo was clicked, or a box was drawn."""
        desk = self._sessions.get(key)
        desk.session.pick(Pick(*(float(sent.get(name, 0)) for name in ("x", "y", "width", "height"))))
        return self._show(desk, make_look(controls))

    def stroke(self, key: str, sent: Mapping[str, Any], *controls: Any) -> Updates:
        """The mask was painted on."""
        desk = self._sessions.get(key)
        desk.session.paint(read_stroke(sent["points"], sent["radius"], sent["adds"]))
        return self._show(desk, make_look(controls))

    def undo_stroke(self, key: str, sent: Mapping[str, Any], *controls: Any) -> Updates:
        """The last stroke is taken back."""
        desk = self._sessions.get(key)
        desk.session.undo()
        return self._show(desk, make_look(controls))

    def start_over(self, key: str, sent: Mapping[str, Any], *controls: Any) -> Updates:
        """What was picked, painted and given is forgotten."""
        desk = self._sessions.get(key)
        desk.session.reset()
        return self._show(desk, make_look(controls))

    def give_mask(self, key: str, path: str, *controls: Any) -> Updates:
        """A mask was uploaded."""
        desk = self._sessions.get(key)
        desk.session.give_mask(desk.take_file(Path(path), "mask"))
        return self._show(desk, make_look(controls))

    def give_disparity(self, key: str, path: str, *controls: Any) -> Updates:
        """A disparity map was uploaded."""
        desk = self._sessions.get(key)
        desk.session.give_disparity(desk.take_file(Path(path), "disparity"))
        return self._show(desk, make_look(controls))

    def download(self, key: str, *controls: Any) -> Updates:
        """The photo is wanted at its full size."""
        desk = self._sessions.get(key)
        return {"file": str(desk.render_full(make_look(controls)))}

    def close(self, key: str) -> None:
        """The page was closed."""
        self._sessions.close(key)

    def _show(self, desk: Desk, look: Look, *, with_photo: bool = False) -> Updates:
        """Subject, depth, focus and the result."""
        session = desk.session
        choices = session.choices
        mark = choices.mark
        stage = {
            "photo": pictures.show_photo(session.image, session.icc) if with_photo else "",
            "mask": pictures.show_mask(session.mask),
            "depth": pictures.show_disparity(session.disparity),
            "mark": None if mark is None else [mark.x + mark.width / 2, mark.y + mark.height / 2],
        }
        focus = session.plane if choices.focus is None else choices.focus
        controls = {"focus": round(100 * focus), "cut_out": choices.cuts_out}
        return {"stage": stage, **controls, **self._render(desk, look)}

    def _render(self, desk: Desk, look: Look, *, draft: bool = False) -> Updates:
        before, after = desk.render_preview(look, draft=draft)
        return {"result": (str(before), str(after))}


def head(about: str) -> str:
    """The head of the page."""
    return f"<h1>depthbokeh</h1><p>{html.escape(about)}</p>"


def explain(error: Exception) -> str:
    """What the user is told of an error: our own words as they are, of any other only that it happened."""
    if isinstance(error, ValueError):
        return html.escape(str(error))
    _log.error("an event failed", exc_info=error)
    return "This did not work. Try again, or another photo."
