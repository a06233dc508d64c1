"""What a run tells: a line of JSON for every step and validation, TensorBoard where it is installed, a progress bar."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depthbokeh.manifest import read_manifest
from depthbokeh.training.validation import Scores

NAME = "log.jsonl"


class RunLog:
    """Writes ``log.jsonl`` and ``tensorboard/`` of a run's folder, and the progress to the terminal.

    Args:
        run: The folder.
        step: The step that training goes on from: what was logged of later ones is removed.
        main: Whether this is the process that writes.
        total: Steps in all.
    """

    def __init__(self, run: Path, step: int, *, main: bool, total: int) -> None:
        self._main, self._run, self._step, self._total = main, run, step, total
        self._board: Any = None

    def __enter__(self) -> RunLog:
        if not self._main:
            return self
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._run.mkdir(parents=True, exist_ok=True)
        path = self._run / NAME
        kept = [line for line in read_manifest(path) if line.get("step", 0) <= self._step]
        self._stream = path.open("w", encoding="utf-8")
        for line in kept:
            self._append(line)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            pass
        else:
            self._board = SummaryWriter(str(self._run / "tensorboard"), purge_step=self._step + 1)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("", total=self._total, completed=self._step)
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._main:
            self._progress.stop()
            self._stream.close()
            if self._board is not None:
                self._board.close()

    def write_step(self, step: int, values: Mapping[str, float]) -> None:
        """Tell of a step."""
        if self._main:
            self._append({"step": step, **values})
            self._plot("train", step, values)
            self._progress.update(self._task, completed=step, description=f"loss {values['total']:.4f}")

    def write_scores(self, step: int, scores: Scores) -> None:
        """Tell of a validation."""
        if self._main:
            told = {name: value for name, value in scores._asdict().items() if value is not None}
            self._append({"step": step, "validation": told})
            self._plot("validation", step, told)
            self.say(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in told.items()))

    def say(self, line: str) -> None:
        """Tell the user."""
        if self._main:
            self._progress.console.print(line, markup=False, highlight=False)

    def _append(self, line: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()

    def _plot(self, group: str, step: int, values: Mapping[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, step)
