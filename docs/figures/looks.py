"""Draws the same scene with other focus, other strength and other apertures."""

from __future__ import annotations

from pathlib import Path

from made_up import make_pair
from matplotlib import pyplot as plt
from style import encode, run, save, show

from depthbokeh import BokehRenderer

_SEED, _RADIUS = 37, 12.0
_SHAPES = ("disk", "polygon:6", "polygon:5:0:0.4", "ring:0.5", "cat_eye:0.5", "ellipse:0.6", "gaussian")


def draw(out: Path) -> None:
    """Draws docs/images/looks.jpg."""
    scene, pair = make_pair(_SEED, _RADIUS)
    near, far = float(pair.disparity.max()), float(pair.disparity.min())
    pictures = {"photo": (None, scene.focus, 0.0, "disk")}
    for name, focus in (("far", far), ("on the subject", scene.focus), ("in front of all", 1.6 * near)):
        pictures[f"focus {name}"] = (BokehRenderer(gamma="linear"), focus, 1.0, "disk")
    for share in (0.25, 0.5, 1.0, 2.0):
        pictures[f"strength × {share:g}"] = (BokehRenderer(gamma="linear"), scene.focus, share, "disk")
    for shape in _SHAPES:
        pictures[shape] = (BokehRenderer(shape, gamma="linear"), scene.focus, 1.0, shape)
    pictures["truth, disk"] = (None, scene.focus, 1.0, "disk")
    figure, panels = plt.subplots(4, 4, figsize=(10.4, 7.7), dpi=110)
    figure.subplots_adjust(left=0.004, right=0.996, top=0.965, bottom=0.006, wspace=0.03, hspace=0.16)
    for axes, (title, (renderer, focus, share, _)) in zip(panels.flat, pictures.items(), strict=True):
        if renderer is None:
            picture = pair.bokeh if share else pair.all_in_focus
        else:
            strength = share * scene.strength
            picture = renderer(pair.all_in_focus, pair.disparity, pair.mask, focus=focus, strength=strength)
        show(axes, encode(picture), title)
    save(figure, out / "looks.jpg")


if __name__ == "__main__":
    run(draw)
