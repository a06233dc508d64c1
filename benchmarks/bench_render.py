"""The renderers and the whole pipeline over quality, layers, size and direction, beside MPIB's planes.

``pytest benchmarks/bench_render.py --benchmark-only [--quick] [--benchmark-json=FILE]``. Only calls of one group are
comparable.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import baselines
import pytest
import torch
from scene import FOCUS, make_scene
from torch import Tensor

from depthbokeh import BokehRenderer, fuse_defocus
from depthbokeh.pipeline import BokehPipeline


@dataclass(frozen=True)
class Case:
    """One thing to time.

    ``scheme`` is a quality of ``BokehRenderer``, ``"planes_conv2d"`` (as many planes as layers, one conv2d each, the
    renderer of MPIB), ``"planes_fft"`` (the same by Fourier transforms, quicker for wide blurs) or ``"pipeline"``:
    subject and depth by the embedded models, then the default renderer.
    """

    scheme: str
    layers: int = 8
    size: tuple[int, int] = (512, 768)
    radius: int = 32
    direction: str = "forward"  # or "forward+backward", to image, disparity and mask

    def __str__(self) -> str:
        return f"{self.scheme}-{self.layers}-{self.size[0]}x{self.size[1]}-r{self.radius}-{self.direction}"

    @property
    def group(self) -> str:
        """What is compared with one another."""
        return f"render {self.direction} {self.size[0]}x{self.size[1]} r{self.radius}"


def _list_cases(quick: bool) -> Iterator[Case]:
    small, large = (512, 768), (1024, 1536)
    if quick:
        small = large = (128, 192)
    for size, direction in itertools.product(dict.fromkeys((small, large)), ("forward", "forward+backward")):
        yield Case("fast", size=size, direction=direction)
        for layers in (1, 8, 16):
            yield Case("default", layers, size, direction=direction)
    for radius in (8, 16, 64):
        yield Case("default", size=small, radius=radius)
    yield Case("planes_fft", 32, small)
    # Tap by tap 32 px would take minutes.
    for layers in (8, 32):
        for scheme in ("default", "planes_conv2d", "planes_fft"):
            yield Case(scheme, layers, (256, 384) if small[0] > 256 else small, radius=8)
    yield Case("pipeline", size=small)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    order: dict[str, list[Case]] = {}
    for case in dict.fromkeys(_list_cases(metafunc.config.getoption("quick"))):
        order.setdefault(case.group, []).append(case)
    metafunc.parametrize("case", [case for group in order.values() for case in group], ids=str)


def test_render(case: Case, benchmark: Any) -> None:
    """Times one case, after one call to warm up."""
    benchmark.group = case.group
    benchmark.extra_info.update(asdict(case))
    call = _prepare(case, make_scene(*case.size))
    large = case.size[0] * case.size[1] > 5e5
    result = benchmark.pedantic(call, rounds=2 if large else 3, warmup_rounds=1)
    assert bool(torch.isfinite(result).all())


def _prepare(case: Case, scene: tuple[Tensor, Tensor, Tensor]) -> Callable[[], Tensor]:
    image, disparity, mask = scene
    strength = case.radius / float((disparity - FOCUS).abs().max())
    render: Callable[[], Tensor]
    if case.scheme.startswith("planes"):
        defocus = fuse_defocus(disparity, strength=strength, focus=FOCUS)
        render = functools.partial(baselines.planes, image, defocus, case.layers, by_fft=case.scheme == "planes_fft")
    elif case.scheme == "pipeline":
        pipeline = BokehPipeline(BokehRenderer(layers=case.layers))
        render = lambda: pipeline(image, strength=strength).bokeh  # noqa: E731
    else:
        renderer = BokehRenderer(layers=case.layers, quality=case.scheme)
        render = functools.partial(renderer, image, disparity, mask, focus=FOCUS, strength=strength)
        if case.direction != "forward":
            return functools.partial(_render_and_differentiate, render, scene)
    return torch.no_grad()(render)


def _render_and_differentiate(render: Callable[[], Tensor], inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    for values in inputs:
        values.requires_grad_()
    return torch.autograd.grad(render().square().mean(), inputs)[0]
