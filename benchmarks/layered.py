"""Times the layered renderer, forward and with gradients, and measures the memory it takes.

``python benchmarks/layered.py [--size 1024x1536] [--slices 1 8 16] [--out benchmarks/results]``; see README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from report import peak_bytes, replace_file, reset_peak
from rich.console import Console
from rich.table import Table
from scene import FOCUS, make_scene
from tap_loop import describe_machine

from depthbokeh import composite, fuse_layers

Size = tuple[int, int]


def make_call(size: Size, slices: int, backward: bool) -> Callable[[], None]:
    """One run of ``fuse_layers`` and ``composite``, with gradients to all inputs or none."""
    strength = torch.tensor(32 * size[0] / 1024 / FOCUS)  # radii up to 32 px in a picture of 1024 rows
    leaves = [*make_scene(*size), strength]
    for leaf in leaves:
        leaf.requires_grad_(backward)

    def call() -> None:
        image, disparity, mask, strength = leaves
        layers = fuse_layers(disparity, mask, focus=FOCUS, strength=strength, image=image, layers=None)
        picture = composite(image, layers, slices=slices)
        if backward:
            torch.autograd.grad(picture.square().mean(), leaves)

    return call


def probe(size: Size, slices: int, backward: bool, repeats: int) -> dict[str, Any]:
    """Seconds of every repeat, and by how much the peak of resident memory grew."""
    make_call((64, 96), slices, backward)()  # loads code and starts threads
    call = make_call(size, slices, backward)
    before = reset_peak()
    call()
    grown = peak_bytes() - before
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return {"slices": slices, "backward": backward, "seconds": seconds, "peak_mb": grown / 1e6}


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every row in a process of its own: memory that one has freed must not serve the next."""
    rows = []
    for slices in arguments.slices:
        for backward in (False, True):
            command = [sys.executable, __file__, "--size", "x".join(map(str, arguments.size))]
            command += ["--repeats", str(arguments.repeats), "--probe", str(slices), str(int(backward))]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                raise RuntimeError(f"slices={slices}, backward={backward}: {result.stderr.strip().splitlines()[-1]}")
            rows.append(json.loads(result.stdout.splitlines()[-1]))
    return rows


def print_rows(rows: list[dict[str, Any]], size: Size) -> None:
    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table(title=f"fuse_layers and composite, {size[0]} x {size[1]}, {torch.get_num_threads()} threads")
    for column in ("slices", "forward, s", "peak, MB", "forward and backward, s", "peak, MB"):
        table.add_column(column, justify="right")
    for forward, both in zip(rows[::2], rows[1::2], strict=True):
        figures = [
            text
            for row in (forward, both)
            for text in (f"{statistics.median(row['seconds']):.2f}", f"{row['peak_mb']:.0f}")
        ]
        table.add_row(str(forward["slices"]), *figures)
    console.print(table)


def parse_size(text: str) -> Size:
    height, _, width = text.partition("x")
    return int(height), int(width)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=(1024, 1536), help="HEIGHTxWIDTH")
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 8, 16], metavar="K")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for layered_cpu.json")
    parser.add_argument("--probe", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        slices, backward = arguments.probe
        print(json.dumps(probe(arguments.size, slices, bool(backward), arguments.repeats)))
        return 0
    busy = os.getloadavg()[0]
    rows = measure(arguments)
    print_rows(rows, arguments.size)
    if arguments.out:
        report = {"machine": describe_machine(), "load_before": busy, "size": arguments.size, "rows": rows}
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        arguments.out.mkdir(parents=True, exist_ok=True)
        replace_file(arguments.out / "layered_cpu.json", lambda part: part.write_text(text, encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
