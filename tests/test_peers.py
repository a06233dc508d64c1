"""What the CUDA kernels are timed against: emulated, against the formulas that it is written from."""

import ctypes
import os
import shutil
import subprocess

import baselines
import emulation
import peers
import pytest
import torch

from depthbokeh import _build

# Size and largest radius, which may reach beyond the picture.
CASES = [((1, 1), 3.0), ((1, 37), 40.0), ((31, 1), 5.0), ((2, 3), 12.0), ((17, 23), 0.4), ((17, 23), 7.0)]
every_case = pytest.mark.parametrize(("size", "most"), CASES)


def compile_emulated(folder, sources):
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("no C++ compiler for the emulated kernels")
    cuda, library = _build.find_sources(), folder / "peers.so"
    parts = [*sorted(sources.glob("*.cu")), cuda / "emu" / "cuda_emu.cpp"]
    order = 'extern "C" void set_order(int64_t order) { depthbokeh::emu::set_order(order); }\n'
    (folder / "all.cpp").write_text("".join(f'#include "{part}"\n' for part in parts) + order)
    command = [os.environ.get("CXX", "c++"), "-std=c++20", "-shared", *emulation.FLAGS, f"-I{cuda}", f"-I{sources}"]
    subprocess.run([*command, folder / "all.cpp", "-o", library], check=True)
    return library


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compile_emulated(tmp_path_factory.mktemp("peers"), peers.FOLDER)


@pytest.fixture(params=emulation.ORDERS)
def emulated(request, library):
    """The kernels on the CPU, with the threads of a block in one of three orders."""
    ctypes.CDLL(str(library)).set_order(ctypes.c_int64(emulation.ORDERS[request.param]))
    return peers.CudaPeers(library)


def make_inputs(height, width, *, channels, most, batch=2):
    random = torch.Generator().manual_seed(height)
    image = torch.rand(batch, channels, height, width, generator=random)
    radius = most * torch.rand(batch, 1, height, width, generator=random)
    return image, radius


def gather_densely(image, radius):
    """``clamp(r + 1/2 - d, 0, 1) / (pi r^2)`` from every pixel to every other, float64."""
    batch, _, height, width = image.shape
    y, x = (t.flatten().double() for t in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    distance = torch.hypot(y[:, None] - y, x[:, None] - x)  # (from, to)
    r = radius.double().view(batch, -1, 1)
    full = torch.maximum(torch.pi * r**2, (r + 0.5).clamp(max=1))
    return (image.double().flatten(2) @ ((r + 0.5 - distance).clamp(0, 1) / full)).view_as(image)


@every_case
def test_scatter_equals_the_formula(emulated, size, most):
    image, radius = make_inputs(*size, channels=3, most=most)
    expected = torch.cat([baselines.bokehme(*pair) for pair in zip(image.split(1), radius.split(1), strict=True)])
    torch.testing.assert_close(emulated.bokehme_scatter(image, radius), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("size", "most"), [*CASES, ((53, 41), 9.0)])
def test_gather_equals_the_formula(emulated, size, most):
    image, radius = make_inputs(*size, channels=4, most=most)
    expected = gather_densely(image, radius)
    torch.testing.assert_close(emulated.tile_gather(image, radius, most).double(), expected, rtol=2e-5, atol=1e-6)


def test_removed_barrier_of_the_gather_is_noticed(tmp_path):
    sources = tmp_path / "peers"
    shutil.copytree(peers.FOLDER, sources)
    file = sources / "tile_gather.cu"
    loading, barrier, counting = file.read_text().rpartition("__syncthreads();")
    file.write_text(loading + counting)
    assert barrier
    image, radius = make_inputs(17, 23, channels=4, most=5.0)
    broken = peers.CudaPeers(compile_emulated(tmp_path, sources))
    assert not torch.allclose(broken.tile_gather(image, radius, 5.0).double(), gather_densely(image, radius))


def test_what_does_not_fit(emulated):
    image, radius = make_inputs(5, 6, channels=4, most=2.0)
    with pytest.raises(ValueError, match=r"image must be \(2, 3, 5, 6\) float32, got \(2, 4, 5, 6\)"):
        emulated.bokehme_scatter(image, radius)
    with pytest.raises(ValueError, match=r"radius must be .*float64"):
        emulated.tile_gather(image, radius.double(), 2.0)


@pytest.mark.skipif(_build.find_cuda() is None, reason="needs nvcc")
def test_nvcc_compiles_them(tmp_path):
    library = peers.compile_peers(tmp_path, "sm_90")
    peers.CudaPeers(library)
    assert peers.compile_peers(tmp_path, "sm_90") == library


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_case
def test_cuda_equals_the_formula(size, most):
    compiled = peers.CudaPeers(peers.compile_peers())
    image, radius = make_inputs(*size, channels=4, most=most)
    found = compiled.tile_gather(image.cuda(), radius.cuda(), most).cpu()
    torch.testing.assert_close(found.double(), gather_densely(image, radius), rtol=2e-5, atol=1e-6)
    expected = torch.cat(
        [baselines.bokehme(*pair) for pair in zip(image[:, :3].split(1), radius.split(1), strict=True)]
    )
    found = compiled.bokehme_scatter(image[:, :3].cuda(), radius.cuda()).cpu()
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-6)
