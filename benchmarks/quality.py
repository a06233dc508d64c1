"""Compares pictures of this library and of other schemes with the truth.

``python benchmarks/quality.py --data DIR [--schemes default bokehme] [--scenes NAME ...] [--out DIR [--pictures]]``;
see README.md for the data and what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from golden import LIMIT_DB, golden_psnr
from quality_pairs import FITTED, PairScore, read_pairs, score_pair
from quality_scenes import CLASSES, INPUTS, Score, Truth, list_scenes, mean_psnr, read_truths, score_truth
from rich.console import Console
from rich.table import Table
from schemes import SCHEMES, Renderer
from tap_loop import describe_machine
from torch import Tensor

from depthbokeh.color import linear_to_srgb
from depthbokeh.photo import atomic_path, write_photo

YARDSTICK = "bokehme"
_ERROR_SCALE = 5

Rows = list[list[str]]  # the head first
ShowPicture = Callable[[str, Tensor, Tensor], None]


def measure_scenes(
    folders: Sequence[Path], schemes: Sequence[str], sources: Sequence[str], renderer: Renderer, show: ShowPicture
) -> list[Score]:
    """Every scheme on every scene, aperture and kind of input."""
    scores = []
    for source in sources:
        for truth in (truth for folder in folders for truth in read_truths(folder, source)):
            for scheme in schemes:
                result, picture = score_truth(scheme, truth, source, renderer)
                scores.append(result)
                show(_name_picture(truth, source, scheme), picture, linear_to_srgb(truth.picture))
    return scores


def _name_picture(truth: Truth, source: str, scheme: str) -> str:
    return f"{truth.scene}_{truth.aperture}_{source}_{scheme}"


def measure_pairs(data: Path, schemes: Sequence[str], renderer: Renderer, show: ShowPicture) -> list[PairScore]:
    """Every scheme on every real pair, and the default renderer with the lens that ``fit_lens`` finds, too."""
    scores = []
    tried = [name for scheme in schemes for name in ((scheme, FITTED) if scheme == "default" else (scheme,))]
    for pair in read_pairs(data):
        for scheme in tried:
            result, picture = score_pair(scheme, pair, renderer)
            scores.append(result)
            show(f"{pair.group}_{pair.name}_{scheme}".replace(" f/", "_f"), picture, pair.target)
    return scores


def scenes_rows(scores: Sequence[Score], source: str) -> Rows:
    """One row a scheme, classes side by side; "gain" is the difference to BokehMe's weights, if they ran too."""
    mine = [s for s in scores if s.input == source]
    kinds = [kind for kind in CLASSES if any(s.kind == kind for s in mine)]
    rows = [["scheme", *(head for kind in kinds for head in (CLASSES[kind], "gain")), "mean", "gain", "s/picture"]]
    for scheme in dict.fromkeys(s.scheme for s in mine):
        cells = []
        for kind in (*kinds, None):
            value, yardstick = (mean_psnr(mine, name, source, kind) for name in (scheme, YARDSTICK))
            cells += [f"{value:.2f}", "" if yardstick is None or value is None else f"{value - yardstick:+.2f}"]
        times = [s.seconds for s in mine if s.scheme == scheme]
        rows.append([scheme, *cells, f"{statistics.mean(times):.2f}"])
    return rows


def pairs_rows(scores: Sequence[PairScore]) -> Rows:
    """One row a scheme and pair, and one for the mean of every group."""
    rows = [["scheme", "pair", "PSNR", "PSNR, gain fitted", "SSIM", "strength, px"]]
    for scheme in dict.fromkeys(s.scheme for s in scores):
        for group in dict.fromkeys(s.group for s in scores):
            mine = [s for s in scores if (s.scheme, s.group) == (scheme, group)]
            rows += [[scheme, f"{group} {s.pair}", *_pair_cells([s]), f"{s.strength:.1f}"] for s in mine]
            rows.append([scheme, f"{group} mean", *_pair_cells(mine), ""])
    return rows


def _pair_cells(scores: Sequence[PairScore]) -> list[str]:
    raw, matched, similar = (
        statistics.mean(values) for values in zip(*((s.psnr_db, s.psnr_gain_db, s.ssim) for s in scores), strict=True)
    )
    return [f"{raw:.2f}", f"{matched:.2f}", f"{similar:.3f}"]


