"""Counts the operators that the layered renderer calls on the CPU.

``python benchmarks/count_operators.py [--size 1024x1536]``. Views and allocations do not count. A GPU has kernels of
its own for many steps (what is filled in behind, the frame, enlargement, sRGB, all slices at once), so it calls
fewer. What it really launches is counted by gpu_render.py.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import torch
from layered import parse_size
from scene import FOCUS, make_scene
from torch.utils._python_dispatch import TorchDispatchMode

from depthbokeh import composite, fuse_layers

_NO_KERNEL = (
    "empty",
    "new_empty",
    "detach",
    "alias",
    "_unsafe_view",
    "lift_fresh",
    "_local_scalar_dense",
    "promote_types",
)


class Count(TorchDispatchMode):
    """Counts what is called within it, and how often the host waits for a value."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.waits = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema = function._schema
        name = schema.name.partition("::")[2]
        self.waits += name in ("_local_scalar_dense", "nonzero")
        is_view = any(a.alias_info is not None and not a.alias_info.is_write for a in schema.arguments)
        if not is_view and not name.startswith(_NO_KERNEL):
            self.calls[name] += 1
        return function(*args, **(kwargs or {}))


def count(size: tuple[int, int], slices: int) -> dict[str, Count]:
    """Of fuse_layers, of composite, and of the gradient of both to image, disparity and mask."""
    leaves = [values.requires_grad_() for values in make_scene(*size)]
    image, disparity, mask = leaves
    counts = {name: Count() for name in ("fuse_layers", "composite", "backward")}
    strength = 32 * size[0] / 1024 / FOCUS
    with torch.no_grad():
        with counts["fuse_layers"]:
            layers = fuse_layers(disparity, mask, focus=FOCUS, strength=strength, image=image, layers=None)
        with counts["composite"]:
            composite(image, layers, slices=slices)
    layers = fuse_layers(disparity, mask, focus=FOCUS, strength=strength, image=image, layers=None)
    picture = composite(image, layers, slices=slices)
    with counts["backward"]:
        torch.autograd.grad(picture.square().mean(), leaves)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, default=(256, 384), help="HEIGHTxWIDTH")
    size = parser.parse_args().size
    for slices in (1, 8, 16):
        for name, found in count(size, slices).items():
            most = ", ".join(f"{call} {number}" for call, number in found.calls.most_common(6))
            print(f"{slices:2} slices {name:12} {found.calls.total():5} operators, {found.waits} waits: {most}")


if __name__ == "__main__":
    main()
