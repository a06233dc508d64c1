"""Reading checkpoints, without running what they contain, loading them key for key, and writing them."""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depthbokeh.files import PhotoError, atomic_path, describe_error, open_stream

# Under these names training scripts wrap the state dict.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state")
_NAMED = 4  # keys that a message names; the others are counted


class CheckpointError(ValueError):
    """A file that is no checkpoint, or not one of this model, told in words for the user."""


def read_checkpoint(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Reads a state dict; nothing that the file contains is run.

    A state dict wrapped in a training script's dictionary is taken out of it, and the prefix ``module.`` that
    ``DataParallel`` gives all keys is taken off.

    Args:
        path: ``.safetensors``, or a file of ``torch.save``.

    Returns:
        The tensors by key, on the CPU.

    Raises:
        CheckpointError: The file cannot be read, or holds something else than tensors by key.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"state_dict": {"module.weight": torch.zeros(2)}}, f"{folder}/old.pth")
        ...     read_checkpoint(f"{folder}/old.pth")
        {'weight': tensor([0., 0.])}
    """
    path = Path(path)
    try:
        size = _measure(path)
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, size)
    except PhotoError as error:
        raise CheckpointError(str(error)) from error
    except Exception as error:  # a broken file raises nearly anything
        raise CheckpointError(f"{path}: cannot be read as a checkpoint: {_explain(error)}") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds {_describe(content)}, expected tensors by key (a state dict)")
    odd = [key for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if odd:
        raise CheckpointError(f"{path}: {odd[0]!r} is {_describe(content[odd[0]])}, expected a tensor by its name")
    _refuse_claims(path, content, size)
    if all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)


def load_checkpoint(model: nn.Module, state: Mapping[str, Tensor], source: object) -> None:
    """Loads a state dict whose keys and shapes are exactly the model's.

    BatchNorm's ``num_batches_tracked``, which checkpoints from before 2018 lack, may be missing.

    Args:
        model: What is loaded into; as it was if the state does not fit.
        state: Tensors by key.
        source: Where they come from, for the message.

    Raises:
        CheckpointError: A key is missing or unknown, or a tensor has another shape.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> load_checkpoint(model, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, "a test")
        >>> model.weight.tolist()
        [[1.0, 1.0]]
    """
    own = model.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and value.shape != own[key].shape
    ]
    faults = [
        f"{kind}: {_enumerate(names)}"
        for kind, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if names
    ]
    if faults:
        raise CheckpointError(f"{source}: not a checkpoint of {type(model).__name__}; {'; '.join(faults)}")
    model.load_state_dict(state, strict=False)


def save_checkpoint(
    model: nn.Module | Mapping[str, Tensor],
    path: str | PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a model's state dict as safetensors, completely or not at all.

    Tensors that share memory are written one by one, so that the file has every key.

    Args:
        model: A model, or tensors by key.
        path: A file that ends in ``.safetensors``.
        metadata: Texts by name, which `read_metadata` gives back.
        overwrite: Whether an existing file is replaced.

    Raises:
        CheckpointError: The name ends otherwise, a value is no dense tensor, or the file exists or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(torch.nn.Linear(2, 1), f"{folder}/a.safetensors", metadata={"name": "linear"})
        ...     sorted(read_checkpoint(f"{folder}/a.safetensors")), read_metadata(f"{folder}/a.safetensors")
        (['bias', 'weight'], {'name': 'linear'})
    """
    from safetensors.torch import save_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: ends in {path.suffix!r}, expected .safetensors")
    state = model.state_dict() if isinstance(model, nn.Module) else model
    odd = [key for key, value in state.items() if not isinstance(value, Tensor) or value.layout != torch.strided]
    if odd:
        raise CheckpointError(f"{path}: {odd[0]!r} is {_describe(state[odd[0]])}, expected a dense tensor")
    copies = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    try:
        with atomic_path(path, overwrite=overwrite) as temporary:
            mode = temporary.stat().st_mode
            save_file(copies, temporary, metadata=dict(metadata or {}))
            temporary.chmod(mode)  # it has made a file of its own, for its owner alone
    except PhotoError as error:
        raise CheckpointError(str(error)) from error


def read_metadata(path: str | PathLike[str]) -> dict[str, str]:
    """Reads the texts that `save_checkpoint` wrote beside the tensors.

    Args:
        path: ``.safetensors``.

    Returns:
        Texts by name, {} if there are none.

    Raises:
        CheckpointError: The file cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint({"gain": torch.ones(1)}, f"{folder}/gain.safetensors")
        ...     read_metadata(f"{folder}/gain.safetensors")
        {}
    """
    from safetensors import safe_open

    path = Path(path)
    try:
        _measure(path)
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except PhotoError as error:
        raise CheckpointError(str(error)) from error
    except Exception as error:
        raise CheckpointError(f"{path}: cannot be read as a checkpoint: {_explain(error)}") from error


def _read_safetensors(path: Path) -> object:
    from safetensors.torch import load_file

    return load_file(path)


def _measure(path: Path) -> int:
    with open_stream(path) as stream:
        return os.fstat(stream.fileno()).st_size


def _read_torch(path: Path, size: int) -> object:
    with path.open("rb") as stream:
        if stream.read(4) == b"PK\3\4":
            # torch.save does not compress; a bomb does, or names the same bytes many times.
            unpacked = sum(record.file_size for record in zipfile.ZipFile(stream).infolist())
            if unpacked > size:
                raise ValueError(f"unpacks to {unpacked} bytes, more than the file has ({size})")
    with warnings.catch_warnings():  # of other kinds of file, which are refused, and of other pickle protocols
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _refuse_claims(path: Path, state: Mapping[str, Tensor], size: int) -> None:
    """Raises if a tensor is of a kind that does not hold its values, or all hold more than the file does."""
    held: dict[int, int] = {}
    for key, value in state.items():
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise CheckpointError(f"{path}: {key!r} is sparse, quantized or empty of values, expected a dense tensor")
        storage = value.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        if value.numel() * value.element_size() > storage.nbytes():
            raise CheckpointError(f"{path}: {key!r} claims to be {tuple(value.shape)}, more than the file has of it")
    if sum(held.values()) > size:
        raise CheckpointError(f"{path}: claims {sum(held.values())} bytes of tensors, more than the file has ({size})")


def _explain(error: Exception) -> str:
    """What is wrong, without the advice to switch the safety off that torch gives."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"GLOBAL (\S+)", text)
        if found:
            return f"it would make Python objects ({found[1][:80]}), expected nothing but tensors"
        return "it is no file of torch.save, or holds more than tensors"
    if isinstance(error, EOFError):
        return "it ends too early"
    return re.split(r"(?<=[.?]) ", describe_error(error))[0]


def _describe(content: Any) -> str:
    return "nothing" if isinstance(content, Mapping) and not content else f"a {type(content).__name__}"


def _enumerate(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
