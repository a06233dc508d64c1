"""Times the blur beside the O(r^2) tap loop and writes tables, JSON and a plot.

``python benchmarks/report.py --out benchmarks/results [--quick]``; see README.md for what the figures mean.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Two OpenMP runtimes share the cores, torch's and the yardstick's: threads that wait must not spin in the other's way.
os.environ["OMP_WAIT_POLICY"] = "passive"

import baselines
import torch
from plot import draw
from rich.console import Console
from rich.table import Table
from scene import FOCUS, make_scene
from tap_loop import YARDSTICKS, TapLoop, TapLoopUnavailable, describe_machine, load_yardsticks, make_inputs

from depthbokeh import DefocusLayers, composite, fuse_defocus, fuse_layers, gather_blur, scatter_blur

MAPS = ("noise", "smooth")
APERTURES = {
    "polygon:6": 1.5,
    "polygon:6:15": 1.5,
    "polygon:5": 1.5,
    "polygon:5:10": 1.5,
    "polygon:7:15": 1.5,
    "ellipse:0.6": 1.5,
    "ellipse:0.6:30": 1.5,
    "cat_eye:0.4": 1.5,
    "cat_eye:0.4:30": 1.5,
    "ring:0.5": 2.0,
    "gaussian": 8.0,
}
TARGET_SIZE = (1024, 1536)
NAMES = {"tap_scalar": "tap scalar", "tap_simd": "tap SIMD", "reference": "reference"}
# After a call the threads of its OpenMP runtime wait in a busy loop; they sleep before the next one is timed.
_PAUSE_S = 0.01


@dataclass(frozen=True)
class Timing:
    """What a call lasted, over all its repeats."""

    median_ms: float
    q1_ms: float
    q3_ms: float
    repeats: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Median and quartiles of the repeats."""
        ms = [1000 * s for s in seconds]
        q1, median, q3 = statistics.quantiles(ms, n=4, method="inclusive") if len(ms) > 1 else ms * 3
        return cls(median, q1, q3, len(ms))

    def __str__(self) -> str:
        digits = 0 if self.median_ms >= 100 else 1
        return f"{self.median_ms:.{digits}f} ± {(self.q3_ms - self.q1_ms) / 2:.{digits}f}"


@dataclass
class Target:
    """One line of the targets' table: a figure and what it should be."""

    name: str
    radius_map: str
    measured: float
    limit: float | None = None  # without one the figure is published and not judged
    at_most: bool = True
    aim: float | None = None
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        """Whether the figure keeps its limit."""
        if self.limit is None:
            return None
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


