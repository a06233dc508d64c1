"""Draws time over the radius from benchmarks/results/kernel_cpu.json: O(r) beside O(r²)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from style import GREEN, GREY, NAIVE, OURS, SOFT, run, save

_RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "kernel_cpu.json"
_CALLS = {
    "tap_scalar": ("tap loop, scalar", NAIVE),
    "tap_simd": ("tap loop, vectorised", SOFT),
    "scatter": ("scatter_blur, disk", OURS),
    "gather": ("gather_blur, disk", "#67a9cf"),
    "gaussian": ("scatter_blur, gaussian", GREEN),
}


def draw(out: Path) -> None:
    """Draws docs/images/growth.png."""
    results = json.loads(_RESULTS.read_text())
    samples = [sample for sample in results["samples"] if sample["table"] == "radius"]
    figure, (times, ratios) = plt.subplots(1, 2, figsize=(9.2, 3.7), layout="constrained", dpi=110)
    for call, (name, colour) in _CALLS.items():
        measured = sorted((sample for sample in samples if sample["call"] == call), key=lambda sample: sample["radius"])
        radius = [sample["radius"] for sample in measured]
        power = results["growth_powers"]["radius"][call]
        label = f"{name}: ∝ r^{power:.2f}"
        times.plot(radius, [sample["median_ms"] for sample in measured], "o-", color=colour, markersize=3, label=label)
        _draw_ratio(ratios, measured, samples, call, colour)
    times.set(xscale="log", yscale="log", xlabel="largest radius, px", ylabel="time, ms")
    times.set_title(f"{samples[0]['size'].replace('x', ' × ')}, 4 channels, {results['machine']['threads']} threads")
    times.legend(fontsize=7.5)
    ratios.axhline(1, color=GREY, linewidth=0.8)
    ratios.set(xscale="log", yscale="log", xlabel="largest radius, px", ylabel="times as long as scatter_blur, disk")
    ratios.set_title("the same, over scatter_blur of a disk")
    for axes in (times, ratios):
        axes.set_xticks(sorted({sample["radius"] for sample in samples}), minor=False)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(plt.NullLocator())
        axes.grid(alpha=0.25, linewidth=0.5)
    save(figure, out / "growth.png")


def _draw_ratio(axes: Any, measured: list[Any], samples: list[Any], call: str, colour: str) -> None:
    ours = {sample["radius"]: sample["median_ms"] for sample in samples if sample["call"] == "scatter"}
    if call != "scatter":
        radius = [sample["radius"] for sample in measured if sample["radius"] in ours]
        shares = [sample["median_ms"] / ours[sample["radius"]] for sample in measured if sample["radius"] in ours]
        axes.plot(radius, shares, "o-", color=colour, markersize=3)


if __name__ == "__main__":
    run(draw)
