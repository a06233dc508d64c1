"""From a configuration to what is trained: pairs, models, lens."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from depthbokeh.data.augment import Augmentation
from depthbokeh.data.ebb import EBBDataset, TrainingItems
from depthbokeh.files import PhotoError, atomic_path
from depthbokeh.models import create_depth_model, create_mask_model
from depthbokeh.pipeline import BokehPipeline
from depthbokeh.render import BokehRenderer
from depthbokeh.training.config import FinetuneConfig, read_config
from depthbokeh.training.finetune import Trainer
from depthbokeh.training.lens import LensParameters, LensQuantity
from depthbokeh.training.model import LearnedPipeline

CONFIG = "config.yaml"
_LEAST_RADIUS = 0.5


def build_trainer(config: FinetuneConfig, run: Path) -> Trainer:
    """Everything that the configuration names, ready to train.

    The seed decides on fresh weights and on all that is drawn while training: torch's, numpy's and Python's generators
    are set by it.

    Raises:
        ValueError: If a name or an option is unknown.
        PhotoError: If there are no pairs.
        CheckpointError: If weights cannot be had or do not fit.
    """
    from accelerate.utils import set_seed

    least = config.strength * max(config.size) * config.gap
    if config.train_mask and config.mask_gradient and least < _LEAST_RADIUS:
        raise ValueError(
            f"strength is {config.strength:g}, gap {config.gap:g}: blurs what is not subject by {least:.2f} px at "
            f"first, expected at least {_LEAST_RADIUS} px: a smaller disk lies within its pixel, and nothing is learned"
        )
    train_set = load_pairs(config, config.train_split, training=True)
    validation_set = None if config.val_split == "none" else load_pairs(config, config.val_split, training=False)
    set_seed(config.seed)
    trainer = Trainer(build_model(config, len(train_set)), config, train_set, validation_set, run)
    # Dropout must not be the same in all processes.
    set_seed(config.seed, device_specific=True)
    return trainer


def build_model(config: FinetuneConfig, photos: int) -> LearnedPipeline:
    """The pipeline and its lens, for so many photos to learn from; fresh weights are drawn from torch's generator."""
    try:
        mask_model = create_mask_model(
            config.mask_model, pretrained=_find_pretrained(config.mask_weights), **config.mask_options
        )
    except TypeError as error:
        raise ValueError(f"mask_options are {config.mask_options}: {error}") from error
    if not config.train_mask:
        mask_model.requires_grad_(False)
    depth_model: nn.Module | None = None
    if config.depth_model is not None:
        depth_model = create_depth_model(config.depth_model, pretrained=_find_pretrained(config.depth_weights))
        depth_model.requires_grad_(config.train_depth)
    renderer = BokehRenderer(config.aperture, layers=config.layers, quality=config.quality)
    lens = LensParameters(
        strength=config.strength,
        photos=photos,
        learned=cast("tuple[LensQuantity, ...]", config.learn),
        per_photo=cast("tuple[LensQuantity, ...]", config.learn_per_photo),
    )
    return LearnedPipeline(
        BokehPipeline(renderer, mask_model, depth_model),
        lens,
        mask_gradient=config.mask_gradient,
        gap=config.gap,
        checkpointing=config.checkpointing,
    )


def load_pairs(config: FinetuneConfig, split: str, *, training: bool) -> TrainingItems:
    """The pairs of a split; those to learn from are augmented."""
    augmentation = Augmentation(crop=config.crop, **config.augment) if training else None
    pairs = EBBDataset(
        config.data,
        parse_split(split),
        layout=config.layout,
        size=config.size,
        augmentation=augmentation,
        seed=config.seed,
        disparity=None if config.disparity == "none" else config.disparity,
    )
    if config.disparity == "none":
        pairs.pairs = tuple(replace(pair, disparity=None) for pair in pairs.pairs)
    return TrainingItems(pairs)


def parse_split(text: str) -> str | list[str]:
    """A split's name as it is, or the ids that ``12-40`` stands for.

    Example:
        >>> parse_split("val294"), parse_split("8-11")
        ('val294', ['8', '9', '10', '11'])
    """
    ids = re.fullmatch(r"(\d+)-(\d+)", text)
    return text if ids is None else [str(number) for number in range(int(ids[1]), int(ids[2]) + 1)]


def open_run(run: Path, settings: dict[str, Any], *, resume: bool) -> FinetuneConfig:
    """The configuration of a run: one that goes on keeps it in its folder.

    Args:
        run: The folder.
        settings: What is asked for now; for a run that goes on, what of it differs is refused.
        resume: Whether the run goes on.

    Raises:
        PhotoError: If the folder holds a run and is not to go on, or holds none and is to.
        ValueError: If settings are unknown, out of range or not those of the run.
    """
    path = run / CONFIG
    if resume:
        if not path.is_file():
            raise PhotoError(f"{path}: no such file, so there is no run to go on with")
        config = FinetuneConfig.from_dict(read_config(path))
        asked = {**config.to_dict(), **settings}
        if FinetuneConfig.from_dict(asked).to_dict() != config.to_dict():
            changed = [name for name in settings if asked[name] != config.to_dict()[name]]
            raise ValueError(f"{changed[0]} is not what the run was begun with: expected the same, or another --run")
        return config
    # Of several processes the first begins the folder, perhaps before the others come to look.
    if path.exists() and os.environ.get("RANK", "0") == "0":
        raise PhotoError(f"{run}: holds a run already; --resume goes on with it")
    return FinetuneConfig.from_dict(settings)


def keep_config(config: FinetuneConfig, run: Path) -> None:
    """Begin a run's folder with its configuration.

    Raises:
        PhotoError: If the folder cannot be made or written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{run}: cannot be made: {error.strerror}") from error
    with atomic_path(run / CONFIG, overwrite=False) as temporary:
        temporary.write_text(_to_yaml(config), encoding="utf-8")


def _to_yaml(config: FinetuneConfig) -> str:
    import yaml

    # Through JSON: plain lists and numbers, no tags of Python.
    return str(yaml.safe_dump(json.loads(json.dumps(config.to_dict())), sort_keys=False))


def _find_pretrained(weights: str | None) -> bool | str:
    return False if weights is None else weights == "published" or weights
