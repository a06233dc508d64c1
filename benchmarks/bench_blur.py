"""The blur operators over backend, size, radius, aperture, type and direction.

``pytest benchmarks/bench_blur.py --benchmark-only [--quick] [--benchmark-json=FILE]``. Only calls of one group, which
are made one after the other, are comparable; for ratios measured in turn see report.py.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import kornia
import numpy as np
import pytest
import torch
from tap_loop import YARDSTICKS, TapLoop, make_inputs

import depthbokeh

_OPERATORS = {"scatter": depthbokeh.scatter_blur, "gather": depthbokeh.gather_blur}
_APERTURES = ("polygon:6", "polygon:5", "ring:0.5", "ellipse:0.6", "ellipse:0.6:30", "cat_eye:0.4", "gaussian")


def _prepare_opencv(
    blur: Callable[[np.ndarray, int], np.ndarray], image: torch.Tensor, radius: int
) -> Callable[[], Any]:
    pixels = image[0].permute(1, 2, 0).contiguous().numpy()  # (H, W, C)
    return lambda: torch.from_numpy(blur(pixels, radius))


def _blur_by_box(image: np.ndarray, radius: int) -> np.ndarray:
    return cv2.blur(image, (2 * radius + 1, 2 * radius + 1))


def _blur_by_disk(image: np.ndarray, radius: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.float32)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _prepare_kornia(image: torch.Tensor, radius: int) -> Callable[[], torch.Tensor]:
    """A Gaussian of the disk's second moment, by two convolutions."""
    size, sigma = 2 * radius + 1, radius / 2
    return lambda: kornia.filters.gaussian_blur2d(image, (size, size), (sigma, sigma))


# One radius for the whole picture: what no blur by a map of radii can be expected to beat.
_CONSTANT: dict[str, Callable[[torch.Tensor, int], Callable[[], torch.Tensor]]] = {
    "opencv_box": functools.partial(_prepare_opencv, _blur_by_box),
    "opencv_disk": functools.partial(_prepare_opencv, _blur_by_disk),
    "kornia_gaussian": _prepare_kornia,
}


@dataclass(frozen=True)
class Case:
    """One thing to time; ``backend`` may be a yardstick's name, or a blur by one radius for all pixels."""

    operator: str = "scatter"
    backend: str = "native"
    size: tuple[int, int] = (1024, 1536)
    radius: int = 32
    aperture: str = "disk"
    dtype: str = "float32"
    radius_map: str = "noise"
    direction: str = "forward"  # or "backward": that alone, to image and radius

    def __str__(self) -> str:
        size = f"{self.size[0]}x{self.size[1]}-r{self.radius}"
        what = f"{self.operator}-{self.backend}-{size}-{self.aperture}"
        return f"{what}-{self.dtype}-{self.radius_map}-{self.direction}"

    @property
    def group(self) -> str:
        """What is compared with one another."""
        return f"{self.operator} {self.direction} {self.size[0]}x{self.size[1]} r{self.radius}"

    @property
    def rounds(self) -> int:
        """Few for what lasts seconds."""
        slow = self.radius**2 * self.size[0] * self.size[1] > 4e8
        if self.backend == "tap_scalar":
            return 1 if slow else 3
        if self.backend in ("tap_simd", "reference") or self.aperture == "gaussian":
            return 2 if slow else 3
        return 5


def _list_cases(quick: bool) -> Iterator[Case]:
    small, middle, large = (256, 384), (512, 768), (1024, 1536)
    if quick:
        middle = large = small
    for size in dict.fromkeys((small, middle, large)):
        for radius in (8, 32) if size == small else (8, 32, 64):
            for operator, direction in itertools.product(_OPERATORS, ("forward", "backward")):
                case = Case(operator, size=size, radius=radius, direction=direction)
                yield case
                if radius == 32:
                    yield replace(case, radius_map="smooth")
                # Its backward at 32 px lasts seconds and says no more.
                if size == small and (radius == 8 or (direction == "forward" and not quick)):
                    yield replace(case, backend="reference")
            if (size, radius) != ((1024, 1536), 64):  # the scalar yardstick takes 20 s there
                for yardstick in YARDSTICKS:
                    yield Case(backend=yardstick, size=size, radius=radius)
            for bound in _CONSTANT:
                yield Case(backend=bound, size=size, radius=radius)
    for aperture in _APERTURES:
        yield Case(size=large, aperture=aperture)
        yield Case(size=middle, aperture=aperture, direction="backward")
    for dtype in ("bfloat16", "float64"):
        yield Case(size=large, dtype=dtype)
    if not quick:
        yield Case(size=small, aperture="gaussian", backend="reference")
        yield Case(size=(2160, 3840))
        yield Case(size=(2160, 3840), radius_map="smooth")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # Cases of a group stay together, so that they are timed within seconds of each other.
    order: dict[str, list[Case]] = {}
    for case in dict.fromkeys(_list_cases(metafunc.config.getoption("quick"))):
        order.setdefault(case.group, []).append(case)
    metafunc.parametrize("case", [case for group in order.values() for case in group], ids=str)


def test_blur(case: Case, benchmark: Any, yardsticks: dict[str, TapLoop | str]) -> None:
    """Times one case, after one call to warm up."""
    benchmark.group = case.group
    benchmark.extra_info.update(asdict(case))
    image, radius = make_inputs(*case.size, case.radius, case.radius_map, dtype=getattr(torch, case.dtype))
    call = _prepare(case, image, radius, yardsticks)
    warm_up = 0 if case.rounds < 3 else 1
    result = benchmark.pedantic(call, rounds=case.rounds, warmup_rounds=warm_up)
    assert bool(torch.isfinite(result).all())


def _prepare(
    case: Case, image: torch.Tensor, radius: torch.Tensor, yardsticks: dict[str, TapLoop | str]
) -> Callable[[], torch.Tensor]:
    if case.backend in _CONSTANT:
        return _CONSTANT[case.backend](image, case.radius)
    if case.backend in yardsticks:
        loop = yardsticks[case.backend]
        if isinstance(loop, str):
            pytest.skip(loop)
        return functools.partial(loop, image, radius)
    blur = functools.partial(
        _OPERATORS[case.operator], image, radius, case.aperture, max_radius=case.radius, backend=case.backend
    )
    if case.direction == "forward":
        return blur
    image.requires_grad_()
    radius.requires_grad_()
    blurred = blur()
    gradient = torch.ones_like(blurred)

    def backward() -> torch.Tensor:
        grads = torch.autograd.grad(blurred, (image, radius), gradient, retain_graph=True)
        return grads[1]

    return backward
