"""Rendering a folder of photos: resumable, with reading and writing beside the rendering, in several processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import Any

from .files import PHOTO_SUFFIXES, find_map
from .jobs import Paths, PhotoRenderer, read_source
from .manifest import NAME as MANIFEST
from .manifest import Manifest, read_manifest
from .photo import PhotoError
from .settings import Settings

# Photos that are read, or given to a process, before they are needed: enough that nobody waits, few enough for memory.
_AHEAD = 2

MakePaths = Callable[[str], Paths]


@dataclass(frozen=True)
class Outcome:
    """What became of a photo."""

    photo: str
    error: str | None
    seconds: float

    def to_line(self) -> dict[str, Any]:
        """The line of the manifest."""
        line = {"photo": self.photo, "status": "failed" if self.error else "rendered"}
        return {**line, **({"error": self.error} if self.error else {}), "seconds": round(self.seconds, 3)}


def render_folder(
    folder: Path, output: Path, disparity: Path | None, mask: Path | None, settings: Settings, *, workers: int = 1
) -> int:
    """Renders all photos of a folder under their own names; returns how many failed.

    A photo whose result exists is skipped, so that an interrupted run can be started again. ``manifest.jsonl`` in the
    output folder says what became of every photo.

    Args:
        folder: The photos.
        output: Where the results go; made if it does not exist.
        disparity: Folder of disparity maps, found by the photos' names.
        mask: Folder of masks, likewise.
        settings: What is asked for.
        workers: Processes.

    Raises:
        PhotoError: If a folder cannot be read or written, or the output was rendered with other settings.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not folder.is_dir():
        raise PhotoError(f"{folder}: expected a folder, as --batch was given")
    photos = sorted(path.name for path in os.scandir(folder) if Path(path.name).suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise PhotoError(f"{folder}: holds no photo ({', '.join(PHOTO_SUFFIXES)})")
    if output.exists() and output.samefile(folder):
        raise PhotoError(f"{output}: holds the photos, which the results would replace; expected another folder")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{output}: cannot be made: {error.strerror}") from error
    # The maps' folders may be missing entirely, which is not the fault of any photo.
    for maps in (disparity, mask):
        if maps is not None and not maps.is_dir():
            raise PhotoError(f"{maps}: expected a folder of maps, as --batch was given")
    done = set() if settings.overwrite else {path.name for path in os.scandir(output)}
    tasks = [name for name in photos if name not in done]
    make_paths = partial(find_paths, folder=folder, output=output, disparity=disparity, mask=mask)
    # Built here for several processes too: weights are fetched once, and what is missing is said once.
    build = partial(PhotoRenderer, settings, has_disparity=disparity is not None, has_mask=mask is not None)
    renderer = build()
    console = Console(stderr=True)
    for note in renderer.notes:
        console.print(note, markup=False, highlight=False)
    outcomes = render_photos(tasks, renderer, make_paths) if workers == 1 else _share(tasks, build, make_paths, workers)
    del renderer  # each process has its own
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    rendered = failed = 0
    with (
        Manifest.open(output, _describe(settings), overwrite=settings.overwrite) as manifest,
        Progress(*columns, console=console) as progress,
        closing(outcomes),
    ):
        for name in sorted(done.intersection(photos) - _find_told(output)):
            manifest.write({"photo": name, "status": "skipped"})  # of a run that was killed before it could tell
        bar = progress.add_task("", total=len(photos), completed=len(photos) - len(tasks))
        for outcome in outcomes:
            manifest.write(outcome.to_line())
            rendered += outcome.error is None
            failed += outcome.error is not None
            if outcome.error:
                console.print(f"depthbokeh: {outcome.error}", style="red", markup=False)
            progress.update(bar, description=outcome.photo, advance=1)
    counts = f"{rendered} rendered, {len(photos) - len(tasks)} skipped (done before), {failed} failed"
    console.print(counts, highlight=False)
    return failed


def find_paths(name: str, *, folder: Path, output: Path, disparity: Path | None, mask: Path | None) -> Paths:
    """Where a photo of a folder, its maps and its result are.

    Raises:
        PhotoError: If a map is missing.
    """
    photo = folder / name
    maps = (None if maps is None else find_map(maps, photo) for maps in (disparity, mask))
    return Paths(photo, output / name, *maps)


def render_photos(
    names: Iterable[str], renderer: PhotoRenderer, make_paths: MakePaths
) -> Generator[Outcome, None, None]:
    """Renders photos one after the other, while the next are read and the one before is written."""
    remaining = iter(names)
    with ThreadPoolExecutor(_AHEAD) as readers, ThreadPoolExecutor(1) as writer:

        def read(name: str) -> tuple[Paths, Any]:
            paths = make_paths(name)
            return paths, read_source(paths, renderer.settings)

        def write(name: str, paths: Paths, source: Any, rendering: Any, began: float) -> Outcome:
            try:
                renderer.write(source, rendering, paths.output)
            except Exception as error:
                return _fail(name, error, began)
            return Outcome(name, None, perf_counter() - began)

        reading = deque((name, readers.submit(read, name)) for name in islice(remaining, _AHEAD))
        writing: Future[Outcome] | None = None
        while reading:
            name, future = reading.popleft()
            reading.extend((following, readers.submit(read, following)) for following in islice(remaining, 1))
            began = perf_counter()
            try:
                paths, source = future.result()
                rendering = renderer.render(source)
            except Exception as error:  # whatever is wrong with one photo, the others are rendered
                yield _fail(name, error, began)
                continue
            if writing is not None:
                yield writing.result()
            writing = writer.submit(write, name, paths, source, rendering, began)
        if writing is not None:
            yield writing.result()


def _share(
    names: Iterable[str], build: Callable[[], PhotoRenderer], make_paths: MakePaths, workers: int
) -> Generator[Outcome, None, None]:
    """Renders photos in several processes, each with its share of the processors."""
    remaining = iter(names)
    vain = 0  # pools in a row that rendered nothing
    while vain < 2:
        rendered = 0
        for outcome in _share_until_broken(remaining, build, make_paths, workers):
            yield outcome
            rendered += outcome.error is None
        following = next(remaining, None)
        if following is None:
            return
        remaining = chain([following], remaining)
        vain = 0 if rendered else vain + 1
    raise PhotoError(f"workers is {workers}, and the system stops each of them, perhaps for want of memory: try fewer")


def _share_until_broken(
    names: Iterator[str], build: Callable[[], PhotoRenderer], make_paths: MakePaths, workers: int
) -> Generator[Outcome, None, None]:
    """Ends early if the system stops a process; the photos that were under way count as failed then."""
    from multiprocessing import get_context

    threads = max(1, (os.cpu_count() or 1) // workers)
    # Spawned and not forked: neither CUDA nor threads survive a fork.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(build, make_paths, threads)
    ) as pool:
        waiting: dict[Future[Outcome], str] = {}
        try:
            while True:
                for name in islice(names, workers * _AHEAD - len(waiting)):
                    waiting[pool.submit(_render_one, name)] = name
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    outcome = future.result()
                    del waiting[future]
                    yield outcome
        except BrokenProcessPool:
            for name in waiting.values():
                yield Outcome(name, f"{name}: a process was stopped, perhaps for want of memory", 0.0)


_worker: tuple[PhotoRenderer, MakePaths]


def _start(build: Callable[[], PhotoRenderer], make_paths: MakePaths, threads: int) -> None:
    global _worker
    from threading import Thread

    import torch

    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _worker = build(), make_paths


def _end_with_parent() -> None:
    """A process whose parent is killed would wait for photos for ever."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _render_one(name: str) -> Outcome:
    return next(render_photos([name], *_worker))


def _fail(name: str, error: Exception, began: float) -> Outcome:
    told = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    told = told if name in told else f"{name}: {told}"
    return Outcome(name, told, perf_counter() - began)


def _describe(settings: Settings) -> dict[str, Any]:
    """The settings that the results depend on."""
    told = asdict(settings)
    for name in ("overwrite", "device", "save_maps"):
        del told[name]
    return {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}


def _find_told(output: Path) -> set[str]:
    """The photos of which the manifest says that their results exist."""
    lines = read_manifest(output / MANIFEST)
    return {line["photo"] for line in lines if line.get("status") in ("rendered", "skipped") and "photo" in line}
