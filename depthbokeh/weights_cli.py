"""The command ``depthbokeh weights``: list, get, path."""

from __future__ import annotations

import os
from typing import Annotated

import typer

app = typer.Typer(name="weights", help="Published weights of mask and depth models.", no_args_is_help=True)

_Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of models, as 'weights list' has them.")]


@app.command("list")
def list_weights() -> None:
    """Says which weights are published, under which licence, and whether they are here."""
    from .models.weights import WeightsError, find_cached_weights
    from .models.weights_table import WEIGHTS

    for name, weights in WEIGHTS.items():
        try:
            state = "here" if find_cached_weights(name) else "not here"
        except WeightsError as error:
            state = f"broken: {error}"
        digest = (
            "whole SHA-256 known to the Hub" if weights.repo else "no published SHA-256, the first download's is kept"
        )
        about = [
            f"{weights.mebibytes:.1f} MiB" if weights.mebibytes else "",
            f"SHA-256 {weights.sha256}..." if weights.sha256 else digest,
            weights.licence,
        ]
        typer.echo(f"{name}: {state}\n    {', '.join(filter(None, about))}\n    {weights.source}")


@app.command()
def get(
    names: _Names,
    offline: Annotated[bool, typer.Option("--offline", help="Only check what is here; download nothing.")] = False,
) -> None:
    """Downloads published weights, unless they are here, and prints their paths."""
    from .models.weights import get_weights, look_up_weights

    if offline:
        os.environ["DEPTHBOKEH_OFFLINE"] = "1"
    for name in names:  # a mistake in the last name is told before the first is downloaded
        look_up_weights(name)
    for name in names:
        typer.echo(get_weights(name))


@app.command()
def path(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a model, as 'weights list' has it.")],
) -> None:
    """Prints where the weights of a model lie; fails if they are not here."""
    from .models.weights import WeightsError, find_cached_weights, look_up_weights

    look_up_weights(name)
    found = find_cached_weights(name)
    if found is None:
        raise WeightsError(f"the weights of {name!r} are not here: 'depthbokeh weights get {name}' downloads them")
    typer.echo(found)
