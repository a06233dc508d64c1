"""The picture that is clicked and painted on, a component of its own."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr


class Stage(gr.HTML):
    """Shows the photo with mask and depth, and reports clicks, boxes and strokes.

    Its value is a dictionary: ``photo``, ``mask`` and ``depth`` are data URLs, ``mark`` is the place ``[x, y]`` that was
    picked, or ``None``. Its events are ``pick`` (x, y and perhaps width and height), ``stroke`` (points, radius, adds),
    ``undo_stroke`` and ``start_over``; places are fractions of width and height.
    """

    def __init__(self, **settings: Any) -> None:
        parts = {kind: (files(__package__) / f"stage.{kind}").read_text("utf-8") for kind in ("html", "css", "js")}
        super().__init__(
            value={},
            html_template=parts["html"],
            css_template=parts["css"],
            js_on_load=parts["js"],
            **settings,
        )

    def api_info(self) -> dict[str, Any]:
        """What the value is, for clients."""
        return {"type": "object"}
