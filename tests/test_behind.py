"""The CUDA kernels of fill_behind against their definition. What fillings are like is tested in test_edges.py."""

import pytest
import torch
from conftest import KERNELS, NATIVE
from test_fill import assert_alike
from torch._subclasses.fake_tensor import FakeTensorMode

from depthbokeh import ops, pyramid
from depthbokeh.fill import fill_behind

ON_GPU = [backend for backend in KERNELS if backend is not NATIVE]  # or emulated


@pytest.fixture(params=ON_GPU, ids=lambda backend: backend.name)
def kernels(request):
    request.param.require()
    return request.param


def make_inputs(size, *, batch=2, channels=3, dtype=torch.float64, span=6.0):
    """Values, defocus with a near half and an odd pixel, and a gradient of what is filled in."""
    random = torch.Generator().manual_seed(0)
    values = torch.rand(batch, channels, *size, generator=random, dtype=torch.float64)
    defocus = 0.3 * span * torch.rand(batch, 1, *size, generator=random, dtype=torch.float64) - span / 2
    defocus[..., : size[1] // 2 + 1] += 0.7 * span
    defocus[..., size[0] // 3, size[1] // 3] += span
    grad = torch.rand(batch, channels + 1, *size, generator=random, dtype=torch.float64) - 0.5
    return [tensor.to(dtype) for tensor in (values, defocus, grad)]


def run(kernels, values, defocus, grad, reach):
    """What is filled in, and the gradients to values and defocus."""
    given = [tensor.to(kernels.device) for tensor in (values, defocus)]
    given.append(pyramid.find_lowest(given[1]))
    found = [
        kernels.operators.fill_behind(*given, reach),
        *kernels.operators.fill_behind_backward(grad.to(kernels.device), *given, reach),
    ]
    return [tensor.cpu() for tensor in found]


def define(values, defocus, grad, reach):
    """The same by the definition, in float64."""
    leaves = [tensor.double().requires_grad_() for tensor in (values, defocus)]
    filled = pyramid.fill_behind(*leaves, reach)
    return [filled.detach(), *torch.autograd.grad(filled, leaves, grad.double())]


@pytest.mark.parametrize("reach", [0, 1, 5, 40])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (13, 17), (64, 48)], ids="{0[0]}x{0[1]}".format)
def test_kernels_equal_the_definition(kernels, size, channels, reach):
    inputs = make_inputs(size, channels=channels)
    expected = define(*inputs, reach)
    assert_alike(run(kernels, *inputs, reach), expected, 1e-12)
    single = run(kernels, *(tensor.float() for tensor in inputs), reach)
    assert {tensor.dtype for tensor in single} == {torch.float32}
    assert_alike(single, expected, 1e-5)


@pytest.mark.parametrize("span", [0.5, 30.0, 300.0])
def test_kernels_equal_the_definition_near_and_far(kernels, span):
    """Surfaces that are one, and such as lie farther apart than weights reach."""
    inputs = make_inputs((31, 40), span=span)
    assert_alike(run(kernels, *inputs, 12), define(*inputs, 12), 1e-9)


def test_every_picture_is_filled_as_if_alone(kernels):
    inputs = make_inputs((45, 47), batch=3)
    whole = run(kernels, *inputs, 9)
    for index in range(3):
        alone = run(kernels, *(tensor[index : index + 1] for tensor in inputs), 9)
        assert all(torch.equal(one, two[index : index + 1]) for one, two in zip(alone, whole, strict=True))


def test_no_picture(kernels):
    filled, to_values, to_defocus = run(kernels, *make_inputs((13, 17), batch=0), 9)
    assert filled.shape == (0, 4, 13, 17)
    assert to_values.shape == (0, 3, 13, 17)
    assert to_defocus.shape == (0, 1, 13, 17)


def test_tensors_need_not_be_contiguous(kernels):
    inputs = [tensor.transpose(2, 3) for tensor in make_inputs((13, 22))]
    assert_alike(run(kernels, *inputs, 9), define(*inputs, 9), 1e-12)


def call(kernels, values, defocus, reach):
    """The operator with its derivatives, which the public function calls on a GPU."""
    library = kernels.operators.__name__.rpartition(".")[2]
    return ops.fill_behind(values.to(kernels.device), defocus.to(kernels.device), reach, library).cpu()


