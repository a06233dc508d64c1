"""Times two commits side by side and tells what became slower.

``python benchmarks/compare.py REV [--rounds 3] [--full] [--limit 1.1] [-k EXPRESSION]``: the working tree against the
commit REV. Both run this working tree's benchmarks in turn (A B A B ...), each round in a process of its own, so that
a change of the machine's mood meets both. A case counts by the fastest call of all its rounds. Ends with 1 if a case
became slower by more than the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

_ROOT = Path(__file__).resolve().parents[1]
_SUITES = ("bench_blur.py", "bench_render.py")


@dataclass(frozen=True)
class Change:
    """A case's fastest call before and after, in seconds; ``None`` where the case does not run."""

    name: str
    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        """After over before: above 1 is slower."""
        return None if self.before is None or self.after is None else self.after / self.before


def compare(before: dict[str, float], after: dict[str, float]) -> list[Change]:
    """All cases of either side, what became slowest first; cases that only one side has come last."""
    names = dict.fromkeys([*before, *after])
    changes = [Change(name, before.get(name), after.get(name)) for name in names]
    return sorted(changes, key=lambda change: (change.ratio is None, -(change.ratio or 0)))


def measure(package: Path, options: list[str]) -> dict[str, float]:
    """Runs the suites once with the package in this folder; the fastest call of every case that passed.

    Raises:
        RuntimeError: If no case passed.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "benchmark.json")
        suites = [str(_ROOT / "benchmarks" / suite) for suite in _SUITES]
        command = [
            sys.executable,
            "-m",
            "pytest",
            *suites,
            *options,
            "--benchmark-only",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
        run = subprocess.run(
            [*command, f"--benchmark-json={report}"], cwd=_ROOT, env=environment, capture_output=True, text=True
        )
        found = json.loads(report.read_text(encoding="utf-8"))["benchmarks"] if report.is_file() else []
    if not found:
        raise RuntimeError(f"no case ran with the package in {package}:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return {case["name"]: case["stats"]["min"] for case in found}


def fastest(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Every case's least time over the rounds."""
    least: dict[str, float] = {}
    for times in rounds:
        for name, seconds in times.items():
            least[name] = min(seconds, least.get(name, seconds))
    return least


@contextmanager
def check_out(revision: str) -> Iterator[Path]:
    """A folder with the files of a commit.

    Raises:
        ValueError: If there is no such commit.
    """
    known = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    if known.returncode:
        raise ValueError(f"REV must be a commit of this repository, got {revision!r}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "checkout")
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", folder, known.stdout.strip()], cwd=_ROOT, check=True
        )
        try:
            yield folder
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=_ROOT, check=True)


def warm_up(package: Path) -> None:
    """Compiles the package's native kernels where they are not there yet: minutes that no case should take."""
    code = "import sys, depthbokeh.ops as ops; sys.exit(not ops.load_operators())"
    run = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(package)})
    if run.returncode:
        raise RuntimeError(f"the package in {package} has no native kernels")


def print_changes(console: Console, changes: list[Change], revision: str, limit: float) -> None:
    table = Table(title=f"Working tree against {revision}: fastest calls, milliseconds", title_justify="left")
    table.add_column("case", overflow="fold")
    for name in ("before", "after", "after / before"):
        table.add_column(name, justify="right", no_wrap=True)
    for change in changes:
        cells = ["" if t is None else f"{1e3 * t:.2f}" for t in (change.before, change.after)]
        ratio = change.ratio
        style = "" if ratio is None else "red" if ratio > limit else "green" if ratio < 1 / limit else ""
        table.add_row(Text(change.name), *cells, "" if ratio is None else f"{ratio:.2f}", style=style)
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("revision", metavar="REV", help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="processes for each side")
    parser.add_argument("--full", action="store_true", help="the sizes of the whole suite instead of the quick ones")
    parser.add_argument("--limit", type=float, default=1.1, help="ratio from which on a case counts as slower")
    parser.add_argument(
        "-k", dest="expression", help="cases to run, as pytest's -k", default="native or default or fast"
    )
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 130)
    options = [*([] if arguments.full else ["--quick"]), "-k", arguments.expression]
    try:
        with check_out(arguments.revision) as other:
            sides = {"before": other, "after": _ROOT}
            times: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
            for package in sides.values():
                warm_up(package)
            for number in range(arguments.rounds):
                console.print(f"[dim]round {number + 1} of {arguments.rounds}[/dim]")
                for name, package in sides.items():
                    times[name].append(measure(package, options))
    except (ValueError, RuntimeError) as error:
        console.print(f"no comparison: {error}", markup=False)
        return 2
    changes = compare(*(fastest(times[name]) for name in sides))
    print_changes(console, changes, arguments.revision, arguments.limit)
    slower = [change for change in changes if (change.ratio or 0) > arguments.limit]
    console.print(f"{len(slower)} of {len(changes)} cases slower by more than {100 * (arguments.limit - 1):.0f} %")
    return bool(slower)


if __name__ == "__main__":
    sys.exit(main())
