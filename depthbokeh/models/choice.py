"""Which models serve where none is named: networks whose weights are here, or else what needs none."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.registry import create_depth_model, create_mask_model, list_depth_models, list_mask_models
from depthbokeh.models.weights import find_cached_weights
from depthbokeh.models.weights_table import WEIGHTS

_REQUIRES = {"depth_anything_v2": "transformers"}
_WITHOUT_WEIGHTS = ("grabcut", "ground_plane")
_SOURCES = ("from_file", "from_callable", "from_transformers")  # what they read is no checkpoint
_HUB = "transformers:"


class _Kind(NamedTuple):
    name: str
    create: Callable[..., nn.Module]
    list_all: Callable[[], list[str]]
    networks: tuple[str, ...]  # best first
    fallback: str  # needs no weights
    consequence: str


_MASK = _Kind(
    "mask",
    create_mask_model,
    list_mask_models,
    ("mask_rcnn_resnet50_fpn", "deeplabv3_resnet50"),
    "grabcut",
    "the subject is cut out by colour",
)
_DEPTH = _Kind(
    "depth",
    create_depth_model,
    list_depth_models,
    ("depth_anything_v2", "megadepth"),
    "ground_plane",
    "the subject is taken to stand on level ground",
)


def choose_mask_model(name: str = "auto", weights: Path | None = None) -> tuple[nn.Module, str | None]:
    """Create a mask model, in evaluation mode.

    Args:
        name: A name of :func:`depthbokeh.models.list_mask_models`; its published weights are downloaded if they are not
            here. ``"transformers:OWNER/MODEL"`` is a network of the Hugging Face hub, or ``"transformers:FOLDER"``.
            ``"auto"`` takes the best one whose weights are here, or else ``"grabcut"``, and downloads nothing.
        weights: A checkpoint to load instead of the published one.

    Returns:
        The model, and a line for the user if there were no weights for ``"auto"``.

    Raises:
        ValueError: There is no such model, or it is no network that finds masks.
        CheckpointError: The weights cannot be had, or are another model's, or what runs the model is not installed.

    Example:
        >>> model, note = choose_mask_model("grabcut")
        >>> type(model).__name__, note
        ('GrabCut', None)
    """
    return _choose(_MASK, name, weights)


def choose_depth_model(name: str = "auto", weights: Path | None = None) -> tuple[nn.Module, str | None]:
    """Create a depth model, as :func:`choose_mask_model` does a mask model; without weights ``"ground_plane"``.

    Example:
        >>> model, note = choose_depth_model("ground_plane")
        >>> type(model).__name__, note
        ('GroundPlane', None)
    """
    return _choose(_DEPTH, name, weights)


def _choose(kind: _Kind, name: str, weights: Path | None) -> tuple[nn.Module, str | None]:
    note = None
    if name == "auto":
        if weights is not None:
            raise CheckpointError(f"{weights}: weights of which {kind.name} model? Expected its name beside them")
        name = next(filter(_is_ready, kind.networks), kind.fallback)
        if name == kind.fallback:
            # One that runs as it comes, without an extra.
            advised = next(network for network in kind.networks if network not in _REQUIRES)
            advice = f"depthbokeh weights get {advised}"
            note = f"no weights of a {kind.name} model are here, so {kind.consequence}; `{advice}` fetches some"
    try:
        return _create(kind, name, weights).eval(), note
    except ImportError as error:  # an extra that is not installed
        raise CheckpointError(f"{kind.name} model {name!r}: {error}") from error


def _create(kind: _Kind, name: str, weights: Path | None) -> nn.Module:
    source = name.removeprefix(_HUB) if name.startswith(_HUB) else None
    if weights is not None and (source or name in _WITHOUT_WEIGHTS):
        reason = "brings its own" if source else "has none"
        raise CheckpointError(f"{weights}: weights of the {kind.name} model {name!r}, which {reason}")
    if source:
        return kind.create("from_transformers", model=source)
    usable = [*(known for known in kind.list_all() if known not in _SOURCES), f"{_HUB}OWNER/MODEL"]
    if name in _SOURCES or name not in kind.list_all():
        raise ValueError(f"{kind.name} model is {name!r}: expected auto, {', '.join(usable)}")
    pretrained: Any = weights if weights is not None else name not in _WITHOUT_WEIGHTS
    try:
        return kind.create(name, pretrained=pretrained)
    except CheckpointError as error:
        if pretrained is not True or name in WEIGHTS:
            raise
        published = [known for known in kind.list_all() if known in WEIGHTS]
        raise CheckpointError(
            f"there are no published weights of the {kind.name} model {name!r}: expected a checkpoint of it beside its "
            f"name, or another model: auto, {kind.fallback}, {', '.join(published)}"
        ) from error


def _is_ready(name: str) -> bool:
    required = _REQUIRES.get(name)
    return (required is None or find_spec(required) is not None) and find_cached_weights(name) is not None
