"""Compares pictures of this library and of other schemes with the truth.

``python benchmarks/quality.py --data DIR [--schemes default bokehme] [--scenes NAME ...]``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from quality_scenes import CLASSES, INPUTS, Score, list_scenes, mean_psnr, read_truths, score
from rich.console import Console
from rich.table import Table
from schemes import SCHEMES

YARDSTICK = "bokehme"


def measure_scenes(folders: Sequence[Path], schemes: Sequence[str], sources: Sequence[str]) -> list[Score]:
    scores = []
    for source in sources:
        for folder in folders:
            for truth in read_truths(folder, source):
                scores += [score(name, truth, source)[0] for name in schemes]
    return scores


def scenes_table(scores: Sequence[Score], source: str) -> Table:
    """One line a scheme; under "gain" the difference to BokehMe's weights, if they ran too."""
    mine = [s for s in scores if s.input == source]
    schemes = list(dict.fromkeys(s.scheme for s in mine))
    kinds = [kind for kind in CLASSES if any(s.kind == kind for s in mine)]
    table = Table(title=f"Path-traced scenes, {INPUTS[source]}: PSNR in dB of sRGB pictures")
    table.add_column("scheme")
    for kind in kinds:
        table.add_column(CLASSES[kind], justify="right")
        table.add_column("gain", justify="right")
    for head in ("mean", "gain", "s/picture"):
        table.add_column(head, justify="right")
    for scheme in schemes:
        cells = []
        for kind in (*kinds, None):
            value, yardstick = (mean_psnr(mine, name, source, kind) for name in (scheme, YARDSTICK))
            cells.append(f"{value:.2f}")
            cells.append("" if yardstick is None or value is None else f"{value - yardstick:+.2f}")
        times = [s.seconds for s in mine if s.scheme == scheme]
        table.add_row(scheme, *cells, f"{sum(times) / len(times):.2f}")
    return table


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with ground_truth/")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES), metavar="NAME")
    parser.add_argument("--scenes", nargs="+", metavar="NAME", help="all by default")
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS))
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    console = Console(width=120) if not Console().is_terminal else Console()
    folders = [f for f in list_scenes(options.data) if options.scenes is None or f.name in options.scenes]
    scores = measure_scenes(folders, options.schemes, options.inputs)
    for source in options.inputs:
        console.print(scenes_table(scores, source))


if __name__ == "__main__":
    main()
