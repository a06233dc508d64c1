"""The command ``depthbokeh finetune``: every setting of a configuration as a flag."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

# Of which the settings are shown with words, and not as this file would have to repeat them.
_FLAG = re.compile(r"--([a-z0-9_-]+)(?:=(.*))?")


def finetune(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of the run: configuration, checkpoints, log, pictures, best.")],
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings as YAML; flags go before them.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run, from its last checkpoint.")] = False,
    settings: Annotated[bool, typer.Option("--settings", help="List all settings with their defaults.")] = False,
) -> None:
    """Fine-tunes a mask model on pairs of photographs, through the renderer.

    Every setting is a flag: depthbokeh finetune RUN --data EBB --mask-model deeplab_vgg16 --steps 20000 --lr 1e-4. With
    accelerate launch or torchrun before it, the same command shares the work between processes.
    """
    from .training.config import FinetuneConfig, read_config

    if settings:
        for name, text in describe_settings():
            typer.echo(f"--{name.replace('_', '-')}: {text}")
        return
    told = {**(read_config(config) if config else {}), **parse_flags(context.args)}
    from .training import finetune as trainer
    from .training.setup import build_trainer, keep_config, open_run

    chosen: FinetuneConfig = open_run(run, told, resume=resume)
    try:
        training = build_trainer(chosen, run)
    except ImportError as error:
        raise ValueError(f"fine-tuning needs the extra [train]: {error}; pip install 'depthbokeh[train]'") from error
    if not resume and training.is_main:
        keep_config(chosen, run)
    if resume:
        typer.echo(f"{run}: goes on from step {training.resume()}", err=True)
    try:
        outcome = training.train()
    except trainer.TrainingError as error:
        raise ValueError(str(error)) from error
    typer.echo(f"{run}: {outcome.reason} at step {outcome.step}")


def parse_flags(arguments: list[str]) -> dict[str, Any]:
    """Read ``--name value``, ``--name=value`` and ``--name`` (true) for the settings of a configuration.

    Values are read as YAML reads them, so ``--crop 384,512`` is a list and ``--lens-lr 1e-2`` a number; ``--loss-ssim``
    and ``--augment-exposure`` are parts of ``loss`` and ``augment``.

    Raises:
        ValueError: If there is something else.

    Example:
        >>> parse_flags(["--lr", "1e-4", "--crop=384,512", "--train-depth", "--loss-ssim", "0.2"])
        {'lr': 0.0001, 'crop': [384, 512], 'train_depth': True, 'loss': {'ssim': 0.2}}
    """
    told: dict[str, Any] = {}
    rest = iter(arguments)
    pending = next(rest, None)
    while pending is not None:
        flag = _FLAG.fullmatch(pending)
        if flag is None:
            raise ValueError(f"argument {pending!r}: expected --name value, see --settings")
        name, value = flag[1].replace("-", "_"), flag[2]
        pending = next(rest, None)
        if value is None and pending is not None and not pending.startswith("--"):
            value, pending = pending, next(rest, None)
        parsed = True if value is None else _parse_value(value)
        group, _, part = name.partition("_")
        if group in ("loss", "augment") and part:
            told.setdefault(group, {})[part] = parsed
        else:
            told[name] = parsed
    return told


def describe_settings() -> Iterator[tuple[str, str]]:
    """The settings' names, and what is said of each with its default."""
    from .training.config import FinetuneConfig

    defaults = FinetuneConfig().to_dict()
    text = inspect.getdoc(FinetuneConfig) or ""
    for entry in re.finditer(r"^    (\w+): (.*(?:\n        .*)*)", text, re.MULTILINE):
        words = " ".join(entry[2].split()).replace("``", "")
        yield entry[1], f"{words} Default: {json.dumps(defaults[entry[1]])}."


def _parse_value(text: str) -> Any:
    import yaml

    if re.fullmatch(r"[\w.-]+(,[\w.-]+)+", text):
        return [_parse_value(part) for part in text.split(",")]
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"value {text!r} cannot be read: {error}") from error
    if isinstance(value, str):  # YAML takes 1e-4 for a word
        try:
            return float(value)
        except ValueError:
            return value
    return value
