"""The command ``depthbokeh prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def prepare(
    root: Annotated[Path, typer.Argument(help="The data set; nothing is written there.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the result; what it holds already is kept.")
    ],
    layout: Annotated[
        str | None,
        typer.Option(help="ebb, pynet, vabm, vabd, realbokeh, bokehlicious, csv or aisp. Default: found out."),
    ] = None,
    height: Annotated[
        int, typer.Option(min=32, help="What is at least this high becomes exactly so high, pixels.")
    ] = 1024,
    align: Annotated[
        bool, typer.Option("--align/--no-align", help="Move bokeh pictures onto their photos where that helps.")
    ] = True,
    depth_model: Annotated[
        str | None, typer.Option(help="Model for the disparity. Default: the data set's own, or ground_plane.")
    ] = None,
    mask_model: Annotated[
        str | None, typer.Option(help="Model for the mask. Default: the data set's own, or grabcut.")
    ] = None,
    depth_weights: Annotated[
        str | None, typer.Option(metavar="FILE|published", help="Weights of the depth model.")
    ] = None,
    mask_weights: Annotated[
        str | None, typer.Option(metavar="FILE|published", help="Weights of the mask model.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one for every processor.")] = None,
) -> None:
    """Checks and aligns the pairs of a data set, crops them to what both show, and makes their maps."""
    from .data import prepare as job

    settings = job.PrepareSettings(
        height=height,
        align=align,
        depth_model=depth_model,
        mask_model=mask_model,
        depth_weights=_parse_weights(depth_weights),
        mask_weights=_parse_weights(mask_weights),
    )
    typer.echo(f"{out}: {job.summarize(job.prepare(root, out, settings, layout=layout, workers=workers))}")


def _parse_weights(text: str | None) -> str | bool:
    return text == "published" or text or False
