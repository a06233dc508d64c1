"""Operators that only a GPU, emulated or not, has: going on beyond the frame, enlarging, sRGB. Against definitions."""

import pytest
import torch
from conftest import KERNELS, NATIVE
from test_edges import TOLERANCE, assert_alike, make_weights, run_definition, run_kernels
from torch._subclasses.fake_tensor import FakeTensorMode

from depthbokeh import color, compositing, enlarging, ops

ON_GPU = [backend for backend in KERNELS if backend is not NATIVE]  # or emulated


@pytest.fixture(params=ON_GPU, ids=lambda backend: backend.name)
def kernels(request):
    request.param.require()
    return request.param


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_framed(size, dtype, margin, count=2):
    """Layers, some of their lights brighter than white, what is common in either picture, and a margin."""
    color = rand(2, count, 3, *size)
    color = torch.where(rand(2, count, 1, *size, seed=1) < 0.5, 6 * color, color)
    maps = [rand(2, count, 1, *size, seed=seed) for seed in (2, 3)]
    leaves = [color, *maps, torch.tensor([1.3, 0.4]).view(2, 1, 1, 1)]
    return [*(leaf.to(dtype).requires_grad_() for leaf in leaves), margin]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (13, 37)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("margin", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_extended_layers_equal_the_definition(kernels, size, margin, dtype):
    inputs = make_framed(size, dtype, margin)
    given = [value.detach().to(kernels.device) for value in inputs[:4]]
    found = kernels.operators.extend_layers(*given, margin)
    gradients = kernels.operators.extend_layers_backward(*make_weights(found), given[0], given[3], margin)
    expected = run_definition(compositing.extend_planes, inputs)
    assert_alike([values.cpu() for values in (*found, *gradients)], expected, TOLERANCE[dtype])


def test_any_number_of_layers(kernels):
    for count in (1, 3):
        inputs = make_framed((9, 8), torch.float64, 4, count)
        found = kernels.operators.extend_layers(*(value.detach().to(kernels.device) for value in inputs[:4]), 4)
        expected = compositing.extend_planes(*inputs)
        assert_alike([values.cpu() for values in found], [values.detach() for values in expected], 1e-9)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(12, 24), (10, 23), (1, 1), (1, 9), (70, 33)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_enlarged_maps_equal_the_definition(kernels, factor, size, dtype):
    squares = [-(-side // factor) for side in size]
    values = rand(2, 3, *squares).to(dtype).requires_grad_()
    given = values.detach().to(kernels.device)
    found = kernels.operators.enlarge(given, factor, *size)
    gradient = kernels.operators.enlarge_backward(*make_weights([found]), factor, *squares)
    expected = run_definition(enlarging.enlarge, [values, factor, *size])
    assert_alike([found.cpu(), gradient.cpu()], expected, TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["srgb_to_linear", "linear_to_srgb"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_curves_equal_their_definitions(kernels, name, dtype):
    values = torch.cat([3 * rand(700) - 1, 0.08 * rand(300, seed=1) - 0.04, torch.tensor([0.0, 1.0, -1.0])])
    inputs = [values.to(dtype).view(17, 59).requires_grad_()]
    assert_alike(
        run_kernels(kernels, name, inputs), run_definition(getattr(color, f"_define_{name}"), inputs), TOLERANCE[dtype]
    )


def test_bad_tensors_are_named(kernels):
    leaves = make_framed((5, 6), torch.float64, 1)[:4]
    light, alpha, defocus, brightest = (value.detach().to(kernels.device) for value in leaves)
    for inputs, message in [
        ((light.half(), alpha, defocus, brightest, 1), "values must be float32 or float64"),
        ((light[0], alpha, defocus, brightest, 1), "values must have 5 dimensions"),
        ((light, alpha[:, :1], defocus, brightest, 1), r"alpha and defocus must be \(B, K, 1, H, W\)"),
        ((light, alpha, defocus, brightest[:1], 1), "brightest must be one for every picture"),
        ((light, alpha, defocus, brightest, -1), "margin must not be negative"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            kernels.operators.extend_layers(*inputs)
    for squares in ((alpha[0], 2, 10, 13), (alpha[0], 2, 0, 12), (alpha[0], 0, 10, 12)):
        with pytest.raises(RuntimeError, match="height and width must be those of as many squares"):
            kernels.operators.enlarge(*squares)


def test_shapes_without_values(native):
    """What torch.compile asks."""
    inputs = make_framed((5, 6), torch.float32, 3)
    expected = compositing.extend_planes(*inputs)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(value.detach()) for value in inputs[:4]]
        found = ops.extend_layers(*fakes, 3)
        assert [values.shape for values in found] == [values.shape for values in expected]
        gradients = native.operators.extend_layers_backward(*found, fakes[0], fakes[3], 3)
        assert [values.shape for values in gradients] == [values.shape for values in fakes]
        squares = ops.enlarge(fakes[1][:, 0], 4, 19, 22)
        assert squares.shape == (2, 1, 19, 22)
        assert native.operators.enlarge_backward(squares, 4, 5, 6).shape == (2, 1, 5, 6)
        for name in ("srgb_to_linear", "linear_to_srgb"):
            assert getattr(ops, name)(squares).shape == squares.shape
            assert getattr(native.operators, f"{name}_backward")(squares, squares).shape == squares.shape
