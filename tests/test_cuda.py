"""The CUDA half of the library: that it is there and loads anywhere, and what only a GPU can show.

Its results are tested in test_blur.py, test_slices.py, test_edges.py, test_fill.py and test_windows.py, on a GPU and
emulated.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import warnings

import pytest
import torch
from graphs import capture
from scene import FOCUS, make_scene
from test_blur import make_inputs
from test_edges import make_edges
from test_fill import make_inputs as make_holes
from test_slices import differentiate, make_layers

from depthbokeh import Aperture, BokehRenderer, DefocusLayers, _build, _native, cli, gather_blur, ops, scatter_blur
from depthbokeh.edges import separate, sharpen
from depthbokeh.fill import fill_behind, push_pull
from depthbokeh.slices import blur_layers

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def library():
    """The library, with CUDA kernels: required where it was prebuilt and nvcc is at hand."""
    native = ops.load_operators() and _native.load()
    if not native or native.origin != "prebuilt" or _build.find_cuda() is None:
        reason = "needs a prebuilt library and nvcc"
        (pytest.fail if "CI" in os.environ and shutil.which("nvcc") else pytest.skip)(reason)
    return native.path


def list_device_code(data):
    """What a binary holds for GPUs: (kind, architecture) of every entry of its fat binaries."""
    found = set()
    at = data.find(struct.pack("<I", 0xBA55ED50))
    while at >= 0:
        header, size = struct.unpack_from("<6xHQ", data, at)
        entry, end = at + header, at + header + size
        while entry < end:
            kind, entry_header, entry_size = struct.unpack_from("<H2xIQ", data, entry)
            (architecture,) = struct.unpack_from("<I", data, entry + 28)
            found.add(({1: "PTX", 2: "machine code"}[kind], architecture))
            entry += entry_header + entry_size
        at = data.find(struct.pack("<I", 0xBA55ED50), end)
    return found


def test_library_has_code_for_every_gpu(library):
    expected = {("machine code", 80), ("machine code", 90), ("PTX", 90)}
    assert expected <= list_device_code(library.read_bytes()) or "TORCH_CUDA_ARCH_LIST" in os.environ


def test_library_with_cuda_loads_beside_any_torch(library):
    assert ops.has_kernels("cuda")
    assert ops.has_kernels("cpu")
    assert cli.describe()["CUDA kernels"] == "in the library"


class TestFindCuda:
    def test_switched_off(self, monkeypatch):
        monkeypatch.setenv("DEPTHBOKEH_CUDA", "0")
        assert _build.find_cuda() is None

    def test_asked_for_in_vain(self, monkeypatch, tmp_path):
        monkeypatch.setenv("DEPTHBOKEH_CUDA", "1")
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CUDA_HOME", raising=False)
        with pytest.raises(RuntimeError, match="DEPTHBOKEH_CUDA=1, but there is no nvcc"):
            _build.find_cuda()

    def test_by_what_nvcc_says(self, monkeypatch, tmp_path):
        """The nvcc on PATH may be a script that calls the real one."""
        script = tmp_path / "bin" / "nvcc"
        script.parent.mkdir()
        toolkit = tmp_path / "toolkit"
        script.write_text(f"#!/bin/sh\necho '#$ _SPACE_= ' >&2\necho '#$ TOP={toolkit}/bin/..' >&2\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", os.pathsep.join([str(script.parent), os.environ["PATH"]]))
        monkeypatch.delenv("CUDA_HOME", raising=False)
        monkeypatch.delenv("DEPTHBOKEH_CUDA", raising=False)
        assert _build.find_cuda() == toolkit


@contextlib.contextmanager
def waiting_refused():
    """Within it, what waits for the GPU raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, that it does not notice everything
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
class TestGpu:
    @pytest.fixture
    def inputs(self):
        image, radius, _ = make_inputs(65, 67, channels=4, most=9, dtype=torch.float32)
        return image.cuda(), radius.cuda()

    @pytest.mark.parametrize("run", [scatter_blur, gather_blur])
    @pytest.mark.parametrize("aperture", ["disk", "polygon:5:10:0.3", "gaussian"])
    def test_captured_in_a_graph(self, inputs, run, aperture):
        image, radius = inputs
        given = image.clone()
        replay = capture(lambda: run(given, radius, aperture, backend="native"))
        given.copy_(image.flip(3))
        assert torch.equal(replay(), run(image.flip(3), radius, aperture, backend="native"))

    @pytest.mark.parametrize("run", [scatter_blur, gather_blur])
    def test_waits_for_nothing(self, inputs, run):
        with waiting_refused():
            run(*inputs, backend="native")

    @pytest.mark.parametrize("run", [scatter_blur, gather_blur])
    def test_runs_on_the_current_stream(self, inputs, run):
        image, radius = inputs
        stream = torch.cuda.Stream()
        expected = run(torch.ones_like(image), radius, backend="native")
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            late = torch.zeros_like(image)
            torch.cuda._sleep(100_000_000)  # clock cycles
            late.fill_(1)
            found = run(late, radius, backend="native")
        stream.synchronize()
        assert torch.equal(found, expected)

    def test_slices_equal_those_of_the_cpu(self):
        leaves = make_layers(2)

        def blur(layers):
            moved = DefocusLayers(*(values.cuda() for values in (layers.alpha, layers.defocus, layers.color)))
            return [result.cpu() for result in blur_layers(moved, 5, Aperture.disk())]

        found = differentiate(blur, leaves)
        expected = differentiate(lambda layers: blur_layers(layers, 5, Aperture.disk()), leaves)
        for values, others in zip(found, expected, strict=True):
            for value, other in zip(values, others, strict=True):
                assert (value - other).abs().max() < 1e-9 * other.abs().max()

    def test_slices_wait_for_nothing(self):
        leaves = [leaf.detach().cuda().requires_grad_() for leaf in make_layers(2)]
        with waiting_refused():
            light, total = blur_layers(DefocusLayers(*leaves), 5, Aperture.disk())
            (light.sum() + total.sum()).backward()

    def test_fillings_and_edges_wait_for_nothing(self):
        values, weight, _ = (tensor.cuda() for tensor in make_holes((97, 101), channels=1))
        light, disparity, strength, mask = (leaf.detach().cuda().requires_grad_() for leaf in make_edges((97, 101)))
        with waiting_refused():
            push_pull(values.requires_grad_(), weight.requires_grad_()).sum().backward()
            fill_behind(values, weight, 9).sum().backward()
            sharp = sharpen(disparity, strength, light)
            sum(part.sum() for part in separate(light, sharp, strength, mask)).backward()

    def test_renderer_waits_for_nothing(self):
        """Where the largest radius is given: forward and back."""
        image, disparity, mask = (values.cuda().requires_grad_() for values in make_scene(96, 128))
        with waiting_refused():
            picture = BokehRenderer()(image, disparity, mask, focus=FOCUS, strength=20.0, max_radius=16.0)
            picture.square().sum().backward()

    def test_renderer_is_captured_in_a_graph(self):
        leaves = [values.cuda() for values in make_scene(96, 128)]
        renderer = BokehRenderer()

        def render():
            with torch.no_grad():
                return renderer(*leaves, strength=20.0, max_radius=16.0)

        replay = capture(render)
        leaves[0].copy_(leaves[0].flip(3))
        assert torch.equal(replay(), render())

    @pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
    def test_on_another_device(self, inputs):
        moved = scatter_blur(*(t.to("cuda:1") for t in inputs), backend="native")
        assert moved.device.index == 1
        torch.testing.assert_close(moved.cuda(0), scatter_blur(*inputs, backend="native"))
