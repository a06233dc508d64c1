"""Which event on the page calls which handler, how many at a time, and what comes of an error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from .handlers import CONTROLS, Handlers, Updates, explain

_SHOWN = ("stage", "focus", "cut_out", "result")
_OPENED = (*_SHOWN, "focal_length", "distance", "head", "another", "drop", "work")
# What an event leaves behind if it fails: no file that was refused, and none from before.
_EMPTIED = ("drop", "file")
# Photos at full size need much memory, and the renderer uses all processors by itself.
_LIMITS = {"open": 2, "preview": 2, "download": 1}

_HIDDEN: dict[str, Any] = {"api_visibility": "private"}
_USED: dict[str, Any] = {"api_visibility": "undocumented"}  # by programs, too

_SAVE = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""


def wire(page: gr.Blocks, parts: dict[str, Any], handlers: Handlers) -> None:
    """Connects the page's components to the handlers.

    Args:
        page: The page, which is being built.
        parts: Its components, by name.
        handlers: What is called.
    """
    controls = [parts[name] for name in CONTROLS]

    def on(
        listen: Callable[..., Any],
        method: Callable[..., Updates],
        inputs: list[Any],
        outputs: tuple[str, ...],
        *,
        kind: str = "preview",
        sends: bool = False,
        **settings: Any,
    ) -> Any:
        names = (*outputs, "message")
        shown_on = parts["drop" if inputs == [parts["drop"]] else "result"]
        return listen(
            _answer(method, names, sends=sends),
            inputs=[*inputs, *controls],
            outputs=[parts[name] for name in names],
            concurrency_limit=_LIMITS[kind],
            concurrency_id=kind,
            show_progress="minimal",
            show_progress_on=shown_on,
            **settings,
        )

    on(parts["drop"].upload, handlers.open, [parts["drop"]], _OPENED, kind="open", api_name="open", **_USED)
    on(parts["another"].upload, handlers.open, [parts["another"]], _OPENED, kind="open", **_HIDDEN)
    # Drafts follow a slider that is dragged; when it is let go, or another control is set, layers are rendered.
    sliders = [part for part in controls if isinstance(part, gr.Slider)]
    settled = [part.release for part in (*sliders, parts["focus"])]
    settled += [part.input for part in controls if part not in sliders]
    latest: dict[str, Any] = {"trigger_mode": "always_last"}
    on(partial(gr.on, settled), handlers.look, [], ("result",), api_name="look", **_USED, **latest)
    dragged = [part.input for part in sliders]
    on(partial(gr.on, dragged), handlers.draft_look, [], ("result",), **_HIDDEN, **latest)
    on(parts["focus"].input, handlers.focus, [parts["focus"]], ("result",), **_HIDDEN, **latest)
    on(parts["cut_out"].input, handlers.cut_out, [parts["cut_out"]], _SHOWN, **_HIDDEN)
    for name in ("pick", "stroke", "undo_stroke", "start_over"):
        on(
            getattr(parts["stage"], name),
            getattr(handlers, name),
            [],
            _SHOWN,
            sends=True,
            trigger_mode="multiple",
            **_HIDDEN,
        )
    for name in ("mask", "disparity"):
        part, method = parts[f"own_{name}"], getattr(handlers, f"give_{name}")
        on(part.upload, method, [part], _SHOWN, api_name=f"give_{name}", **_USED)
    saved = on(parts["render"].click, handlers.download, [], ("file",), kind="download", api_name="download", **_USED)
    saved.then(None, inputs=[parts["file"]], js=_SAVE)
    units = [parts[name] for name in ("f_number", "lens", "strength")]
    parts["by"].input(_show_units, [parts["by"]], units, queue=False, show_progress="hidden", **_HIDDEN)
    details = [parts[name] for name in ("blades", "cat_eye")]
    parts["shape"].input(_show_details, [parts["shape"]], details, queue=False, show_progress="hidden", **_HIDDEN)

    def close(request: gr.Request) -> None:
        handlers.close(request.session_hash or "")

    page.unload(close)


def _answer(method: Callable[..., Updates], names: tuple[str, ...], *, sends: bool) -> Callable[..., list[Any]]:
    """What the page calls: a handler's answer in the order of the components' names, an error as a message."""

    def call(key: str | None, *values: Any) -> list[Any]:
        try:
            if not key:  # then all who send none would share one
                raise ValueError("this request belongs to no session; reload the page")
            updates = {"message": "", **method(key, *values)}
        except Exception as error:  # the page tells of it, and goes on
            updates = dict.fromkeys(_EMPTIED)
            updates["message"] = f'<div class="told" role="alert">{explain(error)}</div>'
        return [updates.get(name, gr.skip()) for name in names]

    # The page fills in what it knows by the kinds of these arguments.
    def run(request: gr.Request, *values: Any) -> list[Any]:
        return call(request.session_hash, *values)

    def run_on_sent(request: gr.Request, event: gr.EventData, *values: Any) -> list[Any]:
        return call(request.session_hash, event._data or {}, *values)

    return run_on_sent if sends else run


def _show_units(by: str) -> list[Any]:
    by_lens = by == "f-number"
    return [gr.update(visible=by_lens)] * 2 + [gr.update(visible=not by_lens)]


def _show_details(shape: str) -> list[Any]:
    return [gr.update(visible=shape == "Blades"), gr.update(visible=shape == "Cat's eye")]
