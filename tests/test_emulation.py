"""The CUDA kernels, emulated on the CPU: what their threads do to each other and to memory.

That they compute the right thing is tested in test_blur.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import emulation
import pytest
import torch
from test_blur import make_inputs

from depthbokeh import Aperture, _build

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and shutil.which(os.environ.get("CXX", "c++")) is None, reason="needs a C++ compiler"
)


def run_all(operators, aperture, *, lamp=0.5, channels=3, height=37):
    """Every operator on a picture of several tiles with a lamp in it, far brighter than the rest or not."""
    image, radius, weight = make_inputs(height, 67, channels=channels, most=6, dtype=torch.float32)
    image[..., 10:12, 30:33] = lamp
    shape = Aperture.parse(aperture)
    end = (shape.rows, int(shape.kind))
    return [
        operators.scatter_blur(image, radius, *end, False),
        operators.scatter_blur(image, radius, *end, True),
        operators.gather_blur(image, radius, *end, False),
        *operators.gather_blur_backward(image, radius, weight, *end),
    ]


@pytest.mark.parametrize("lamp", [0.5, 1e4])
@pytest.mark.parametrize("aperture", ["disk", "ring:0.5", "polygon:5", "polygon:5:10:0.3", "gaussian"])
def test_order_of_threads_changes_no_bit(aperture, lamp):
    emulation.load()
    found = []
    try:
        for order in emulation.ORDERS:
            emulation.set_order(order)
            found.append(run_all(torch.ops.depthbokeh_emu, aperture, lamp=lamp))
    finally:
        emulation.set_order("forward")
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


# In a process of its own: a library of operators cannot be taken back, and a sanitizer ends it.
CODE = """
import sys, torch, emulation
from test_emulation import run_all
torch.ops.load_library(sys.argv[1])
for case in sys.argv[3:]:
    aperture, _, channels = case.partition("/")
    found = []
    for order in sys.argv[2].split():
        emulation.set_order(order)
        results = run_all(torch.ops.depthbokeh_emu, aperture, channels=int(channels), height=17)
        found.append(torch.cat([t.flatten() for t in results]))
    print("same" if all(torch.equal(found[0], other) for other in found[1:]) else "different")
"""
SANITIZED = ("-fsanitize=address", "-O1")


@pytest.fixture(scope="module")
def sanitizer():
    """What must be loaded before anything else: the address sanitizer, and the library whose exceptions it watches."""
    found = []
    for name in ("libasan.so", "libstdc++.so.6"):
        command = [os.environ.get("CXX", "c++"), f"-print-file-name={name}"]
        found.append(subprocess.run(command, capture_output=True, text=True).stdout.strip())
    if not all(Path(path).is_file() for path in found):
        (pytest.fail if "CI" in os.environ else pytest.skip)("the compiler has no address sanitizer")
    return " ".join(found)


def run_library(library, sanitizer, *cases, orders=tuple(emulation.ORDERS)):
    """Runs a library on some cases, ``APERTURE/CHANNELS``, in some orders of threads."""
    folders = [Path(__file__).parent, Path(_build.__file__).parents[1]]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "LD_PRELOAD": sanitizer,
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    command = [sys.executable, "-c", CODE, str(library), " ".join(orders), *cases]
    return subprocess.run(command, capture_output=True, text=True, env=variables)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The kernels with four faults, each met by other cases."""
    sources = tmp_path_factory.mktemp("broken") / "cuda"
    shutil.copytree(_build.find_sources(), sources)
    spoil(sources / "gaussian.cuh", "along_y[i] = ", "__syncthreads();", "")
    spoil(sources / "scatter_blur.cuh", "slab.light[lane][c] = ", "__syncwarp();", "")
    spoil(sources / "shape.cuh", " write_table(", "< count", "<= count")
    spoil(
        sources / "gather_blur.cuh",
        " sum_rows(",
        "double sum =",
        "if (kChannels == 1 && lane == 7) return; double sum =",
    )
    return emulation.compile_library(sources, *SANITIZED)


def spoil(file, after, good, bad):
    """Replaces the first ``good`` after some text."""
    head, found, tail = file.read_text().partition(after)
    assert good in tail, f"{file.name} has no {good!r} after {after!r}"
    file.write_text(head + found + tail.replace(good, bad, 1))


@pytest.mark.parametrize("case", ["gaussian/3", "disk/3"])
def test_removed_barrier_is_noticed(broken, sanitizer, case):
    """A block-wide and a warp-wide one."""
    result = run_library(broken, sanitizer, case)
    assert result.stdout.split() == ["different"], result.stderr


def test_threads_that_wait_for_others_in_vain_are_noticed(broken, sanitizer):
    result = run_library(broken, sanitizer, "disk/1", orders=["forward"])
    assert "threads wait for each other" in result.stderr


def test_access_beyond_memory_is_noticed(broken, sanitizer):
    result = run_library(broken, sanitizer, "polygon:5/3", orders=["forward"])
    assert "heap-buffer-overflow" in result.stderr


def test_kernels_keep_to_their_memory(sanitizer):
    library = emulation.compile_library(_build.find_sources(), *SANITIZED)
    cases = ["disk/3", "disk/1", "ring:0.5/3", "polygon:5/3", "polygon:5:10:0.3/1", "gaussian/3"]
    result = run_library(library, sanitizer, *cases, orders=["shuffled"])
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == len(cases)
    assert "AddressSanitizer" not in result.stderr
