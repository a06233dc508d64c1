"""Published weights: whether they are here, and how they get here.

Files lie where torch.hub keeps its checkpoints (``TORCH_HOME``) or in the Hugging Face cache (``HF_HOME``), so that
what other programs have downloaded is found. Nothing is downloaded while ``DEPTHBOKEH_OFFLINE`` or ``HF_HUB_OFFLINE``
is set to 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import torch

from depthbokeh.models.checkpoints import CheckpointError, read_checkpoint
from depthbokeh.models.download import DownloadError, download_file, find_partials, hash_file, quiet_hub
from depthbokeh.models.registry import Pretrained
from depthbokeh.models.weights_table import WEIGHTS, PublishedWeights

_TRUE = ("1", "on", "yes", "true")


class WeightsError(CheckpointError):
    """Published weights that are not here and cannot be had, or are not what was published."""


def find_weights(model: str, pretrained: Pretrained) -> Path | None:
    """Returns the checkpoint that ``pretrained`` asks for, downloaded if need be.

    Args:
        model: The model's name.
        pretrained: ``False`` for none, ``True`` for the published ones, or a checkpoint's path.

    Raises:
        CheckpointError: The file does not exist.
        WeightsError: There are no published weights, they cannot be downloaded, or the file that lies in their place is
            another one.

    Example:
        >>> find_weights("megadepth", False) is None
        True
    """
    if pretrained is False:
        return None
    if pretrained is True:
        return find_cached_weights(model) or get_weights(model)
    path = Path(pretrained)
    if not path.is_file():
        raise CheckpointError(f"pretrained is {str(path)!r}: no such file")
    return path


def find_cached_weights(model: str) -> Path | None:
    """Returns the published weights of a model if they are here already; never touches the network.

    Args:
        model: The model's name.

    Returns:
        The file, its hash checked, or ``None``, also for a model without published weights.

    Raises:
        WeightsError: The file is not the published one.

    Example:
        >>> find_cached_weights("ground_plane") is None
        True
    """
    weights = WEIGHTS.get(model)
    path = _cached(weights) if weights else None
    if weights is None or path is None:
        return None
    try:
        _check(weights, path)
    except CheckpointError as error:
        raise WeightsError(f"{error}; 'depthbokeh weights get {model}' replaces it") from error
    return path


def get_weights(model: str) -> Path:
    """Returns the published weights of a model, downloaded unless the right file is here already.

    Args:
        model: The model's name.

    Raises:
        WeightsError: There are none, they cannot be downloaded, or what comes is not what was published; it is deleted
            then. A download that breaks off goes on where it stopped when it is tried again.
    """
    weights = look_up_weights(model)
    try:
        if (path := find_cached_weights(model)) is not None:
            return path
    except WeightsError:
        if is_offline():
            raise
    if is_offline():
        raise WeightsError(
            f"the weights of {model!r} are not here and downloading is switched off (DEPTHBOKEH_OFFLINE, "
            f"HF_HUB_OFFLINE or --offline): {_advise(weights)}"
        )
    try:
        return _get_from_hub(weights) if weights.repo else _get_from_url(weights)
    except (DownloadError, OSError) as error:
        partials = [] if weights.repo else find_partials(_place(weights))
        kept = f"; the next attempt goes on from {partials[0].stat().st_size >> 20} MiB" if partials else ""
        raise WeightsError(
            f"the weights of {model!r} cannot be downloaded: {error}{kept}; or {_advise(weights)}"
        ) from error


def look_up_weights(model: str) -> PublishedWeights:
    """Returns the entry of a model in the table of published weights.

    Args:
        model: The model's name.

    Raises:
        WeightsError: There is none.

    Example:
        >>> look_up_weights("megadepth").licence
        'MIT'
    """
    if model not in WEIGHTS:
        raise WeightsError(
            f"there are no published weights of {model!r}: expected a checkpoint's path, or one of {', '.join(WEIGHTS)}"
        )
    return WEIGHTS[model]


def is_offline() -> bool:
    """Whether downloading is switched off, by ``DEPTHBOKEH_OFFLINE=1`` or ``HF_HUB_OFFLINE=1``."""
    return any(os.environ.get(name, "").lower() in _TRUE for name in ("DEPTHBOKEH_OFFLINE", "HF_HUB_OFFLINE"))


def _place(weights: PublishedWeights) -> Path:
    """Where torch.hub keeps the file too."""
    return Path(torch.hub.get_dir(), "checkpoints", weights.file)


def _cached(weights: PublishedWeights) -> Path | None:
    if weights.repo is None:
        return place if (place := _place(weights)).exists() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(weights.repo, weights.file)
    return Path(found) if isinstance(found, str) else None


def _advise(weights: PublishedWeights) -> str:
    if weights.repo:
        return f"give the path of a copy of {weights.url}/blob/main/{weights.file} as checkpoint"
    return f"put the file from {weights.url} at {_place(weights)}"


def _check(weights: PublishedWeights, path: Path) -> None:
    """Compares a file with its published hash, the Hub's, or the one it had when it first came."""
    try:
        status = path.stat()
        digest = _hash_cached(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    expected = _hub_hash(path) if weights.repo else weights.sha256 or _recorded_hash(weights)
    if expected is None:
        read_checkpoint(path)  # nothing but weights is kept, whoever sent it
        if not weights.repo:
            _record_hash(weights, digest)
    elif not expected or not digest.startswith(expected):
        first = "" if weights.sha256 or weights.repo else f" of the first download (noted in {_record(weights)})"
        raise WeightsError(
            f"{path}: not the published weights of {weights.name!r}: SHA-256 {digest[:16]}..., "
            f"expected {expected[:16]}...{first}"
        )


@lru_cache(maxsize=32)
def _hash_cached(path: Path, size: int, modified_ns: int) -> str:
    return hash_file(path)


def _hub_hash(path: Path) -> str | None:
    """The SHA-256 under which the Hub knows a large file: the name of the blob that the cache links to."""
    name = Path(os.readlink(path)).name if path.is_symlink() else ""
    return name if len(name) == 64 else None


def _record(weights: PublishedWeights) -> Path:
    place = _place(weights)
    return place.with_name(f"{place.name}.sha256")


def _recorded_hash(weights: PublishedWeights) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return _record(weights).read_text(encoding="utf-8").partition(" ")[0]
    return None


def _record_hash(weights: PublishedWeights, digest: str) -> None:
    with suppress(OSError):  # a folder that cannot be written to is checked less
        _record(weights).write_text(f"{digest}  {weights.file}\n", encoding="utf-8")


def _get_from_url(weights: PublishedWeights) -> Path:
    from filelock import FileLock

    place = _place(weights)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f"{place.name}.lock")):
        with suppress(CheckpointError):  # another process may have been quicker
            if (path := find_cached_weights(weights.name)) is not None:
                return path
        with _report(weights.file) as report:
            download_file(weights.url, place, lambda partial: _check_download(weights, partial), report=report)
    return place


def _check_download(weights: PublishedWeights, partial: Path) -> None:
    try:
        _check(weights, partial)
    except CheckpointError as error:
        reason = str(error).removeprefix(f"{partial}: ")
        raise WeightsError(f"{weights.url}: what came is deleted, {reason}") from error


def _get_from_hub(weights: PublishedWeights) -> Path:
    from huggingface_hub import hf_hub_download

    assert weights.repo is not None
    try:
        # What is there already, if anything, is another file.
        with quiet_hub():
            path = Path(hf_hub_download(weights.repo, weights.file, force_download=_cached(weights) is not None))
    except Exception as error:  # of the Hub, of its HTTP library, of the file system
        reason = error.__cause__ or error  # the Hub's own message says only that there was an error
        raise DownloadError(str(reason).partition("\n")[0].rstrip(".") or type(reason).__name__) from error
    _check(weights, path)
    return path


@contextmanager
def _report(name: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """Shows a bar in a terminal."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        progress.TextColumn(name),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