def test_gradcheck(kernels):
    values, defocus, _ = make_inputs((6, 7), batch=1, channels=2, span=4.0)
    leaves = [values.requires_grad_(), defocus.requires_grad_()]
    assert torch.autograd.gradcheck(lambda *leaves: call(kernels, *leaves, 4), leaves, fast_mode=True)


def test_differentiable_twice(kernels):
    """Also where the values are made of the defocus: each has its own part of the gradient."""
    _, defocus, _ = make_inputs((4, 5), batch=1, channels=1, span=4.0)
    run = lambda x: call(kernels, x.sin(), x, 4)  # noqa: E731
    assert torch.autograd.gradgradcheck(run, defocus.requires_grad_(), fast_mode=True)


def test_gradient_of_one_argument(kernels):
    values, defocus, grad = make_inputs((13, 17))
    expected = define(values, defocus, grad, 9)
    for twice in (False, True):
        filled = call(kernels, values, defocus.requires_grad_(), 9)
        (found,) = torch.autograd.grad(filled, defocus, grad, create_graph=twice)
        assert_alike([found.detach()], expected[2:], 1e-12)


def test_opcheck(kernels):
    *given, grad = (tensor.to(kernels.device) for tensor in make_inputs((5, 6)))
    given.append(pyramid.find_lowest(given[1]))
    torch.library.opcheck(kernels.operators.fill_behind_backward.default, [grad, *given, 4])
    leaves = [given[0].requires_grad_(), given[1].requires_grad_()]
    torch.library.opcheck(kernels.operators.fill_behind.default, [*leaves, given[2], 4])


def test_kernels_run_on_a_gpu_alone(monkeypatch):
    values, defocus, grad = make_inputs((13, 17))
    expected = define(values, defocus, grad, 9)[0]
    monkeypatch.setattr(ops, "has_kernels", lambda device: True)
    assert torch.equal(fill_behind(values, defocus, 9), expected)
    # What is called with tensors on a GPU that is not there.
    monkeypatch.setattr(ops, "fill_behind", lambda *_: "kernels")
    monkeypatch.setattr(pyramid, "fill_behind", lambda *_: "definition")
    with FakeTensorMode(allow_non_fake_inputs=True):
        values, defocus = (torch.empty(tensor.shape, device="cuda") for tensor in (values, defocus))
        assert fill_behind(values, defocus, 9) == fill_behind(values.double(), defocus.double(), 9) == "kernels"
        assert fill_behind(values.half(), defocus.half(), 9) == "definition"
        assert fill_behind(values.double(), defocus, 9) == "definition"
        monkeypatch.setattr(ops, "has_kernels", lambda device: False)
        assert fill_behind(values, defocus, 9) == "definition"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, d: (x, d[..., :-1]), r"defocus must be \(B, 1, H, W\)"),
        (lambda x, d: (x, d.expand_as(x)), r"defocus must be \(B, 1, H, W\)"),
        (lambda x, d: (x, d.float()), "defocus and lowest must have the values' dtype"),
        (lambda x, d: (x.half(), d.half()), "values must be float32 or float64"),
        (lambda x, d: (x[0], d), "values and defocus must have four dimensions"),
        (lambda x, d: (x[:, :0], d), "values must have channels"),
    ],
)
def test_kernels_refuse_what_does_not_fit(kernels, change, message):
    values, defocus, _ = make_inputs((5, 6))
    with pytest.raises(RuntimeError, match=message):
        call(kernels, *change(values, defocus), 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g, x, d, low: (g, x, d, low[:1]), r"lowest must be \(B, 1, 1, 1\)"),
        (lambda g, x, d, low: (g[:, 1:], x, d, low), r"grad must be \(B, C \+ 1, H, W\)"),
        (lambda g, x, d, low: (g.float(), x, d, low), "grad must have the values' dtype"),
    ],
)
def test_backward_refuses_what_does_not_fit(kernels, change, message):
    values, defocus, grad = make_inputs((5, 6))
    given = change(grad, values, defocus, pyramid.find_lowest(defocus))
    with pytest.raises(RuntimeError, match=message):
        kernels.operators.fill_behind_backward(*(tensor.to(kernels.device) for tensor in given), 4)
