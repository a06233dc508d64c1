"""Starts the app and, when it ends, removes what it leaves."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from .uploads import MAX_MEGABYTES

# Events that wait for their turn; more are refused, which the browser tells.
_QUEUE = 64


def serve(host: str, port: int, mask_model: str, depth_model: str, say: Callable[[str], None]) -> None:
    """Serves the app until it is interrupted.

    Args:
        host: Address to listen at.
        port: Port to listen at.
        mask_model: See :class:`Studio`.
        depth_model: Likewise.
        say: Takes lines for whoever starts it.

    Raises:
        ValueError: gradio is not installed, the port is taken, or there is no such model.
    """
    # gradio reads both when it is imported. All files that it makes or takes lie in a folder that goes with the app.
    root = Path(tempfile.mkdtemp(prefix="depthbokeh-app-"))
    os.environ.update(GRADIO_TEMP_DIR=str(root), GRADIO_ANALYTICS_ENABLED="False")
    try:
        _serve(root, host, port, mask_model, depth_model, say)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _serve(root: Path, host: str, port: int, mask_model: str, depth_model: str, say: Callable[[str], None]) -> None:
    try:
        from .layout import CSS, build_page, make_theme
    except ModuleNotFoundError as error:
        raise ValueError(f"the app needs {error.name}: pip install 'depthbokeh[app]'") from error
    from .sessions import Sessions
    from .studio import Studio

    studio = Studio(mask_model, depth_model)
    for note in studio.notes:
        say(note)
    studio.warm_up()
    page = build_page(Sessions(studio, root / "sessions"))
    page.queue(max_size=_QUEUE, default_concurrency_limit=2)
    signal.signal(signal.SIGTERM, _end)
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            show_error=False,
            prevent_thread_lock=True,
            max_file_size=f"{MAX_MEGABYTES}mb",
            footer_links=[],
            enable_monitoring=False,
            run_history=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            theme=make_theme(),
            css=CSS,
        )
    except OSError as error:
        raise ValueError(f"port {port} at {host} cannot be had, --port names another: {error}") from error
    say(f"depthbokeh app: {url} (Ctrl-C ends it)")
    try:
        page.block_thread()
    finally:
        page.close(verbose=False)


def _end(number: int, frame: FrameType | None) -> None:
    """Ends as an interrupt does, so that what is to be removed is removed."""
    sys.exit(0)
