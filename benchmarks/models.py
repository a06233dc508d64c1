"""Times every mask and depth model on one photo, and measures the memory it takes.

``python benchmarks/models.py [--models NAME...] [--size 1024x1536] [--out benchmarks/results]``; see README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from layered import Size, parse_size
from report import peak_bytes, replace_file, reset_peak
from scene import make_scene
from tap_loop import describe_machine
from torch import Tensor, nn

from depthbokeh.models import TiledModel, create_depth_model, create_mask_model

MASKS = (
    "grabcut",
    "deeplab_mobilenet",
    "deeplab_vgg16",
    "deeplab_resnet50",
    "deeplab_xception65",
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "mask_rcnn_resnet50_fpn",
    "xception",
    "legacy_xception",
)
MODELS: dict[str, Callable[[], nn.Module]] = {
    **{name: partial(create_mask_model, name) for name in MASKS},
    "ground_plane": partial(create_depth_model, "ground_plane"),
    "megadepth": partial(create_depth_model, "megadepth"),
    "megadepth half": partial(create_depth_model, "megadepth", input_mode="half"),
    "megadepth tiled": lambda: TiledModel(create_depth_model("megadepth", input_mode="full").eval(), size=512),
    "depth_anything_v2": partial(create_depth_model, "depth_anything_v2"),
}


@torch.no_grad()
def probe(name: str, size: Size, repeats: int) -> dict[str, Any]:
    """Seconds of every call, and by how much the peak of resident memory grew over the first, weights aside."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    model(_make_photo((64, 96)))  # loads code and starts threads
    photo = _make_photo(size)
    before = reset_peak()
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        model(photo)
        seconds.append(time.perf_counter() - start)
        if len(seconds) == 1:
            grown = peak_bytes() - before
    parameters = sum(weight.numel() for weight in model.parameters())
    return {"model": name, "seconds": seconds[1:] or seconds, "peak_mb": grown / 1e6, "parameters": parameters}


def _make_photo(size: Size) -> Tensor:
    return make_scene(*size)[0].clamp(0, 1)


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """In a process of its own: memory that one model has freed must not serve the next."""
    command = [sys.executable, __file__, "--size", "x".join(map(str, arguments.size))]
    command += ["--repeats", str(arguments.repeats), "--probe", name]
    busy = os.getloadavg()[0]
    # Whatever is freed goes back at once, or the memory of the photo's making would serve the model unseen.
    allocator = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **allocator})
    if result.returncode:
        raise RuntimeError(f"{name}: {(result.stderr.strip().splitlines() or ['killed'])[-1]}")
    row: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return {**row, "load_before": busy}


def format_rows(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = ["| model | parameters, millions | best time, s | peak memory, GB |", "|---|---:|---:|---:|"]
    lines += [
        f"| `{row['model']}` | {row['parameters'] / 1e6:.1f} | {min(row['seconds']):.2f} | {row['peak_mb'] / 1e3:.2f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def write_report(folder: Path, rows: list[dict[str, Any]], size: Size) -> None:
    """Adds rows to the report in a folder; those of other models stay if they are of the same machine and size."""
    folder.mkdir(parents=True, exist_ok=True)
    report = {"machine": describe_machine(), "size": list(size), "rows": rows}
    path = folder / "models_cpu.json"
    if path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        same = earlier["size"] == report["size"] and earlier["machine"]["cpu"] == report["machine"]["cpu"]
        if same:
            known = {row["model"]: row for row in [*earlier["rows"], *rows]}
            report["rows"] = [known[name] for name in MODELS if name in known]
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
    table = format_rows(report["rows"])
    replace_file(folder / "models_cpu.md", lambda part: part.write_text(table, encoding="utf-8"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS, metavar="NAME")
    parser.add_argument("--size", type=parse_size, default=(1024, 1536), help="HEIGHTxWIDTH")
    parser.add_argument("--repeats", type=int, default=2, help="calls after the first, whose memory is measured")
    parser.add_argument("--out", type=Path, help="folder for models_cpu.json and models_cpu.md")
    parser.add_argument("--probe", choices=MODELS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        print(json.dumps(probe(arguments.probe, arguments.size, arguments.repeats)))
        return 0
    for name in arguments.models:
        row = measure(name, arguments)
        print(format_rows([row]).splitlines()[-1], flush=True)
        if arguments.out:
            write_report(arguments.out, [row], arguments.size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
