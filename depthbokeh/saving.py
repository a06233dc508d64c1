"""A pipeline as a folder: its settings in words, its weights as safetensors."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn

from .files import PhotoError, atomic_path
from .models import create_depth_model, create_mask_model
from .models.checkpoints import CheckpointError, load_checkpoint, read_checkpoint, save_checkpoint
from .models.download import quiet_hub
from .models.registry import find_recipe
from .models.weights import is_offline
from .render import BokehRenderer

if TYPE_CHECKING:
    from .pipeline import BokehPipeline

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_FORMAT = 1  # grows when older versions could not read the folder any more
_PARTS = {"mask_model": create_mask_model, "depth_model": create_depth_model}
_Pipeline = TypeVar("_Pipeline", bound="BokehPipeline")


def save_pipeline(pipeline: BokehPipeline, folder: str | os.PathLike[str], *, overwrite: bool) -> None:
    """See :meth:`depthbokeh.pipeline.BokehPipeline.save_pretrained`."""
    folder = Path(folder)
    config: dict[str, Any] = {
        "format": _FORMAT,
        "renderer": _describe_renderer(pipeline.renderer),
        "strength": pipeline.strength,
        "refine": pipeline.refine,
        "reduce_large": pipeline.reduce_large,
        "tile": pipeline.tile,
    }
    for part in _PARTS:
        config[part] = _describe_model(part, getattr(pipeline, part))
    try:
        text = json.dumps(config, indent=2, default=os.fspath) + "\n"
    except TypeError as error:
        raise ValueError(f"an option of a model cannot be written as JSON: {error}") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{folder}: cannot be made: {error.strerror}") from error
    # The weights first: a folder with settings is a whole one.
    try:
        save_checkpoint(pipeline, folder / _WEIGHTS, overwrite=overwrite)
    except CheckpointError as error:
        raise PhotoError(str(error)) from error
    with atomic_path(folder / _CONFIG, overwrite=overwrite) as path:
        path.write_text(text)


def load_pipeline(kind: type[_Pipeline], source: str | os.PathLike[str]) -> _Pipeline:
    """See :meth:`depthbokeh.pipeline.BokehPipeline.from_pretrained`."""
    folder = Path(source) if Path(source).is_dir() else _download(str(source))
    config = _read_config(folder / _CONFIG)
    try:
        models = {part: _create(part, config[part]) for part in _PARTS}
        pipeline = kind(
            BokehRenderer(**config["renderer"]),
            models["mask_model"],
            models["depth_model"],
            strength=float(config["strength"]),
            refine=bool(config["refine"]),
            reduce_large=bool(config["reduce_large"]),
            tile=config["tile"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / _CONFIG}: not the settings of a pipeline: {error}") from error
    # A pipeline of models without weights has an empty file, which is no checkpoint.
    if pipeline.state_dict():
        load_checkpoint(pipeline, read_checkpoint(folder / _WEIGHTS), folder / _WEIGHTS)
    return pipeline.eval()


def _describe_renderer(renderer: BokehRenderer) -> dict[str, Any]:
    names = [name for name in inspect.signature(BokehRenderer).parameters if name != "aperture"]
    return {"aperture": renderer.aperture.name, **{name: getattr(renderer, name) for name in names}}


def _describe_model(part: str, model: nn.Module | None) -> dict[str, Any] | None:
    if model is None:
        return None
    recipe = find_recipe(model)
    if recipe is None:
        raise ValueError(f"{part} is a {type(model).__name__}: expected one created by its name, as it would be again")
    return {"name": recipe.name, "options": dict(recipe.options)}


def _create(part: str, recipe: Any) -> nn.Module | None:
    return None if recipe is None else _PARTS[part](recipe["name"], **recipe["options"])


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    found = config.get("format") if isinstance(config, dict) else None
    if found != _FORMAT:
        raise CheckpointError(f"{path}: settings of format {found!r}, expected {_FORMAT}")
    return dict(config)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        with quiet_hub():
            return Path(snapshot_download(name, allow_patterns=[_CONFIG, _WEIGHTS], local_files_only=is_offline()))
    except (HFValidationError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"{name}: neither a folder nor to be had from the Hugging Face hub: {reason}") from error
