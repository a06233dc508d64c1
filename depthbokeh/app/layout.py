"""The page: what is where on it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr

from .handlers import Handlers
from .look import SHAPES
from .sessions import IDLE_SECONDS, Sessions
from .stage import Stage
from .wiring import wire

CSS = (files(__package__) / "page.css").read_text("utf-8")
_HEAD = "<h1>depthbokeh</h1><p>Shallow depth of field for a photo</p>"



def make_theme() -> gr.themes.Base:
    """Plain, with the fonts of the system: none is fetched from elsewhere."""
    return gr.themes.Default(
        primary_hue="indigo",
        spacing_size="sm",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )


def build_page(sessions: Sessions) -> gr.Blocks:
    """Builds the page.

    Args:
        sessions: Who has which photo open.
    """
    with gr.Blocks(
        title="depthbokeh", fill_width=True, analytics_enabled=False, delete_cache=(IDLE_SECONDS // 6, IDLE_SECONDS)
    ) as page:
        parts = _lay_out()
        wire(page, parts, Handlers(sessions))
    return page


def _lay_out() -> dict[str, Any]:
    """The components, by name."""
    parts: dict[str, Any] = {"message": gr.HTML(elem_id="message")}
    gr.HTML(_HEAD, elem_id="head")
    parts["drop"] = gr.File(label="Drop a photo here, or click to choose one", elem_id="drop", height=320)
    with gr.Column(visible=False, elem_id="work") as parts["work"], gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            parts["stage"] = Stage(elem_id="stage")
        with gr.Column(scale=5, min_width=320):
            parts["result"] = gr.ImageSlider(
                label="Before and after", elem_id="result", interactive=False, buttons=["fullscreen"]
            )
        with gr.Column(scale=3, min_width=280):
            parts.update(_lay_out_controls())
    return parts


def _lay_out_controls() -> dict[str, Any]:
    parts: dict[str, Any] = {}
    parts["about"] = gr.HTML(elem_id="about")
    parts["another"] = gr.UploadButton("Open another photo", elem_id="another", size="sm")
    parts["by"] = gr.Radio(["f-number", "Strength"], value="f-number", label="Blur by", elem_id="by")
    parts["f_number"] = gr.Slider(0.7, 8, 1.4, step=0.1, label="f-number (full frame)", elem_id="f_number")
    parts["focal_length"] = gr.Slider(24, 200, 50, step=1, label="Focal length, mm", elem_id="focal_length")
    parts["distance"] = gr.Slider(0.5, 20, 2, step=0.1, label="Distance of the subject, m", elem_id="distance")
    parts["strength"] = gr.Slider(
        0, 6, 2.5, step=0.1, label="Strength, % of the longer side", elem_id="strength", visible=False
    )
    parts["focus"] = gr.Slider(0, 100, 50, step=1, label="Focus: 0 is far, 100 is near", elem_id="focus")
    parts["shape"] = gr.Dropdown(list(SHAPES), value=SHAPES[0], label="Aperture", elem_id="shape")
    parts["blades"] = gr.Slider(3, 11, 6, step=1, label="Blades", elem_id="blades", visible=False)
    parts["cat_eye"] = gr.Slider(0.1, 0.9, 0.5, step=0.05, label="Cat's eye", elem_id="cat_eye", visible=False)
    parts["highlights"] = gr.Slider(1, 10, 4, step=0.5, label="Highlights, times brighter", elem_id="highlights")
    parts["cut_out"] = gr.Checkbox(True, label="Keep the subject as a whole (its mask)", elem_id="cut_out")
    with gr.Accordion("Maps of your own", open=False), gr.Row():
        parts["own_mask"] = gr.UploadButton("Mask: subject is white", elem_id="own_mask", size="sm")
        parts["own_disparity"] = gr.UploadButton("Disparity: near is bright", elem_id="own_disparity", size="sm")
    parts["render"] = gr.Button("Download at full size", variant="primary", elem_id="render")
    parts["file"] = gr.DownloadButton("Save again", visible="hidden", elem_id="file")
    return parts
