"""The picture that is clicked and painted on, a component of its own."""

from __future__ import annotations

from importlib.resources import files

import gradio as gr


def make_stage(elem_id: str) -> gr.HTML:
    """Builds what shows the photo with mask and depth, and reports clicks, boxes and strokes.

    Its value is a dictionary: ``photo``, ``mask`` and ``depth`` are data URLs, of which an empty photo leaves the one
    before, and ``mark`` is the place ``[x, y]`` that was picked, or ``None``. Its events are ``pick`` (x, y and perhaps
    width and height), ``stroke`` (points, radius, adds), ``undo_stroke`` and ``start_over``; places are fractions of
    width and height.

    Args:
        elem_id: Its id on the page.
    """
    # No class: gradio would write a file beside the module of each of its classes.
    parts = {kind: (files(__package__) / f"stage.{kind}").read_text("utf-8") for kind in ("html", "css", "js")}
    return gr.HTML(
        value={}, html_template=parts["html"], css_template=parts["css"], js_on_load=parts["js"], elem_id=elem_id
    )
