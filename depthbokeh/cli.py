"""The command ``depthbokeh``: render, fit, demo, synthesize, prepare, finetune, evaluate, weights, app, info."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from . import __version__
from .app_cli import serve
from .evaluate_cli import evaluate
from .finetune_cli import finetune
from .prepare_cli import prepare
from .weights_cli import app as weights_app

app = typer.Typer(
    name="depthbokeh",
    help="Shallow depth of field for photos.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(weights_app)


def main() -> None:
    """Runs the command; what a user did wrong is said in one line, without a traceback."""
    try:
        app()
    except ValueError as error:  # a PhotoError is one too
        # Names of files and what is in them must not command the terminal.
        line = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(error))
        typer.secho(f"depthbokeh: {line}", fg=typer.colors.RED, err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def _importing() -> Iterator[None]:
    """Spares the start the search for garbage among the lasting objects of imports."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # nor are they searched when the process ends
        if was_enabled:
            gc.enable()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing; stands before the command.")] = False,
) -> None:
    if offline:
        # The Hub's library reads its own switch when it is imported, which is later than here.
        os.environ.update(DEPTHBOKEH_OFFLINE="1", HF_HUB_OFFLINE="1")


@app.command()
def render(
    photo: Annotated[Path, typer.Argument(help="JPEG, PNG, TIFF or WebP; with --batch a folder of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write; with --batch a folder.")],
    disparity: Annotated[
        Path | None,
        typer.Option(help="Disparity map, bright is near: PNG, TIFF (8 or 16 bit), npy; with --batch a folder."),
    ] = None,
    disparity_kind: Annotated[
        str | None,
        typer.Option(
            metavar="disparity|relative_disparity|depth|log_depth",
            help="What --disparity holds. Default: disparity, stretched to 0..1 if it reaches beyond.",
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Mask of the subject, white is the subject; with --batch a folder.")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H|X,Y", help="Box round the subject, or a point on it for a network, in pixels of the photo."
        ),
    ] = None,
    focus: Annotated[
        str,
        typer.Option(
            metavar="X,Y|X,Y,W,H|auto|VALUE",
            help="What is in focus: a point or a box in pixels of the photo, or a disparity.",
        ),
    ] = "auto",
    strength: Annotated[
        float | None,
        typer.Option(
            help="Blur radius in pixels of the result for a disparity of 1. Default: 1/40 of the longer side."
        ),
    ] = None,
    f_number: Annotated[float | None, typer.Option(help="Blur as a lens of this f-number would.")] = None,
    focal_length: Annotated[
        float | None, typer.Option(help="Its focal length in mm. Default: the photo's EXIF, or 50.")
    ] = None,
    sensor_width: Annotated[
        float | None, typer.Option(help="Longer side of the sensor in mm. Default: the photo's EXIF, or 36.")
    ] = None,
    focus_distance: Annotated[
        float | None, typer.Option(help="Distance of what is in focus, in metres. Default: the photo's EXIF, or 2.")
    ] = None,
    aperture: Annotated[
        str,
        typer.Option(
            help="disk, gaussian, polygon:BLADES[:ROTATION[:ROUNDNESS]], ring:INNER, cat_eye:STRENGTH[:ROTATION], "
            "ellipse:RATIO[:ROTATION]."
        ),
    ] = "disk",
    highlights: Annotated[
        float, typer.Option(min=1.0, help="How many times brighter clipped lights are made before the blur.")
    ] = 4.0,
    quality: Annotated[
        str,
        typer.Option(
            metavar="fast|default|exact",
            help="fast: two passes; default: layers that occlude each other; exact: the mean of views, minutes.",
        ),
    ] = "default",
    refine: Annotated[
        bool,
        typer.Option("--refine", help="Move the edges of a coarse disparity (as MegaDepth's) to those of the photo."),
    ] = False,
    mask_model: Annotated[
        str,
        typer.Option(
            metavar="NAME|transformers:OWNER/MODEL",
            help="What finds the subject, see depthbokeh weights list; its weights are downloaded. auto: a network if "
            "its weights are here, or else grabcut; none where --disparity is given without --subject.",
        ),
    ] = "auto",
    depth_model: Annotated[
        str,
        typer.Option(
            metavar="NAME|transformers:OWNER/MODEL",
            help="What finds the depth, likewise. auto: a network if its weights are here, or else ground_plane; none "
            "where --mask is given.",
        ),
    ] = "auto",
    mask_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Checkpoint for --mask-model, instead of the published one.")
    ] = None,
    depth_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Checkpoint for --depth-model, instead of the published one.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|REPO",
            help="Both models with weights, from a saved pipeline: a folder, or its name on the Hugging Face hub.",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", help="Show networks larger photos in tiles of this size too, for detail; 768, say."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...; auto: a GPU if there is one.")] = "auto",
    max_size: Annotated[
        int | None, typer.Option(min=1, help="Reduce the photo to this many pixels on its longer side first.")
    ] = None,
    save_maps: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write mask, disparity and defocus there.")
    ] = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="Render all photos of a folder; those already rendered are skipped.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="With --batch: processes that share the photos and the processors.")
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Gives a photo the depth of field of a fast lens.

    Without --disparity and --mask networks find subject and depth. Without their weights the subject is cut out by
    colour (around the centre, or within --subject) and stands on level ground.
    """
    with _importing():
        from . import folder, jobs
        from .settings import Settings, parse_focus, parse_lens, parse_subject

    settings = Settings(
        focus=parse_focus(focus),
        subject=parse_subject(subject),
        strength=strength,
        lens=parse_lens(f_number, focal_length, sensor_width, focus_distance),
        aperture=aperture,
        highlights=highlights,
        quality=cast("Any", quality),  # checked there
        refine=refine,
        disparity_kind=cast("Any", disparity_kind),
        mask_model=mask_model,
        depth_model=depth_model,
        mask_weights=mask_weights,
        depth_weights=depth_weights,
        pipeline=weights,
        tile=tile,
        device=device,
        max_size=max_size,
        save_maps=save_maps,
        overwrite=overwrite,
    )
    if batch:
        failed = folder.render_folder(photo, output, disparity, mask, settings, workers=workers)
        raise typer.Exit(1 if failed else 0)
    jobs.render_file(jobs.Paths(photo, output, disparity, mask), settings, partial(typer.echo, err=True))


@app.command()
def fit(
    photo: Annotated[Path, typer.Argument(help="The picture all in focus.")],
    bokeh: Annotated[Path, typer.Argument(help="The same through an open lens.")],
    disparity: Annotated[Path | None, typer.Option(help="Disparity map of the photo, bright is near.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Mask of the subject, white is the subject.")] = None,
    aperture: Annotated[str, typer.Option(help="Shape of the blur, as for render.")] = "disk",
    focus: Annotated[
        str, typer.Option(metavar="X,Y|auto|VALUE", help="What is in focus, if it is known; auto finds it.")
    ] = "auto",
    max_size: Annotated[
        int | None, typer.Option(min=16, help="Reduce both to this many pixels on the longer side first.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--json", help="Also write the fit to this file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Finds the blur strength, focus and exposure with which the photo becomes the bokeh picture."""
    with _importing():
        from . import fit_job
        from .settings import parse_focus

    typer.echo(
        fit_job.fit_files(
            photo,
            bokeh,
            disparity,
            mask,
            aperture=aperture,
            focus=parse_focus(focus),
            max_size=max_size,
            output=output,
            overwrite=overwrite,
        )
    )


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")] = Path("depthbokeh-demo.png"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Renders a sample photo in several ways, without weights and network, and writes one sheet of all."""
    from .demo import write_sheet

    write_sheet(output, overwrite=overwrite)
    typer.echo(f"{output}")


