"""Which models serve where none is named: networks whose weights are here, or else what needs none."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from torch import nn

from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.registry import create_depth_model, create_mask_model
from depthbokeh.models.weights import find_cached_weights

_REQUIRES = {"depth_anything_v2": "transformers"}


class _Kind(NamedTuple):
    name: str
    create: Callable[..., nn.Module]
    networks: tuple[str, ...]  # best first; the last is the one to recommend
    fallback: str  # needs no weights
    consequence: str


_MASK = _Kind(
    "mask",
    create_mask_model,
    ("deeplabv3_resnet50", "mask_rcnn_resnet50_fpn"),
    "grabcut",
    "the subject is cut out by colour",
)
_DEPTH = _Kind(
    "depth",
    create_depth_model,
    ("depth_anything_v2", "megadepth"),
    "ground_plane",
    "the subject is taken to stand on level ground",
)


def choose_mask_model(name: str = "auto", weights: Path | None = None) -> tuple[nn.Module, str | None]:
    """Create a mask model, in evaluation mode.

    Args:
        name: A name of :func:`depthbokeh.models.list_mask_models`; its published weights are downloaded if they are not
            here. ``"auto"`` takes the best one whose weights are here, or else ``"grabcut"``, and downloads nothing.
        weights: A checkpoint to load instead of the published one.

    Returns:
        The model, and a line for the user if there were no weights for ``"auto"``.

    Raises:
        ValueError: There is no such model.
        CheckpointError: The weights cannot be had, or are another model's.

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
            advice = f"depthbokeh weights get {kind.networks[-1]}"
            note = f"no weights of a {kind.name} model are here, so {kind.consequence}; `{advice}` fetches some"
    pretrained = weights if weights is not None else name != kind.fallback
    return kind.create(name, pretrained=pretrained).eval(), note


def _is_ready(name: str) -> bool:
    required = _REQUIRES.get(name)
    return (required is None or find_spec(required) is not None) and find_cached_weights(name) is not None
