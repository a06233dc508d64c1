"""Times the CUDA kernels: ``python benchmarks/gpu_speed.py --out FILE.json``.

Every figure is the time between two CUDA events round one call, with warm caches: median and quartiles of many calls
after some to warm up. Beside the operators stand their peers (peers/), MPIB's planes, a blur by one radius for all
pixels and a copy of as many bytes as a call must read and write at least.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import baselines
import torch
import torch.nn.functional as F
from graphs import capture
from peers import CudaPeers, compile_peers
from tap_loop import describe_machine, make_inputs
from torch import Tensor

from depthbokeh import gather_blur, scatter_blur

_OPERATORS: dict[str, Callable[..., Tensor]] = {"scatter": scatter_blur, "gather": gather_blur}
# Milliseconds that a call may take: (operator, size, radius, direction).
TARGETS = {
    ("scatter", (1024, 1536), 32, "forward"): 1.0,
    ("scatter", (1024, 1536), 32, "both"): 3.0,
    ("scatter", (2160, 3840), 64, "forward"): 10.0,
}


@functools.cache
def load_peers() -> CudaPeers:
    """The peers' kernels, compiled on first use."""
    return CudaPeers(compile_peers())


def blur_by_one_radius(image: Tensor, radius: int) -> Tensor:
    """A Gaussian of sigma = r / 2 for all pixels, by two convolutions: no map of radii can be expected to beat it."""
    taps = torch.exp(-2 * (torch.arange(-radius, radius + 1, device=image.device) / radius) ** 2)
    kernel = (taps / taps.sum()).view(1, 1, -1, 1).expand(image.shape[1], -1, -1, -1)
    across = F.conv2d(image, kernel.mT, padding=(0, radius), groups=image.shape[1])
    return F.conv2d(across, kernel, padding=(radius, 0), groups=image.shape[1])


# Image, map of radii, largest radius. Those that make pictures take three channels and blur a fourth, the weight.
_PEERS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "bokehme_scatter": lambda image, radius, most: load_peers().bokehme_scatter(image[:, :3], radius),
    "tile_gather": lambda image, radius, most: load_peers().tile_gather(image, radius, most),
    "planes_conv2d": lambda image, radius, most: baselines.planes(image[:, :3], radius, 32, by_fft=False),
    "planes_fft": lambda image, radius, most: baselines.planes(image[:, :3], radius, 32),
    "one_radius": lambda image, radius, most: blur_by_one_radius(image, most),
}


@dataclass(frozen=True)
class Case:
    """One thing to time."""

    operator: str = "scatter"
    size: tuple[int, int] = (1024, 1536)
    radius: int = 32
    aperture: str = "disk"
    dtype: str = "float32"
    radius_map: str = "noise"
    direction: str = "forward"  # or "both": forward, and backward to image and radius
    backend: str = "native"  # or "reference", or one of _PEERS
    channels: int = 4


def list_cases() -> Iterator[Case]:
    """All cases, the peers among them."""
    for operator in _OPERATORS:
        for direction in ("forward", "both"):
            for radius_map in ("noise", "smooth"):
                for radius in (2, 8, 32, 64):
                    yield Case(operator, radius=radius, radius_map=radius_map, direction=direction)
                yield Case(operator, (2160, 3840), 64, radius_map=radius_map, direction=direction)
    for aperture in ("polygon:6", "polygon:5:10:0.3", "ring:0.5", "ellipse:0.6:30", "gaussian"):
        for direction in ("forward", "both"):
            yield Case(aperture=aperture, direction=direction)
    for dtype in ("float64", "bfloat16"):
        yield Case(dtype=dtype)
    for channels in (1, 8, 16):
        yield Case(channels=channels)
    for size in ((256, 384), (512, 768), (2160, 3840)):
        yield Case(size=size)
    for radius in (2, 8, 32, 64):
        for peer in _PEERS:
            yield Case(radius=radius, backend=peer)
    yield Case(size=(512, 768), radius=8, backend="reference")


