"""The CUDA kernels, emulated on the CPU: what their threads do to each other and to memory.

That they compute the right thing is tested in test_blur.py, test_slices.py, test_edges.py, test_maps.py,
test_extend.py, test_fill.py and test_behind.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import emulation
import pytest
import torch
from conftest import EMULATED, REFERENCE
from kinks import assert_gradient_near
from test_behind import make_inputs as make_surfaces
from test_blur import APERTURES, SYMMETRIES, differentiate, make_inputs
from test_edges import make_edges, make_soft
from test_extend import make_framed
from test_fill import make_inputs as make_holes
from test_maps import CASES as MAPS
from test_slices import make_layers

from depthbokeh import Aperture, _build, pyramid
from depthbokeh.layers import find_span, place_slices

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


def run_slices(operators):
    """The operators on depth slices, forward and backward: two pictures of several blocks, the last one in part."""
    alpha, defocus, color = (leaf.detach() for leaf in make_layers(3, size=(9, 70), dtype=torch.float32))
    layers = [color, alpha, defocus, *place_slices(find_span(defocus), 4)]
    light, radius = operators.take_slices(*layers, 1, 2)
    picture, total = torch.zeros_like(light[:2, :3]), torch.full_like(radius[:2], 0.3)
    after = operators.cover(light, total, picture)
    grad = operators.cover_backward(picture - 0.5, light, total, after, total.clone())
    to = [torch.zeros_like(values) for values in layers]
    operators.take_slices_backward(grad, radius - 2, *layers, 1, *to)
    return [light, radius, picture, after, grad, *to]


def run_edges(operators):
    """The operators on depth edges, forward and backward: blocks are not full."""
    found = []
    for name, inputs in (("separate", make_edges(dtype=torch.float32)), ("sharpen", make_soft(dtype=torch.float32))):
        given = [value.detach() if isinstance(value, torch.Tensor) else value for value in inputs]
        values = getattr(operators, name)(*given)
        values = values if isinstance(values, tuple) else (values,)
        found += [*values, *getattr(operators, f"{name}_backward")(*(value - 0.5 for value in values), *given)]
    return found


def run_fill(operators):
    """The operators that fill in, forward and backward: two pictures of several blocks, then a block for each."""
    values, weight, grad = make_holes((59, 67), "known or not", dtype=torch.float32)
    return [operators.push_pull(values, weight), *operators.push_pull_backward(grad, values, weight)]


def run_behind(operators):
    """The operators that carry surfaces on, forward and backward: blocks are not full."""
    values, defocus, grad = make_surfaces((29, 37), dtype=torch.float32)
    given = [values, defocus, pyramid.find_lowest(defocus)]
    return [operators.fill_behind(*given, 20), *operators.fill_behind_backward(grad, *given, 20)]


def run_maps(operators):
    """The operators that are functions of every pixel, forward and backward: blocks are not full."""
    found = []
    for name, make in MAPS.items():
        given = [value.detach() for value in make((29, 37), torch.float32)]
        values = getattr(operators, name)(*given)
        values = values if isinstance(values, tuple) else (values,)
        found += [*values, *getattr(operators, f"{name}_backward")(*(value - 0.5 for value in values), *given)]
    return found


def run_extend(operators):
    """The operators that enlarge maps and extend layers, forward and backward: blocks are not full."""
    *layers, margin = make_framed((17, 23), torch.float32, 3)
    layers = [value.detach() for value in layers]
    extended = operators.extend_layers(*layers, margin)
    grads = [value - 0.5 for value in extended]
    squares = operators.enlarge(layers[1][:, 0], 3, 50, 67)
    return [
        *extended,
        *operators.extend_layers_backward(*grads, layers[0], layers[3], margin),
        squares,
        operators.enlarge_backward(squares - 0.5, 3, 17, 23),
    ]


LAYERS = {
    "slices": run_slices,
    "edges": run_edges,
    "fill": run_fill,
    "behind": run_behind,
    "maps": run_maps,
    "extend": run_extend,
}


def run_in_every_order(run, *arguments, **options):
    emulation.load()
    found = []
    try:
        for order in emulation.ORDERS:
            emulation.set_order(order)
            found.append(run(torch.ops.depthbokeh_emu, *arguments, **options))
    finally:
        emulation.set_order("forward")
    return found


def assert_same(found):
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@pytest.mark.parametrize("lamp", [0.5, 1e4])
@pytest.mark.parametrize("aperture", ["disk", "ring:0.5", "polygon:5", "polygon:5:10:0.3", "gaussian"])
def test_order_of_threads_changes_no_bit(aperture, lamp):
    assert_same(run_in_every_order(run_all, aperture, lamp=lamp))


@pytest.mark.parametrize("run", LAYERS.values(), ids=LAYERS)
def test_order_of_threads_changes_no_bit_of_layers(run):
    assert_same(run_in_every_order(run))


# Radii from 0 to far beyond the picture, of odd sizes. The reference is differentiated in float64.
SIZES = {(1, 1): 3.0, (1, 37): 60.0, (31, 1): 45.0, (13, 17): 40.0}


@cache
def run_reference(operator, aperture, size):
    """Inputs in float32, and the result and its gradients in float64."""
    inputs = make_inputs(*size, channels=2, most=SIZES[size], dtype=torch.float32)
    return inputs, differentiate(partial(REFERENCE.blur, operator), *(values.double() for values in inputs), aperture)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("aperture", [*APERTURES, *SYMMETRIES])
@pytest.mark.parametrize("order", emulation.ORDERS)
def test_kernels_equal_the_reference_in_every_order(operator, order, aperture, size):
    """Values and both gradients: to 1e-9 in float64, to 3e-4 in float32 but for radius gradients at a kink."""
    (image, radius, grad), expected = run_reference(operator, aperture, size)
    EMULATED.require()
    try:
        emulation.set_order(order)
        for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
            inputs = [values.to(dtype) for values in (image, radius, grad)]
            found = differentiate(partial(EMULATED.blur, operator), *inputs, aperture)
            for values, other in zip(found[:2], expected[:2], strict=True):
                assert (values.double() - other).norm() <= tolerance * other.norm().clamp(min=1e-3)
            if dtype is torch.float32 and expected[2].norm() > 1e-3:
                assert_gradient_near(found[2], expected[2], radius, aperture)
            else:  # in float64, and of a single pixel, which has next to none
                assert (found[2].double() - expected[2]).norm() <= tolerance * expected[2].norm().clamp(min=1e-3)
    finally:
        emulation.set_order("forward")


# In a process of its own, since a library of operators cannot be taken back, and each case in a fork of it, since a
# sanitizer ends what it finds at fault.
CODE = """
import os, sys, torch, emulation
from test_emulation import LAYERS, run_all
torch.ops.load_library(sys.argv[1])
for case in sys.argv[3:]:
    print("case", case, flush=True)
    if os.fork():
        os.wait()
        continue
    aperture, _, channels = case.partition("/")
    found = []
    for order in sys.argv[2].split():
        emulation.set_order(order)
        operators = torch.ops.depthbokeh_emu
        if channels:
            results = run_all(operators, aperture, channels=int(channels), height=17)
        else:
            results = LAYERS[case](operators)
        found.append(torch.cat([t.flatten() for t in results]))
    print("same" if all(torch.equal(found[0], other) for other in found[1:]) else "different", flush=True)
    os._exit(0)
