"""Times a training step of every mask model, and how much of it the renderer takes, and measures the memory.

``python benchmarks/finetune_speed.py [--size 512x768] [--models NAME...] [--out benchmarks/results]``; see README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from report import peak_bytes, replace_file, reset_peak
from scene import make_scene
from tap_loop import describe_machine
from torch import Tensor, nn

from depthbokeh import BokehRenderer
from depthbokeh.models import create_mask_model
from depthbokeh.pipeline import BokehPipeline
from depthbokeh.training.lens import LensParameters
from depthbokeh.training.losses import BokehLoss
from depthbokeh.training.model import LearnedPipeline

Size = tuple[int, int]

MODELS = ("deeplab_vgg16", "deeplab_mobilenet", "xception", "mask_rcnn_resnet50_fpn")
PARTS = ("mask forward", "renderer and loss forward", "renderer and loss backward", "mask backward", "optimizer")
RENDERER = PARTS[1:3]


class Remember(nn.Module):
    """Calls a mask model, keeps its mask and notes when it was done."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.done = 0.0
        self.mask: Tensor | None = None

    def forward(self, photo: Tensor) -> Tensor:
        """The mask, ``(B, 1, H, W)``, cut off from the model."""
        mask: Tensor = self.model(photo)
        # The gradient stops here and goes on by itself, so that both parts of the backward pass can be timed.
        self.mask = mask
        self.cut = mask.detach().requires_grad_()
        self.done = time.perf_counter()
        return self.cut


class Step:
    """A step of the training on one made-up pair: radii as fine-tuning starts with."""

    def __init__(self, mask_model: nn.Module, size: Size) -> None:
        photo, disparity, mask = make_scene(*size)
        self.photo, self.disparity = photo, disparity
        side = torch.tensor([float(max(size))])
        self.side = side
        with torch.no_grad():
            self.target = BokehRenderer()(photo, disparity, mask, strength=side / 40).clamp(0, 1)
        self.remember = Remember(mask_model)
        lens = LensParameters(strength=1 / 40, learned=["strength"])
        self.model = LearnedPipeline(BokehPipeline(BokehRenderer(), self.remember, None), lens).train()
        self.loss = BokehLoss(match_exposure=True)
        self.optimizer = torch.optim.Adam([p for p in self.model.parameters() if p.requires_grad], lr=1e-4)

    def take(self) -> dict[str, float]:
        """One step; seconds of each of its parts."""
        times = [time.perf_counter()]
        prediction = self.model(self.photo, self.disparity, self.side, None)
        loss = self.loss(prediction.bokeh, self.target, prediction.mask, self.photo)["total"]
        times += [self.remember.done, time.perf_counter()]
        loss.backward()
        times.append(time.perf_counter())
        assert self.remember.mask is not None
        self.remember.mask.backward(self.remember.cut.grad)
        times.append(time.perf_counter())
        self.optimizer.step()
        self.optimizer.zero_grad()
        times.append(time.perf_counter())
        return {part: after - before for part, before, after in zip(PARTS, times[:-1], times[1:], strict=True)}


def probe(name: str, size: Size, repeats: int) -> dict[str, Any]:
    """Medians of a step's parts over the repeats, and by how much the peak of resident memory grew."""
    torch.manual_seed(0)
    step = Step(create_mask_model(name), size)
    before = reset_peak()
    step.take()
    peak = peak_bytes()
    rows = [step.take() for _ in range(repeats)]
    return summarize(name, rows) | {"peak_mb": peak / 1e6, "step_mb": (peak - before) / 1e6}


def summarize(name: str, rows: list[dict[str, float]]) -> dict[str, Any]:
    """Medians of the steps' parts, of the whole step and of the renderer's share."""
    totals = [sum(row.values()) for row in rows]
    shares = [sum(row[part] for part in RENDERER) / total for row, total in zip(rows, totals, strict=True)]
    parts = {part: statistics.median(row[part] for row in rows) for part in PARTS}
    step = statistics.median(totals)
    return {
        "model": name,
        "step": step,
        "steps": totals,
        "parts": parts,
        "per_second": 1 / step,
        "renderer_share": statistics.median(shares),
    }


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every model in a process of its own: memory that one has freed must not serve the next."""
    rows = []
    for name in arguments.models:
        command = [sys.executable, __file__, "--size", "x".join(map(str, arguments.size))]
        command += ["--repeats", str(arguments.repeats), "--probe", name]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{name}: {result.stderr.strip().splitlines()[-1]}")
        rows.append(json.loads(result.stdout.splitlines()[-1]))
    return rows


def make_table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| mask model | step, s | photos/s | mask forward, s | renderer forward, s | renderer backward, s "
        "| mask backward, s | optimizer, s | renderer's share | peak, GB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = [f"{row['step']:.2f}", f"{row['per_second']:.2f}"]
        figures += [f"{row['parts'][part]:.2f}" for part in PARTS]
        figures += [f"{row['renderer_share']:.0%}", f"{row['peak_mb'] / 1000:.2f}"]
        lines.append(f"| `{row['model']}` | {' | '.join(figures)} |")
    return "\n".join(lines)


def parse_size(text: str) -> Size:
    height, _, width = text.partition("x")
    return int(height), int(width)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=(512, 768), help="HEIGHTxWIDTH")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for finetune_speed.json and .md; models measured before stay")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        print(json.dumps(probe(arguments.probe, arguments.size, arguments.repeats)))
        return 0
    busy = os.getloadavg()[0]
    rows = measure(arguments)
    print(make_table(rows))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        save(arguments.out, arguments.size, rows, busy)
    return 0


def save(out: Path, size: Size, rows: list[dict[str, Any]], busy: float) -> None:
    """Writes the report; rows of other models at the same size, which it may hold already, stay."""
    path = out / "finetune_speed.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    machine = describe_machine()
    known = {row["model"]: row for row in earlier.get("rows", [])} if earlier.get("size") == list(size) else {}
    known |= {row["model"]: {**row, "date": machine["date"], "load_before": busy} for row in rows}
    ordered = sorted(
        known.values(), key=lambda row: (row["model"] not in MODELS, [*MODELS, row["model"]].index(row["model"]))
    )
    report = {"machine": machine, "size": size, "rows": ordered}
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
    replace_file(out / "finetune_speed.md", lambda part: part.write_text(make_table(ordered) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