@app.command()
def synthesize(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to; pairs that it holds are kept.")],
    pairs: Annotated[int, typer.Option(min=1, help="How many pairs the folder is to hold.")] = 500,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the pictures in pixels.")] = "768x512",
    seed: Annotated[int, typer.Option(min=0, help="Another number gives other pairs.")] = 0,
    aperture: Annotated[str, typer.Option(help="Shape of the blur, as for render.")] = "disk",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Rays per pixel. Default: as many as the blur needs.")
    ] = None,
    photos: Annotated[
        bool, typer.Option("--photos", help="Take half of the backdrops from scikit-image's sample photos.")
    ] = False,
    portraits: Annotated[
        bool, typer.Option("--portraits", help="One person in every picture, from the chest up, in focus.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one for every processor.")] = None,
) -> None:
    """Makes up pairs of pictures, all in focus and with exact bokeh, with disparity and mask, in EBB!'s layout."""
    from .data import synthesize as job

    recipe = job.Recipe(job.parse_size(size), seed, aperture, samples, photos, portraits)
    written = job.write_pairs(out, pairs, recipe, workers=workers)
    typer.echo(f"{out}: {written} pairs written, {pairs - written} were there")


app.command()(prepare)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(finetune)
app.command()(evaluate)
app.command("app")(serve)


@app.command()
def info() -> None:
    """Says which kernels run, with versions, and what is missing."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in describe().items():
        table.add_row(key, str(value))
    Console().print(table)


def describe() -> dict[str, Any]:
    """What ``depthbokeh info`` prints."""
    import platform
    import shutil

    import torch

    from . import _native, ops

    ops.load_operators()
    native = _native.load()
    compiler = next((path for path in map(shutil.which, ("c++", "g++", "clang++")) if path), None)
    return {
        "depthbokeh": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "CPU kernels": f"native C++ ({native.origin})" if native.loaded else f"reference, slower: {native.origin}",
        "library": native.path or "none",
        "build": ops.build_info() if native.loaded else "none",
        "CPU threads": torch.get_num_threads(),
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        "CUDA kernels": _describe_cuda(),
        "CUDA device": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "compiler": compiler or "none (needed where there is no prebuilt library)",
    }


def _describe_cuda() -> str:
    from . import ops

    if ops.has_kernels("cuda"):
        return "in the library"
    return "none; CUDA tensors run the reference, slower (with nvcc on PATH, DEPTHBOKEH_CUDA=1 compiles them)"


if __name__ == "__main__":
    main()
