"""The page: what is where on it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr

from .handlers import Handlers, head
from .look import SHAPES
from .sessions import IDLE_SECONDS, Sessions
from .stage import make_stage
from .wiring import wire

CSS = (files(__package__) / "page.css").read_text("utf-8")


def make_theme() -> gr.themes.Base:
    """Plain, with the fonts of the system: none is fetched from elsewhere."""
    theme = gr.themes.Default(
        primary_hue="indigo",
        spacing_size="sm",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )
    return theme.set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300")


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
    with gr.Row(elem_id="top"):
        parts["head"] = gr.HTML(head("Shallow depth of field for a photo"), elem_id="head")
        parts["another"] = gr.UploadButton("Open another photo", visible=False, elem_id="another", size="sm")
    parts["drop"] = gr.File(label="Photo", elem_id="drop", height=360)
    with gr.Column(visible=False, elem_id="work") as parts["work"], gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            parts["stage"] = make_stage("stage")
        with gr.Column(scale=5, min_width=320):
            parts["render"] = gr.Button("Download at full size", variant="primary", size="sm", elem_id="render")
            parts["result"] = gr.ImageSlider(
                show_label=False, elem_id="result", interactive=False, buttons=["fullscreen"], max_height=560
            )
            parts["file"] = gr.DownloadButton("Save again", visible="hidden", elem_id="file")
        with gr.Column(scale=3, min_width=270):
            parts.update(_lay_out_controls())
    return parts


def _lay_out_controls() -> dict[str, Any]:
    def slide(name: str, label: str, low: float, high: float, value: float, step: float, **settings: Any) -> None:
        parts[name] = gr.Slider(low, high, value, step=step, label=label, elem_id=name, buttons=[], **settings)

    parts: dict[str, Any] = {}
    parts["by"] = gr.Radio(["f-number", "Strength"], value="f-number", show_label=False, elem_id="by")
    slide("f_number", "f-number", 0.7, 8, 1.4, 0.1)
    slide("strength", "Strength, % of the longer side", 0, 6, 2.5, 0.1, visible=False)
    slide("focus", "Focus: far 0, near 100", 0, 100, 50, 1)
    parts["shape"] = gr.Dropdown(list(SHAPES), value=SHAPES[0], label="Aperture", elem_id="shape")
    slide("blades", "Blades", 3, 11, 6, 1, visible=False)
    slide("cat_eye", "Cat's eye", 0.1, 0.9, 0.5, 0.05, visible=False)
    slide("highlights", "Brighter highlights, ×", 1, 10, 4, 0.5)
    parts["cut_out"] = gr.Checkbox(True, label="Use the subject's mask", elem_id="cut_out")
    with gr.Accordion("Lens on full frame", open=False) as parts["lens"]:
        slide("focal_length", "Focal length, mm", 24, 200, 50, 1)
        slide("distance", "Subject distance, m", 0.5, 20, 2, 0.1)
    with gr.Accordion("Maps of your own", open=False), gr.Row():
        for name, label in (("own_mask", "Mask: subject white"), ("own_disparity", "Disparity: near bright")):
            parts[name] = gr.UploadButton(label, elem_id=name, size="sm", min_width=120)
    return parts
