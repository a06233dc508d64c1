"""Draws the report's curves: time over a quantity, both axes logarithmic, so that a power is a straight line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from report import Curve

_STYLES = {
    "tap_scalar": ("#b2182b", "tap loop, scalar: O(r²)"),
    "tap_simd": ("#ef8a62", "tap loop, SIMD: O(r²)"),
    "gaussian": ("#7b3294", "scatter_blur, gaussian"),
    "scatter": ("#2166ac", "scatter_blur, disk"),
    "gather": ("#67a9cf", "gather_blur, disk"),
    "planes_fft": ("#ef8a62", "as many planes, by FFT"),
    "render": ("#1b7837", "composite"),
    "render forward+backward": ("#7fbf7b", "composite, forward and backward"),
}
_AXES = {"radius": "largest radius [px]", "pixels": "pixels", "channels": "channels", "layers": "layers"}
# Call, power and text of the lines that show what a power looks like.
_GUIDES = {
    "radius": (("tap_simd", 2, "∝ r²"), ("scatter", 1, "∝ r")),
    "pixels": (("scatter", 1, "∝ n"),),
    "channels": (("scatter", 1, "∝ c"),),
    "layers": (("render", 1, "∝ k"),),
}


def draw(curves: dict[str, Curve], machine: dict[str, Any], path: Path) -> None:
    """Writes a PNG with a panel for every quantity."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(12, 10), layout="constrained")
    for axes, name in zip(panels.flat, _AXES, strict=True):
        _draw_panel(axes, curves[name], name)
    figure.suptitle(f"{machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}", fontsize=10)
    figure.savefig(path, dpi=130, format="png")
    plt.close(figure)


def _draw_panel(axes: Any, curve: Curve, name: str) -> None:
    timings = curve.timings
    for call, (colour, text) in _STYLES.items():
        points = [(at, times[call]) for at, times in timings.items() if call in times]
        if points:
            at = [x for x, _ in points]
            axes.plot(at, [t.median_ms for _, t in points], "o-", color=colour, label=text)
            axes.fill_between(at, [t.q1_ms for _, t in points], [t.q3_ms for _, t in points], color=colour, alpha=0.2)
    for call, power, text in _GUIDES[name]:
        at = [x for x, times in timings.items() if call in times]
        # A straight line of that power, a little above the curve's last two points.
        guide = [1.3 * timings[at[-1]][call].median_ms * (x / at[-1]) ** power for x in (at[-2], at[-1])]
        axes.plot(at[-2:], guide, ":", color="0.3")
        axes.annotate(text, (at[-1], guide[-1]), xytext=(-4, 2), textcoords="offset points", ha="right", color="0.3")
    axes.set(xscale="log", yscale="log", xlabel=_AXES[name], ylabel="time [ms]", title=curve.title)
    ticks = list(timings)
    axes.set_xticks(ticks, [f"{at:g}" if at < 1e4 else f"{at / 1e6:.2g} M" for at in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.title.set_fontsize(10)
    axes.grid(which="both", alpha=0.2)
    axes.legend(fontsize=9)
