"""The command ``depthbokeh app``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets others in your network use the app.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 7860,
    mask_model: Annotated[
        str, typer.Option(metavar="NAME|transformers:OWNER/MODEL", help="What finds the subject, as for render.")
    ] = "auto",
    depth_model: Annotated[
        str, typer.Option(metavar="NAME|transformers:OWNER/MODEL", help="What finds the depth, as for render.")
    ] = "auto",
) -> None:
    """Opens the app for the browser: drop a photo, click what should be sharp, download the result."""
    from .app.server import serve as run

    run(host, port, mask_model, depth_model, partial(typer.echo, err=True))
