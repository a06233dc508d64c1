"""The scenes that the figures show: made up by depthbokeh.data, so that truth, disparity and mask are exact."""

from __future__ import annotations

from dataclasses import replace

from depthbokeh.data import Scene, SyntheticPair, random_scene

SIZE = (256, 384)


def make_pair(seed: int, radius: float) -> tuple[Scene, SyntheticPair]:
    """A scene whose largest blur radius is ``radius`` pixels, and its traced pictures and exact maps."""
    scene = random_scene(seed, SIZE)
    scene = replace(scene, strength=scene.strength * radius / scene.largest_radius())
    return scene, scene.render()
