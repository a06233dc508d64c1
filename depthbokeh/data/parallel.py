"""Doing the same for many pairs, in several processes, with a bar on the terminal."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TypeVar

import torch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def count_workers(workers: int | None) -> int:
    """Returns how many processes to use: as many as are asked for, or one for every processor that may be used.

    Raises:
        ValueError: If fewer than one is asked for.

    Example:
        >>> count_workers(3)
        3
    """
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    return workers


@contextmanager
def run_parallel(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int
) -> Iterator[Iterable[_Result]]:
    """Calls a function for every item, here or in processes, each with one thread of torch.

    Args:
        function: Can be pickled; what it returns too.
        items: What it is called with.
        workers: Processes; 1 needs none.

    Yields:
        The results in the order in which they are done. An exception of the function is raised there; if a process
        dies, that is raised too.

    Example:
        >>> with run_parallel(abs, [-1, 2], 1) as results:
        ...     list(results)
        [1, 2]
    """
    workers = min(workers, len(items))
    if workers > 1:
        # A forked child would inherit torch's threads in an undefined state.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, context, _start)
        try:
            yield (done.result() for done in as_completed([pool.submit(function, item) for item in items]))
        finally:
            pool.shutdown(cancel_futures=True)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield map(function, items)
    finally:
        torch.set_num_threads(threads)


def _start() -> None:
    """Begins a process: one thread, of OpenCV too, and no life after the parent's death."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def show_progress(done: Iterable[_Result], total: int, before: int) -> Iterator[_Result]:
    """Passes results on and moves a bar on the terminal with each.

    Args:
        done: Results as they come.
        total: How many pairs there are.
        before: How many of them were there before.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("pairs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total, completed=before)
        for result in done:
            yield result
            progress.advance(task)