"""
# Not optimised: compiling takes longer than running.
SANITIZED = ("-fsanitize=address", "-O0")


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


def run_library(library, sanitizer, *cases, orders=tuple(emulation.ORDERS), **environment):
    """What is said when a library runs cases, ``APERTURE/CHANNELS`` or one of LAYERS, in some orders of threads."""
    folders = [Path(__file__).parent, Path(_build.__file__).parents[1]]
    variables = {
        **os.environ,
        **environment,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "LD_PRELOAD": sanitizer,
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    command = [sys.executable, "-c", CODE, str(library), " ".join(orders), *cases]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables)
    assert result.returncode == 0, result.stdout
    said = re.split(r"^case .*\n", result.stdout, flags=re.MULTILINE)[1:]
    return dict(zip(cases, said, strict=True))


SWITCH = """#include <cstdlib>
inline bool spoiled() {
  static const bool on = std::getenv("DEPTHBOKEH_SPOILED");
  return on;
}
"""


@pytest.fixture(scope="module")
def spoilable(tmp_path_factory):
    """The kernels with seven faults, each met by another case, where DEPTHBOKEH_SPOILED is set; else without."""
    sources = tmp_path_factory.mktemp("spoilable") / "cuda"
    shutil.copytree(_build.find_sources(), sources)
    header = sources / "emu" / "cuda_emu.h"
    header.write_text(header.read_text() + SWITCH)
    spoil(sources / "gaussian.cuh", "along_y[i] = ", "__syncthreads();", "if (!spoiled()) __syncthreads();")
    spoil(sources / "scatter_blur.cuh", "slab.light[lane] = ", "__syncwarp();", "if (!spoiled()) __syncwarp();")
    spoil(sources / "shape.cuh", " write_table(", "< count", "< count + spoiled()")
    spoil(
        sources / "gather_blur.cuh",
        " sum_rows(",
        "double sum =",
        "if (spoiled() && kChannels == 1 && lane == 7) return; double sum =",
    )
    spoil(sources / "slices.cuh", " cover_pixels(", "if (pixel.at >= pixels)", "if (!spoiled() && pixel.at >= pixels)")
    spoil(sources / "edges.cuh", " separate_pixels(", "if (at >= p.pixels())", "if (!spoiled() && at >= p.pixels())")
    spoil(sources / "fill.cuh", " fill_small(", "__syncthreads();", "if (!spoiled()) __syncthreads();")
    return emulation.compile_library(sources, *SANITIZED)


@pytest.fixture(scope="module")
def broken(spoilable, sanitizer):
    """What is said of the kernels with their faults."""
    cases = ["gaussian/3", "disk/3", "fill", "disk/1", "polygon:5/3", "slices", "edges"]
    return run_library(spoilable, sanitizer, *cases, DEPTHBOKEH_SPOILED="1")


def spoil(file, after, good, bad):
    """Replaces the first ``good`` after some text."""
    head, found, tail = file.read_text().partition(after)
    assert good in tail, f"{file.name} has no {good!r} after {after!r}"
    file.write_text(head + found + tail.replace(good, bad, 1))


@pytest.mark.parametrize("case", ["gaussian/3", "disk/3", "fill"])
def test_removed_barrier_is_noticed(broken, case):
    """Block-wide ones and a warp-wide one."""
    assert broken[case].split()[-1] == "different", broken[case]


def test_threads_that_wait_for_others_in_vain_are_noticed(broken):
    assert "threads wait for each other" in broken["disk/1"]


@pytest.mark.parametrize("case", ["polygon:5/3", "slices", "edges"])
def test_access_beyond_memory_is_noticed(broken, case):
    assert "heap-buffer-overflow" in broken[case]


def test_kernels_keep_to_their_memory(spoilable, sanitizer):
    cases = ["disk/3", "disk/1", "ring:0.5/3", "polygon:5/3", "polygon:5:10:0.3/1", "gaussian/3", *LAYERS]
    for said in run_library(spoilable, sanitizer, *cases, orders=["shuffled"]).values():
        assert said.split()[-1] == "same", said
        assert "AddressSanitizer" not in said