def prepare(case: Case, image: Tensor, radius: Tensor) -> Callable[[], Tensor]:
    """The forward call of a case."""
    if case.backend in _PEERS:
        return functools.partial(_PEERS[case.backend], image, radius, case.radius)
    return functools.partial(_OPERATORS[case.operator], image, radius, case.aperture, backend=case.backend)


def time_call(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median and quartiles in milliseconds."""
    for _ in range(3):
        call()
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for begin, end in events:
        begin.record()
        call()
        end.record()
    torch.cuda.synchronize()
    quartiles = statistics.quantiles([begin.elapsed_time(end) for begin, end in events], n=4, method="inclusive")
    return dict(zip(("q1_ms", "median_ms", "q3_ms"), quartiles, strict=True))


def run(case: Case) -> dict[str, Any]:
    """Times one case, as called and replayed from a CUDA graph, and its peak of scratch memory."""
    inputs = make_inputs(*case.size, case.radius, case.radius_map, channels=case.channels)
    image, radius = (t.cuda() for t in inputs)
    image = image.to(getattr(torch, case.dtype))
    call = prepare(case, image, radius)
    if case.direction == "both":
        image.requires_grad_()
        radius.requires_grad_()
        gradient = torch.ones_like(image)
        forward = call

        def call() -> Any:
            return torch.autograd.grad(forward(), (image, radius), gradient)

    repeats = 50 if case.backend == "native" else 5
    result = asdict(case) | time_call(call, repeats)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    result["peak_mib"] = (torch.cuda.max_memory_allocated() - before) / 2**20
    if case.backend == "native" and case.direction == "forward":
        result["graph"] = time_call(capture(call), repeats)
    target = TARGETS.get((case.operator, case.size, case.radius, case.direction))
    if target is not None and case.aperture == "disk" and case.dtype == "float32" and case.backend == "native":
        result["target_ms"] = target
    # Image and radius are read, the result is written; the way back reads both and a gradient and writes two.
    pixels, channels = radius.numel(), image.shape[1]
    planes = 2 * channels + 1 if case.direction == "forward" else 5 * channels + 3
    floor = torch.empty(pixels * planes // 2, device="cuda")
    result["copy_of_as_many_bytes"] = time_call(functools.partial(torch.empty_like(floor).copy_, floor), 50)
    return result


def describe() -> dict[str, Any]:
    """The machine."""
    properties = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit", "--format=csv"]
    try:
        smi = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    except (OSError, subprocess.CalledProcessError) as error:
        smi = [str(error)]
    return describe_machine() | {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": properties.total_memory / 2**30,
        "torch_cuda": torch.version.cuda,
        "nvidia_smi": smi,
    }


def write_json(path: Path, results: dict[str, Any]) -> None:
    """Beside ``path`` first: an interrupted run leaves what it had."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def main() -> None:
    """Times all cases and writes them after each, so that an interrupted run leaves what it has."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    results: dict[str, Any] = {"machine": describe(), "cases": []}
    for case in list_cases():
        try:
            result = run(case)
        except RuntimeError as error:  # of memory, or of a peer: the others are timed all the same
            results["cases"].append(asdict(case) | {"error": str(error).partition("\n")[0]})
            write_json(out, results)
            print(f"{case}: {error}", flush=True)
            continue
        results["cases"].append(result)
        write_json(out, results)
        name = f"{case.operator} {case.size[0]}x{case.size[1]} r{case.radius} {case.radius_map} {case.aperture}"
        target = f"  target {result['target_ms']:g}" if "target_ms" in result else ""
        copy = result["copy_of_as_many_bytes"]["median_ms"]
        what = f"{name} {case.dtype} {case.channels} channels {case.direction} {case.backend}"
        print(f"{what:90} {result['median_ms']:8.3f} ms  copy {copy:.3f}{target}", flush=True)


if __name__ == "__main__":
    main()
