"""The state of a training in one file: written whole or not at all, and read without running what it contains."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

from depthbokeh.files import PhotoError, atomic_path
from depthbokeh.models.checkpoints import CheckpointError

_FORMAT = 2
_NAME = re.compile(r"step_(\d{8})\.pt")
# The whole state on the CPU, whether or not the parameters are shards on several GPUs.
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
# A parameter that no photo has given a gradient yet has no moments.
_WHAT_IS_THERE = StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)


def collect_state(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """The state of model and optimizer; all processes call it, the first one gets the whole."""
    parameters, moments = get_state_dict(model, optimizer, options=_WHOLE)
    return {"model": parameters, "optimizer": moments}


def restore_state(model: nn.Module, optimizer: Optimizer, state: dict[str, Any], source: Path) -> None:
    """Put back what :func:`collect_state` took.

    Raises:
        CheckpointError: If the state is another model's.
    """
    try:
        set_model_state_dict(model, state["model"], options=_WHOLE)
        set_optimizer_state_dict(model, optimizer, state["optimizer"], options=_WHAT_IS_THERE)
        _forget_moments(model, optimizer, state["optimizer"]["state"])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{source}: the state of another model or optimizer: {reason}") from error


def _forget_moments(model: nn.Module, optimizer: Optimizer, known: dict[str, Any]) -> None:
    """Drops the moments that torch makes up for parameters whose state had none."""
    for name, parameter in model.named_parameters():
        if name.removeprefix("module.") not in known:  # DistributedDataParallel's prefix is not part of a state
            optimizer.state.pop(parameter, None)


def collect_random() -> dict[str, Tensor]:
    """The states of this process's random generators, the CPU's and its GPU's."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random(states: dict[str, Tensor]) -> None:
    """Put back what :func:`collect_random` took; a state of a GPU that is not here is left out."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def write_state(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write a step's state and remove all but the last ``keep``.

    Raises:
        PhotoError: If the file cannot be written; those that exist stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{step:08}.pt"
    with atomic_path(path, overwrite=True) as temporary:
        try:
            with temporary.open("wb") as stream:
                torch.save({"format": _FORMAT, "step": step, **state}, stream)
                stream.flush()
                os.fsync(stream.fileno())
        except RuntimeError as error:  # torch's writer tells of a full disk in this way
            raise PhotoError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from error
    for older in list_states(folder)[:-keep]:
        older.unlink(missing_ok=True)
    return path


def list_states(folder: Path) -> list[Path]:
    """The states in a folder, the oldest first."""
    return sorted(path for path in folder.glob("step_*.pt") if _NAME.fullmatch(path.name))


def read_state(path: Path) -> dict[str, Any]:
    """Read a state.

    Raises:
        CheckpointError: If the file cannot be read or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file raises nearly anything
        raise CheckpointError(f"{path}: cannot be read as the state of a training: {error}") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != _FORMAT:
        raise CheckpointError(f"{path}: a state of format {found!r}, expected {_FORMAT}")
    return dict(state)
