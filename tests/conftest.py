from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

from depthbokeh import _native, gather_blur, ops, scatter_blur

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


REFERENCE = Backend("reference", "reference")
KERNELS = [Backend("native", "native")]  # what is held against the reference too


def require_native() -> None:
    """Skips where the native library is missing; fails in continuous integration, which must have it."""
    if not ops.load_operators():
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"no native kernels: {_native.load().origin}")


@pytest.fixture(params=[REFERENCE, *KERNELS], ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param.choice == "native":
        require_native()
    return request.param


@pytest.fixture(params=KERNELS, ids=lambda backend: backend.name)
def kernels(request: pytest.FixtureRequest) -> Backend:
    require_native()
    return request.param


@pytest.fixture(params=["scatter", "gather"])
def operator(request: pytest.FixtureRequest) -> str:
    return request.param
