"""The command ``depthbokeh evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

if TYPE_CHECKING:
    from .evaluation.report import Table

_PIPE_WIDTH = 130
_LONGEST_WORD = 24


def evaluate(
    target: Annotated[Path, typer.Option(metavar="DIR", help="Photographs through the open lens.")],
    pred: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="Pictures of a method, named like the targets; may be repeated."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option("--input", metavar="DIR", help="The photos all in focus; they are judged too, as a baseline."),
    ] = None,
    renderer: Annotated[
        str | None, typer.Option(metavar="fast,default,exact", help="Also render the photos by these qualities.")
    ] = None,
    mask_model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[=CHECKPOINT],...", help="Find the subject by these models, each with each renderer."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]RUN",
            help="Also render by the best pipeline of a run, or a saved one; may be repeated.",
        ),
    ] = None,
    disparity: Annotated[Path | None, typer.Option(metavar="DIR", help="Disparity maps to render with.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="DIR", help="Masks of the subject to render with.")] = None,
    strength: Annotated[
        float | None, typer.Option(help="Blur radius in pixels for a disparity of 1. Default: 1/40 of the longer side.")
    ] = None,
    aperture: Annotated[str, typer.Option(help="Shape of the blur, as for render.")] = "disk",
    highlights: Annotated[
        float, typer.Option(min=1.0, help="How many times brighter clipped lights are made before the blur.")
    ] = 4.0,
    ids: Annotated[
        str | None, typer.Option(metavar="4400-4693|A,B,...", help="Which of the targets. Default: all.")
    ] = None,
    ssim: Annotated[
        str, typer.Option(metavar="gaussian,uniform7,pynet", help="Protocols of SSIM.")
    ] = "gaussian,uniform7",
    lpips: Annotated[bool, typer.Option("--lpips", help="Measure LPIPS too; needs the extra lpips.")] = False,
    change_vs_input: Annotated[
        bool,
        typer.Option("--change-vs-input", help="Also say how far results are from the input, which is no quality."),
    ] = False,
    resize: Annotated[
        bool, typer.Option("--resize", help="Resize pictures of the target's aspect ratio to its size.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write scores.csv, report.md, report.html there.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Worst and best pictures of a method in the report.")] = 4,
    workers: Annotated[int, typer.Option(min=1, help="Threads that read files.")] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Judges pictures of any method against photographs: PSNR, SSIM, MSE, beside published figures."""
    from . import evaluate_job as job
    from .evaluate_rendered import Rendered
    from .evaluation.scoring import Judge

    rendered = None
    if renderer is not None or model:
        renderers, mask_models = _split(renderer or ""), _split(mask_model or "")
        rendered = Rendered(
            renderers, mask_models, disparity, mask, strength, aperture, highlights, models=tuple(model or ())
        )
    else:
        given = {"--disparity": disparity, "--mask": mask, "--strength": strength}
        named = [name for name, value in given.items() if value is not None]
        if named:
            raise ValueError(f"{named[0]} needs --renderer or --model")
    if mask_model is not None and renderer is None:
        raise ValueError("--mask-model needs --renderer")
    tables = job.evaluate_files(
        target,
        pred or [],
        inputs=inputs,
        rendered=rendered,
        ids=ids,
        judge=Judge(_parse_protocols(ssim), _load_lpips() if lpips else None, resize, change_vs_input),
        examples=examples,
        workers=workers,
        say=partial(typer.echo, err=True),
        out=out,
        overwrite=overwrite,
    )
    _print(tables)
    if out is not None:
        typer.echo(f"{out / 'report.html'}")


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parse_protocols(text: str) -> tuple[Any, ...]:
    from .evaluation.metrics import SsimProtocol

    protocols = tuple(dict.fromkeys(_split(text)))
    unknown = [name for name in protocols if name not in get_args(SsimProtocol)]
    if unknown or not protocols:
        raise ValueError(f"ssim must be of {', '.join(get_args(SsimProtocol))}, got {text!r}")
    return cast("tuple[Any, ...]", protocols)


def _load_lpips() -> Any:
    from .evaluation.lpips import Lpips

    return Lpips()


def _print(tables: list[Table]) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    from .evaluation.report import printable

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    for table in tables:
        grid = Grid(title=Text(table.title, style="bold"), title_justify="left", box=None, pad_edge=False)
        for head, *cells in zip(table.head, *table.rows, strict=True):
            longest = max(len(word) for cell in (head, *cells) for word in ("", *cell.split()))
            is_numeric = table.is_numeric(len(grid.columns))
            grid.add_column(
                Text(head),
                min_width=min(longest, _LONGEST_WORD),
                overflow="fold",
                justify="right" if is_numeric else "left",
            )
        for row in table.rows:
            grid.add_row(*(Text(printable(cell)) for cell in row))
        console.print(grid)
        if table.warning:
            console.print(Text(f"Warning. {table.warning}", style="red"))
        console.print()
