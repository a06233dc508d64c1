from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import emulation
import pytest
import torch
from torch import Tensor

from depthbokeh import _native, blur, gather_blur, ops, scatter_blur

# The benchmarks are no package; what they compare with is tested too.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))


@dataclass(frozen=True)
class Backend:
    """One implementation of the blur operators; tensors of the tests come from the CPU and go back there."""

    name: str
    choice: str  # the operators' argument
    device: str = "cpu"

    def blur(self, operator: str, image: Tensor, radius: Tensor, aperture: str = "disk", **options) -> Tensor:
        run = {"scatter": scatter_blur, "gather": gather_blur}[operator]
        moved = (tensor.to(self.device) for tensor in (image, radius))
        return run(*moved, aperture, backend=self.choice, **options).to(image.device)

    @property
    def operators(self) -> Any:
        """The operators as torch knows them."""
        return getattr(torch.ops, ops.LIBRARY)

    @property
    def seams(self) -> tuple[int, int, float]:
        """Height, width and largest radius of a picture in which every seam between its tiles is reached over."""
        return 40, 290, 20

    @property
    def reads_values(self) -> bool:
        """Whether it finds values that are not allowed, such as a radius that is not finite, before it begins."""
        return self.device == "cpu"

    def require(self) -> None:
        """Skips where it is missing; fails in continuous integration, which must have it."""
        if self.choice == "native" and not ops.has_kernels(self.device):
            missing = _native.load().origin if self.device == "cpu" else "no CUDA kernels in the library"
            (pytest.fail if "CI" in os.environ else pytest.skip)(f"no native kernels: {missing}")


@dataclass(frozen=True)
class EmulatedBackend(Backend):
    """The CUDA kernels on the CPU, below the public functions, which do not know of them."""

    reads_values = False
    seams = 35, 67, 6

    def blur(self, operator, image, radius, aperture="disk", *, max_radius=None):
        image, radius, shape = blur._check(image, radius, aperture, max_radius, "native")
        run = {"scatter": ops.scatter_blur, "gather": ops.gather_blur}[operator]
        return run(image, radius, shape, emulation.LIBRARY)

    @property
    def operators(self):
        return getattr(torch.ops, emulation.LIBRARY)

    def require(self) -> None:
        if shutil.which(os.environ.get("CXX", "c++")) is None:
            (pytest.fail if "CI" in os.environ else pytest.skip)("no C++ compiler for the emulated CUDA kernels")
        emulation.load()


REFERENCE = Backend("reference", "reference")
NATIVE = Backend("native", "native")
EMULATED = EmulatedBackend("emulated", "native")
KERNELS = [NATIVE, EMULATED]  # what is held against the reference too
if torch.cuda.is_available():
    KERNELS.append(Backend("cuda", "native", "cuda"))


@pytest.fixture(params=[REFERENCE, *KERNELS], ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    request.param.require()
    return request.param


@pytest.fixture(params=KERNELS, ids=lambda backend: backend.name)
def kernels(request: pytest.FixtureRequest) -> Backend:
    request.param.require()
    return request.param


@pytest.fixture
def native() -> Backend:
    NATIVE.require()
    return NATIVE


@pytest.fixture(params=["scatter", "gather"])
def operator(request: pytest.FixtureRequest) -> str:
    return request.param