def stops_rows(scores: Sequence[PairScore]) -> Rows:
    """Strength times f-number over that of the most open aperture: 1 everywhere if blur goes as 1/N."""
    mine = [s for s in scores if s.group == "vabd" and s.strength > 0]
    stops = sorted({s.f_number for s in mine})
    rows = [["scheme", *(f"f/{stop:g}" for stop in stops)]]
    for scheme in dict.fromkeys(s.scheme for s in mine):
        blur = {s.f_number: s.strength * s.f_number for s in mine if s.scheme == scheme}
        rows.append([scheme, *(f"{blur[stop] / blur[stops[0]]:.2f}" for stop in stops)])
    return rows


def print_rows(console: Console, title: str, rows: Rows) -> None:
    table = Table(title=title)
    for index, head in enumerate(rows[0]):
        numbers = all(row[index][-1:].isdigit() for row in rows[1:] if row[index])
        table.add_column(head, justify="right" if numbers else "left")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def to_markdown(tables: dict[str, Rows]) -> str:
    """All tables as Markdown, each under its title."""
    parts = []
    for title, (head, *body) in tables.items():
        lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]
        parts.append(f"**{title}**\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def write_report(folder: Path, tables: dict[str, Rows], scores: Sequence[Score | PairScore]) -> None:
    """``quality.json`` with every score and the machine, ``quality.md`` with the tables."""
    report = {
        "machine": describe_machine(),
        "scenes": [asdict(s) for s in scores if isinstance(s, Score)],
        "pairs": [asdict(s) for s in scores if isinstance(s, PairScore)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"quality.json": json.dumps(report, indent=1) + "\n", "quality.md": to_markdown(tables)}
    for name, text in texts.items():
        with atomic_path(folder / name, overwrite=True) as part:
            part.write_text(text, encoding="utf-8")


def write_comparison(folder: Path, name: str, picture: Tensor, truth: Tensor) -> None:
    """Side by side: the picture, the truth and their amplified difference."""
    folder.mkdir(parents=True, exist_ok=True)
    error = (picture.clamp(0, 1) - truth.clamp(0, 1)).abs() * _ERROR_SCALE
    write_photo(folder / f"{name}.png", torch.cat([picture, truth, error], 3), overwrite=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data, see README.md")
    parser.add_argument("--golden", action="store_true", help="only hold the BokehMe baseline against its original")
    parser.add_argument("--parts", nargs="+", choices=("scenes", "pairs"), default=["scenes"])
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES), metavar="NAME")
    parser.add_argument("--scenes", nargs="+", metavar="NAME", help="folders below ground_truth/; default: all")
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS))
    parser.add_argument("--out", type=Path, metavar="DIR", help="write quality.json and quality.md there")
    parser.add_argument("--pictures", action="store_true", help="write picture | truth | 5 x error below OUT/pictures")
    parser.add_argument("--reuse", action="store_true", help="take baselines' pictures of earlier runs from OUT/cache")
    options = parser.parse_args()
    if options.out is None and (options.pictures or options.reuse):
        parser.error("--pictures and --reuse need --out")
    return options


def main() -> int:
    options = parse_arguments()
    console = Console() if sys.stdout.isatty() else Console(width=140)
    if options.golden:
        value = golden_psnr(options.data)
        console.print(f"BokehMe's weights and its own picture: {value:.2f} dB, at least {LIMIT_DB:g} expected")
        return 0 if value >= LIMIT_DB else 1

    renderer = Renderer(options.out / "cache" if options.reuse else None)

    def show(name: str, picture: Tensor, truth: Tensor) -> None:
        if options.pictures:
            write_comparison(options.out / "pictures", name, picture, truth)

    scores: list[Score | PairScore] = []
    tables: dict[str, Rows] = {}
    if "scenes" in options.parts:
        folders = list_scenes(options.data, options.scenes)
        results = measure_scenes(folders, options.schemes, options.inputs, renderer, show)
        for source in options.inputs:
            tables[f"Path-traced scenes, {INPUTS[source]}: PSNR of sRGB pictures, dB"] = scenes_rows(results, source)
        scores += results
    if "pairs" in options.parts:
        pair_results = measure_pairs(options.data, options.schemes, renderer, show)
        tables["Real pairs, 768 x 512, best strength"] = pairs_rows(pair_results)
        tables["Best strength times f-number, relative to f/1.8"] = stops_rows(pair_results)
        scores += pair_results
    for title, rows in tables.items():
        print_rows(console, title, rows)
    if options.out is not None:
        write_report(options.out, tables, scores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
