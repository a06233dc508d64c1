"""Photos by the million over many machines: the pipeline, mapped over shards by Ray Data; needs the extra ``[ray]``.

On one machine ``depthbokeh render --batch --workers N`` does the same without a cluster.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .folder import find_paths, render_photos
from .jobs import Paths, PhotoRenderer
from .settings import Settings

try:
    import ray.data
except ImportError as error:
    raise ImportError("depthbokeh.ray needs Ray Data, which is not installed: pip install 'depthbokeh[ray]'") from error


def render_dataset(
    dataset: ray.data.Dataset,
    output: str | os.PathLike[str],
    settings: Settings,
    *,
    root: str | os.PathLike[str],
    disparity: str | os.PathLike[str] | None = None,
    mask: str | os.PathLike[str] | None = None,
    workers: int | tuple[int, int] = 1,
    cpus: float = 1,
    gpus: float = 0,
) -> ray.data.Dataset:
    """Renders the photos whose names are in a dataset.

    Each worker loads the models once and reads and writes beside the rendering. A photo whose result exists is skipped,
    so that what was interrupted can be run again; one that fails does not stop the others. All paths must lead to the
    same files on every machine.

    Args:
        dataset: Rows with a column ``photo``: the photo's path relative to ``root``.
        output: Folder for the results, which keep the relative paths.
        settings: What is asked for, as for ``depthbokeh render``.
        root: Folder of the photos.
        disparity: Folder of disparity maps with the same relative paths.
        mask: Folder of masks, likewise.
        workers: How many actors render; a pair is the least and the most of a pool that grows.
        cpus: Processors of each.
        gpus: GPUs of each; a part of one is shared.

    Returns:
        A dataset, computed when it is consumed (``.write_json(...)``, ``.take_all()``), with a row for every photo:
        ``photo``, ``status`` (``rendered``, ``skipped``, ``failed``), ``error`` (empty if there is none), ``seconds``.

    Raises:
        ValueError: Maps are to be saved: in one folder those of photos of one name would replace each other.

    Example:
        ::

            import ray.data
            from depthbokeh.ray import render_dataset
            from depthbokeh.settings import Settings

            photos = ray.data.read_text("photos.txt").rename_columns({"text": "photo"})
            fates = render_dataset(photos, "rendered", Settings(strength=20.0), root="photos", workers=8, gpus=1)
            fates.write_json("fates")
    """
    if settings.save_maps is not None:
        raise ValueError(f"save_maps is {settings.save_maps}: expected None, for photos from many folders")
    maps = {"disparity": disparity, "mask": mask}
    folders = {"folder": root, "output": output, **maps}
    arguments = {
        "settings": _make_absolute(settings),
        "folders": {name: None if path is None else Path(path).absolute() for name, path in folders.items()},
        "threads": max(1, int(cpus)),
    }
    least, most = workers if isinstance(workers, tuple) else (workers, workers)
    return dataset.map_batches(
        _RenderShard,
        fn_constructor_kwargs=arguments,
        batch_size=32,
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=cpus,
        num_gpus=gpus,
    )


def _make_absolute(settings: Settings) -> Settings:
    """Settings whose files are found from any folder, as actors have their own."""
    found: dict[str, Any] = {
        name: Path(path).absolute()
        for name in ("mask_weights", "depth_weights")
        if (path := getattr(settings, name)) is not None
    }
    if settings.pipeline is not None and Path(settings.pipeline).is_dir():
        return replace(settings, pipeline=str(Path(settings.pipeline).absolute()), **found)
    return replace(settings, **found)


class _RenderShard:
    """An actor of the pool."""

    def __init__(self, settings: Settings, folders: Mapping[str, Path | None], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        given = {f"has_{name}": folders[name] is not None for name in ("disparity", "mask")}
        self._folders = folders
        self._renderer = PhotoRenderer(settings, **given)
        for note in self._renderer.notes:
            print(f"depthbokeh: {note}", file=sys.stderr)  # Ray brings it to who started the run

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        names = [str(name) for name in batch["photo"]]
        output = self._folders["output"]
        assert output is not None
        fates = {name: ("skipped", "", 0.0) for name in names}
        overwrite = self._renderer.settings.overwrite
        tasks = [name for name in names if overwrite or not (output / name).exists()]
        for outcome in render_photos(tasks, self._renderer, self._make_paths):
            status = "failed" if outcome.error else "rendered"
            fates[outcome.photo] = (status, outcome.error or "", outcome.seconds)
        rows = [(name, *fates[name]) for name in names]
        columns = ("photo", "status", "error", "seconds")
        return {column: np.array([row[i] for row in rows]) for i, column in enumerate(columns)}

    def _make_paths(self, name: str) -> Paths:
        parent = Path(name).parent
        folders = {key: None if path is None else path / parent for key, path in self._folders.items()}
        paths = find_paths(Path(name).name, **folders)  # type: ignore[arg-type]  # folder and output are given
        paths.output.parent.mkdir(parents=True, exist_ok=True)
        return paths