@dataclass
class Curve:
    """Times of several calls over one quantity, such as the radius."""

    title: str
    axis: str
    timings: dict[float, dict[str, Timing]] = field(default_factory=dict)

    def powers(self) -> dict[str, float]:
        """The p of ``time ~ quantity^p`` for every call, over the upper half of its points."""
        powers = {}
        for name in dict.fromkeys(name for timings in self.timings.values() for name in timings):
            points = [(at, timings[name].median_ms) for at, timings in self.timings.items() if name in timings]
            (at0, t0), (at1, t1) = points[(len(points) - 1) // 2], points[-1]
            if at0 < at1:
                powers[name] = math.log(t1 / t0) / math.log(at1 / at0)
        return powers


@dataclass
class Bench:
    """Runs calls side by side and keeps all that was measured."""

    quick: bool
    console: Console
    yardsticks: dict[str, TapLoop]
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width at which the targets are measured."""
        return (256, 384) if self.quick else TARGET_SIZE

    def time(self, case: dict[str, Any], calls: dict[str, Callable[[], Any]]) -> dict[str, Timing]:
        """Times ``calls`` in turn (A B A B ...), so that a change of the machine's mood meets all of them alike.

        Short calls are repeated within a round. It ends after 7 rounds, or after 2 and some seconds.
        """
        self.console.print("[dim]" + " ".join(str(value) for value in case.values()) + "[/dim]")
        for name, call in calls.items():
            if name not in self.yardsticks:  # those are warm since they were loaded
                call()
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        rounds, least, budget_s = (3, 2, 1.0) if self.quick else (7, 2, 10.0)
        start = time.perf_counter()
        for done in range(rounds):
            if done >= least and time.perf_counter() - start > budget_s:
                break
            for name, call in calls.items():
                spent = 0.0
                while spent < 0.1 and len(seconds[name]) < 3 * (done + 1):
                    time.sleep(_PAUSE_S)
                    before = time.perf_counter()
                    call()
                    seconds[name].append(time.perf_counter() - before)
                    spent += seconds[name][-1]
        timings = {name: Timing.of(times) for name, times in seconds.items()}
        self.samples += [{**case, "call": name, **asdict(timing)} for name, timing in timings.items()]
        return timings

    def native(self, *inputs: torch.Tensor) -> dict[str, Callable[[], Any]]:
        """The native scatter alone."""
        return {"scatter": functools.partial(scatter_blur, *inputs, backend="native")}

    def beside(self, *inputs: torch.Tensor) -> dict[str, Callable[[], Any]]:
        """The native scatter and both yardsticks on the same inputs."""
        calls = {name: functools.partial(loop, *inputs) for name, loop in self.yardsticks.items()}
        return {**self.native(*inputs), **calls}


def measure_targets(bench: Bench) -> list[Target]:
    """All figures that have a target, at the size for which the targets are meant."""
    lines: list[Target] = []
    height, width = bench.size
    base = {"table": "targets", "size": f"{height}x{width}"}
    for radius, limit, aim in ((8, 12, 20), (32, 60, 120)):
        for kind in MAPS:
            inputs = make_inputs(height, width, radius, kind)
            took = bench.time({**base, "radius": radius, "map": kind}, bench.beside(*inputs))
            for name in YARDSTICKS:
                ratio = took[name].median_ms / took["scatter"].median_ms
                line = Target(f"r up to {radius}: {NAMES[name]} / scatter", kind, ratio, at_most=False)
                if name == "tap_scalar":  # the loop that the targets were set against
                    line.limit, line.aim = limit, aim
                lines.append(line)
    for kind in MAPS:
        calls = {
            f"r {radius}": functools.partial(scatter_blur, *make_inputs(height, width, radius, kind), backend="native")
            for radius in (32, 64)
        }
        took = bench.time({**base, "growth": "r 32 to 64", "map": kind}, calls)
        lines.append(Target("r up to 64 / r up to 32", kind, _ratio(took, "r 64", "r 32"), 2.2))
    for operator in (scatter_blur, gather_blur):
        for kind in MAPS:
            name = operator.__name__
            calls = _forward_and_backward(operator, *make_inputs(height, width, 32, kind))
            took = bench.time({**base, "operator": name, "radius": 32, "map": kind}, calls)
            ratio = _ratio(took, "forward+backward", "forward")
            lines.append(Target(f"{name}, r up to 32: forward+backward / forward", kind, ratio, 4, aim=3))
    for radius in (8, 32):
        for kind in MAPS:
            shapes = APERTURES if radius == 32 else {"gaussian": APERTURES["gaussian"]}
            image, blur_radius = make_inputs(height, width, radius, kind)
            calls = {
                shape: functools.partial(scatter_blur, image, blur_radius, shape, backend="native")
                for shape in ("disk", *shapes)
            }
            took = bench.time({**base, "apertures": "all", "radius": radius, "map": kind}, calls)
            for shape, limit in shapes.items():
                lines.append(Target(f"r up to {radius}: {shape} / disk", kind, _ratio(took, shape, "disk"), limit))
    return lines


def measure_scratch(bench: Bench) -> list[Target]:
    """Memory beside inputs and outputs, each call in a process of its own."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # freed memory goes back at once
    lines = []
    for probe in ("scatter disk", "gather disk", "scatter gaussian", "scatter disk forward+backward"):
        bench.console.print(f"[dim]scratch memory {probe}[/dim]")
        command = [sys.executable, __file__, "--probe", probe]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        planes = float(run.stdout)
        lines.append(Target(f"r up to 32: scratch of {probe}", "noise", planes, 8, unit=" planes"))
    return lines


def probe_scratch(probe: str) -> float:
    """Growth of the peak resident memory over one call beyond its outputs, in planes of H x W float32."""
    operator, aperture, *backward = probe.split()
    blur = functools.partial(
        {"scatter": scatter_blur, "gather": gather_blur}[operator], aperture=aperture, backend="native"
    )

    def run(height: int, width: int) -> Callable[[], list[torch.Tensor]]:
        image, radius = (x.requires_grad_(bool(backward)) for x in make_inputs(height, width, 32))
        gradient = torch.ones_like(image)

        def call() -> list[torch.Tensor]:
            blurred = blur(image, radius)
            return [blurred, *torch.autograd.grad(blurred, (image, radius), gradient)] if backward else [blurred]

        return call

    run(64, 64)()  # loads code and starts threads
    call = run(*TARGET_SIZE)
    before = reset_peak()
    outputs = call()
    grown = peak_bytes() - before - sum(x.numel() * x.element_size() for x in outputs)
    return grown / (4 * TARGET_SIZE[0] * TARGET_SIZE[1])


def reset_peak() -> int:
    """Sets the recorded peak back to the memory in use where the system can; returns the peak as it is then."""
    # Where it cannot, the making of the inputs counts and the figure may come out one plane too small.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_bytes()


def peak_bytes() -> int:
    """The recorded peak of resident memory."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    except (OSError, TypeError):  # not Linux
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def measure_curves(bench: Bench) -> dict[str, Curve]:
    """Time over radius, pixels, channels and layers, and the PyTorch reference at a small size."""
    quick = bench.quick
    size = (256, 384) if quick else (512, 768)
    curves = {
        name: Curve(title, axis)
        for name, title, axis in (
            ("radius", f"Growth with the radius: {size[0]}x{size[1]}, 4 channels, noise", "r up to"),
            ("pixels", "Growth with the size: r up to 16, 4 channels, noise", "pixels"),
            ("channels", f"Growth with the channels: {size[0]}x{size[1]}, r up to 16, noise", "channels"),
            ("layers", f"Growth with the layers: {size[0]}x{size[1]}, r up to 16", "layers"),
            ("reference", "Backends: 256x384, 4 channels, noise", "r up to"),
        )
    }

    def measure(name: str, at: float, size: tuple[int, int], radius: float, channels: int = 4, **more: Any) -> None:
        inputs = make_inputs(*size, radius, channels=channels)
        # Beyond 64 px the yardsticks take minutes; the PyTorch reference needs none.
        calls = bench.native(*inputs) if radius > 64 or name == "reference" else bench.beside(*inputs)
        calls |= {call: functools.partial(blur, *inputs) for call, blur in more.items()}
        case = {"table": name, "size": f"{size[0]}x{size[1]}", "radius": radius, "channels": channels}
        curves[name].timings[at] = bench.time(case, calls)

    gather = functools.partial(gather_blur, backend="native")
    gaussian = functools.partial(scatter_blur, aperture="gaussian", backend="native")
    reference = functools.partial(scatter_blur, backend="reference")
    for radius in (1, 8, 16, 32) if quick else (1, 2, 4, 8, 16, 32, 64, 128):
        measure("radius", radius, size, radius, gather=gather, gaussian=gaussian)
    for height in (128, 256) if quick else (256, 512, 1024, 2048):
        width = height * 3 // 2
        measure("pixels", height * width, (height, width), 16, gather=gather)
    for channels in (1, 4) if quick else (1, 3, 4, 8, 16):
        measure("channels", channels, size, 16, channels)
    for count in (1, 4) if quick else (1, 2, 4, 8, 16, 32):
        case = {"table": "layers", "size": f"{size[0]}x{size[1]}", "radius": 16, "layers": count}
        curves["layers"].timings[count] = bench.time(case, render_layers(size, count))
    for radius in (8,) if quick else (8, 32):
        measure("reference", radius, (256, 384), radius, reference=reference)
    return curves


def render_layers(size: tuple[int, int], count: int) -> dict[str, Callable[[], Any]]:
    """A picture from so many depth slices, and MPIB's renderer with as many planes."""
    image, disparity, mask = make_scene(*size)
    strength = 16 / float((disparity - FOCUS).abs().max())
    layers = fuse_layers(disparity, mask, focus=FOCUS, strength=strength, image=image, layers=None)
    defocus = fuse_defocus(disparity, mask, strength=strength, focus=FOCUS)
    assert layers.color is not None
    color = layers.color.clone().requires_grad_()
    leaf = DefocusLayers(layers.alpha, layers.defocus, color)

    def both() -> torch.Tensor:
        return torch.autograd.grad(composite(image, leaf, slices=count).square().mean(), color)[0]

    return {
        "render": torch.no_grad()(functools.partial(composite, image, layers, slices=count)),
        "render forward+backward": both,
        "planes_fft": torch.no_grad()(functools.partial(baselines.planes, image, defocus, count)),
    }


def compare_pictures(bench: Bench) -> dict[str, float]:
    """How far the tap loop's picture is from the exact disk, relative in the 2-norm: is it the same blur?"""
    image, radius = make_inputs(256, 384, 8, "smooth")
    exact = scatter_blur(image, radius + 4)
    return {n: float((f(image, radius + 4) - exact).norm() / exact.norm()) for n, f in bench.yardsticks.items()}


def _forward_and_backward(
    operator: Callable[..., torch.Tensor], image: torch.Tensor, radius: torch.Tensor
) -> dict[str, Callable[[], Any]]:
    leaves = [x.clone().requires_grad_() for x in (image, radius)]
    gradient = torch.rand_like(image)

    def both() -> Any:
        return torch.autograd.grad(operator(*leaves, backend="native"), leaves, gradient)

    return {
        "forward": functools.partial(operator, image, radius, backend="native"),
        "forward+backward": both,
    }


def _ratio(timings: dict[str, Timing], above: str, below: str) -> float:
    return timings[above].median_ms / timings[below].median_ms


def list_losses(bench: Bench) -> list[str]:
    """Every case in which a yardstick was at least as fast as the native scatter beside it."""
    losses, ours = [], {}
    for sample in bench.samples:
        case = tuple((k, v) for k, v in sample.items() if k in ("table", "size", "radius", "map", "channels"))
        if sample["call"] == "scatter":
            ours[case] = sample["median_ms"]
        elif sample["call"] in bench.yardsticks and case in ours and sample["median_ms"] <= ours[case]:
            where = ", ".join(f"{key} {value}" for key, value in case if key != "table")
            times = f"{ours[case]:.1f} ms against {sample['median_ms']:.1f} ms"
            losses.append(f"{where}: {times} of the {NAMES[sample['call']]}")
    return losses


def print_targets(bench: Bench, lines: list[Target]) -> None:
    size = "x".join(str(n) for n in bench.size)
    note = f" (the targets are meant for {TARGET_SIZE[0]}x{TARGET_SIZE[1]})" if bench.quick else ""
    table = Table(title=f"Targets: {size}, 4 channels, float32{note}; memory at 1024x1536", title_justify="left")
    for name in ("figure", "map"):
        table.add_column(name)
    for name in ("measured", "target", "aim"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for line in lines:
        sign = "≤" if line.at_most else "≥"
        verdict = {None: "[dim]published[/dim]", True: "[green]met[/green]", False: "[red]missed[/red]"}[line.met]
        limit = "" if line.limit is None else f"{sign} {line.limit:g}{line.unit}"
        aim = "" if line.aim is None else f"{sign} {line.aim:g}{line.unit}"
        table.add_row(line.name, line.radius_map, f"{line.measured:.2f}{line.unit}", limit, aim, verdict)
    bench.console.print(table)


def print_curve(bench: Bench, curve: Curve) -> None:
    """Times in milliseconds with their growth from the row above, the ratios and, last, the power of the growth."""
    table = Table(title=f"{curve.title} (ms: median ± IQR/2, growth from the row above)", title_justify="left")
    names = list(dict.fromkeys(name for timings in curve.timings.values() for name in timings))
    slower = [name for name in names if name in NAMES]
    for heading in (curve.axis, *(NAMES.get(n, n) for n in names), *(f"{NAMES[n]} / scatter" for n in slower)):
        table.add_column(heading, justify="right")
    above: dict[str, Timing] = {}
    for at, timings in curve.timings.items():
        cells = [f"{at:g}" if at < 1e4 else f"{at / 1e6:.3f} M"]
        for name in names:
            growth = ""
            if name in timings and name in above:
                growth = f"\n[dim]{timings[name].median_ms / above[name].median_ms:.2f}x[/dim]"
            cells.append(f"{timings.get(name, '')}{growth}")
        cells += [f"{_ratio(timings, name, 'scatter'):.1f}x" if name in timings else "" for name in slower]
        table.add_row(*cells)
        above = timings
    powers = curve.powers()
    if powers:
        table.add_section()
        table.add_row("power", *(f"{powers[name]:.2f}" if name in powers else "" for name in names))
    bench.console.print(table)


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes beside ``path`` and renames: a reader sees the old file or the whole new one."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    try:
        write(Path(part))
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for JSON and plot")
    parser.add_argument("--quick", action="store_true", help="small sizes, for a check in under 40 s")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        print(probe_scratch(arguments.probe))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 130)
    try:
        bench = Bench(arguments.quick, console, load_yardsticks())
        scatter_blur(*make_inputs(8, 8, 2), backend="native")
    except (TapLoopUnavailable, RuntimeError) as error:
        console.print(f"no report: {error}", markup=False)
        return 1
    start = time.perf_counter()
    machine = describe_machine()
    busy = os.getloadavg()[0]
    if busy > 0.5:
        console.print(f"[yellow]The machine is busy already (load {busy:.1f}): expect worse figures.[/yellow]")
    console.print_json(data=machine)
    targets = measure_targets(bench) + measure_scratch(bench)
    curves = measure_curves(bench)
    losses = list_losses(bench)
    print_targets(bench, targets)
    for curve in curves.values():
        print_curve(bench, curve)
    console.print("The tap loop was faster in: " + ("; ".join(losses) or "no case"), markup=False)
    report = {
        "machine": machine,
        "quick": bench.quick,
        "load_before": busy,
        "seconds": round(time.perf_counter() - start, 1),
        "targets": [{**asdict(line), "met": line.met} for line in targets],
        "losses": losses,
        "growth_powers": {name: curve.powers() for name, curve in curves.items()},
        "tap_loop_difference": compare_pictures(bench),
        "samples": bench.samples,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    replace_file(arguments.out / "kernel_cpu.json", lambda part: part.write_text(text, encoding="utf-8"))
    replace_file(arguments.out / "kernel_cpu.png", lambda part: draw(curves, machine, part))
    console.print(f"kernel_cpu.json and kernel_cpu.png are in {arguments.out}; {report['seconds']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
