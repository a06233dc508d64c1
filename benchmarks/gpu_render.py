"""Times the layered renderer on a GPU and counts what it launches: ``python benchmarks/gpu_render.py --out FILE.json``.

Times as in gpu_speed.py. Launches are counted by torch's profiler over one call; scratch memory is the growth of the
allocator's peak. The renderer is also timed as ``torch.compile`` makes it, which joins elementwise steps, and captured
in one CUDA graph, gradients and all, which the host only has to start.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_speed import describe, time_call, write_json
from graphs import capture
from scene import FOCUS, make_scene
from torch import Tensor

from depthbokeh import BokehRenderer


def list_cases() -> Iterator[dict[str, Any]]:
    """Quality, layers, size, whether gradients are asked for, and whether it runs as it is, compiled or captured."""
    plain = {"run": "as it is", "layers": 8}
    for run in ("captured", "compiled"):
        for backward in (False, True):
            yield {"run": run, "quality": "default", "layers": 8, "size": (1024, 1536), "backward": backward}
    for size in ((1024, 1536), (512, 768)):
        for backward in (False, True):
            for layers in (8, 16, 4, 2, 1):
                yield plain | {"quality": "default", "layers": layers, "size": size, "backward": backward}
            yield plain | {"quality": "fast", "size": size, "backward": backward}


def make_call(run: str, quality: str, layers: int, size: tuple[int, int], backward: bool) -> Callable[[], Any]:
    """One picture of radii up to 32 px at 1024 rows, with gradients to image, disparity and mask or none."""
    leaves = [values.cuda().requires_grad_(backward) for values in make_scene(*size)]
    renderer: Any = BokehRenderer(layers=layers, quality=quality)
    most = 32 * size[0] / 1024
    options: dict[str, Any] = {"focus": FOCUS, "strength": most / FOCUS}
    if run != "as it is":
        options["max_radius"] = most  # the radius need not be read
    if run == "compiled":
        renderer = torch.compile(renderer)

    def call() -> Any:
        with torch.set_grad_enabled(backward):
            picture: Tensor = renderer(*leaves, **options)
            return torch.autograd.grad(picture.square().mean(), leaves) if backward else picture

    return capture(call) if run == "captured" else call


def count_launches(call: Callable[[], Any]) -> int | str:
    """Kernels that one call starts, or why they cannot be counted."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    try:
        with torch.profiler.profile(activities=activities) as profile:
            call()
            torch.cuda.synchronize()
    except RuntimeError as error:
        return str(error)
    launches = ("cudaLaunchKernel", "cudaGraphLaunch")
    return sum(event.count for event in profile.key_averages() if event.key.startswith(launches))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    results: dict[str, Any] = {"machine": describe(), "cases": []}
    for case in list_cases():
        call = make_call(**case)
        result = case | time_call(call, 10)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        result["peak_mib"] = (torch.cuda.max_memory_allocated() - before) / 2**20
        result["launches"] = count_launches(call)
        results["cases"].append(result)
        write_json(out, results)
        name = f"{case['quality']} {case['layers']} {case['size'][0]}x{case['size'][1]} backward={case['backward']}"
        name += "" if case["run"] == "as it is" else f" {case['run']}"
        print(f"{name:50} {result['median_ms']:8.2f} ms  {result['peak_mib']:7.0f} MiB  {result['launches']} launches")


if __name__ == "__main__":
    main()
