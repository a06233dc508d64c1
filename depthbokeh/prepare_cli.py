"""The command ``depthbokeh prepare``."""

from __future__ import annotations

from functools import partial
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
        str | None,
        typer.Option(help="Model for the disparity. Default: the data set's own maps, or the best with weights here."),
    ] = None,
    mask_model: Annotated[str | None, typer.Option(help="Model for the mask; the default likewise.")] = None,
    depth_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Checkpoint for --depth-model, instead of the published one.")
    ] = None,
    mask_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Checkpoint for --mask-model, instead of the published one.")
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
        depth_weights=depth_weights,
        mask_weights=mask_weights,
    )
    report = partial(typer.echo, err=True)
    manifest = job.prepare(root, out, settings, layout=layout, workers=workers, report=report)
    typer.echo(f"{out}: {job.summarize(manifest)}")
