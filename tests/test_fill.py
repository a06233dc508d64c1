"""The kernels of the filling pyramid against their definition. What fillings are like is tested in test_edges.py."""

import pytest
import torch
from threads import run_on_threads

from depthbokeh import ops, pyramid
from depthbokeh.fill import push_pull

WEIGHTS = {
    "share": lambda uniform: uniform,
    "known or not": lambda uniform: (uniform > 0.9).to(uniform.dtype),
    "nothing": torch.zeros_like,
    "next to nothing": lambda uniform: 2e-6 * uniform,
    "more than all": lambda uniform: 1 + 0.1 * uniform,
}


def make_inputs(size, weight="share", *, batch=2, channels=3, dtype=torch.float64):
    """Values, weight, and a gradient of the filled values."""
    random = torch.Generator().manual_seed(0)
    values, grad = (torch.rand(2, batch, channels, *size, generator=random, dtype=torch.float64) - 0.5).to(dtype)
    uniform = torch.rand(batch, 1, *size, generator=random, dtype=torch.float64)
    return values, WEIGHTS[weight](uniform).to(dtype), grad


def run(kernels, values, weight, grad):
    """Filled values, and the gradients to values and weight."""
    given = [tensor.to(kernels.device) for tensor in (values, weight)]
    found = [
        kernels.operators.push_pull(*given),
        *kernels.operators.push_pull_backward(grad.to(kernels.device), *given),
    ]
    return [tensor.cpu() for tensor in found]


def define(values, weight, grad):
    """The same by the definition, in float64."""
    leaves = [tensor.double().requires_grad_() for tensor in (values, weight)]
    filled = pyramid.push_pull(*leaves)
    return [filled.detach(), *torch.autograd.grad(filled, leaves, grad.double())]


def assert_alike(found, expected, tolerance):
    for values, others in zip(found, expected, strict=True):
        assert values.shape == others.shape
        assert (values.double() - others).norm() <= tolerance * others.norm().clamp(min=1e-3)


# A single block of the CUDA kernels takes up to 2048 pixels, from one level of the two largest on, or from two.
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 37), (31, 1), (2, 2), (13, 17), (43, 53), (97, 101)])
def test_kernels_equal_the_definition(kernels, size, weight):
    inputs = make_inputs(size, weight)
    assert_alike(run(kernels, *inputs), define(*inputs), 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_kernels_equal_the_definition_in_fewer_bits(kernels, dtype):
    inputs = make_inputs((31, 40), "known or not", channels=1, dtype=dtype)
    found = run(kernels, *inputs)
    assert {tensor.dtype for tensor in found} == {dtype}
    # Half precision is computed in float32 and rounded once.
    assert_alike(found, define(*inputs), 1e-6 if dtype is torch.float32 else torch.finfo(dtype).eps)


def test_every_picture_is_filled_as_if_alone(kernels):
    inputs = make_inputs((45, 47), batch=3)
    whole = run(kernels, *inputs)
    for index in range(3):
        alone = run(kernels, *(tensor[index : index + 1] for tensor in inputs))
        assert all(torch.equal(one, two[index : index + 1]) for one, two in zip(alone, whole, strict=True))


def test_no_picture(kernels):
    filled, to_values, to_weight = run(kernels, *make_inputs((45, 47), batch=0))
    assert filled.shape == to_values.shape == (0, 3, 45, 47)
    assert to_weight.shape == (0, 1, 45, 47)


def test_tensors_need_not_be_contiguous(kernels):
    inputs = [tensor.transpose(2, 3) for tensor in make_inputs((13, 22))]
    assert_alike(run(kernels, *inputs), define(*inputs), 1e-12)


def test_autograd(native):
    *inputs, grad = make_inputs((21, 22))
    leaves = [tensor.requires_grad_() for tensor in inputs]
    filled = push_pull(*leaves)
    gradients = torch.autograd.grad(filled, leaves, grad)
    assert all(torch.equal(*pair) for pair in zip([filled, *gradients], run(native, *inputs, grad), strict=True))


def test_differentiable_twice(native):
    """Also where the weight is made of the values: each has its own part of the gradient."""
    values, _, _ = make_inputs((4, 5), batch=1, channels=1)
    # Below a quarter of a quarter, so that no total of four is at 1, where it begins to be cut.
    assert torch.autograd.gradgradcheck(lambda x: push_pull(x, 0.06 + 0.02 * x), values.requires_grad_())


def test_threads_do_not_change_a_bit(native):
    inputs = make_inputs((257, 263), channels=1, dtype=torch.float32)
    found = run_on_threads(lambda: run(native, *inputs))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_opcheck(native):
    values, weight, grad = make_inputs((5, 6))
    torch.library.opcheck(native.operators.push_pull_backward.default, [grad, values, weight])
    torch.library.opcheck(native.operators.push_pull.default, [values.requires_grad_(), weight.requires_grad_()])


def test_compile(native):
    compiled = torch.compile(lambda x, w: push_pull(x**2, w.abs()).sum(), fullgraph=True, backend="aot_eager")
    leaves = [tensor.requires_grad_() for tensor in make_inputs((13, 17))[:2]]
    found = torch.autograd.grad(compiled(*leaves), leaves)
    expected = torch.autograd.grad(push_pull(leaves[0] ** 2, leaves[1].abs()).sum(), leaves)
    torch.testing.assert_close(found, expected)


def test_definition_runs_where_there_are_no_kernels(native, monkeypatch):
    values, weight, _ = make_inputs((13, 17))
    expected = push_pull(values, weight)
    torch.testing.assert_close(push_pull(values, weight.float()), expected)  # kernels want one dtype
    monkeypatch.setattr(ops, "has_kernels", lambda device: False)
    monkeypatch.delattr(ops, "push_pull")
    torch.testing.assert_close(push_pull(values, weight), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, w: (x, w[..., :-1]), r"weight must be \(B, 1, H, W\)"),
        (lambda x, w: (x, w.expand_as(x)), r"weight must be \(B, 1, H, W\)"),
        (lambda x, w: (x, w.float()), "weight must have the values' dtype"),
        (lambda x, w: (x[0], w), "values and weight must have four dimensions"),
        (lambda x, w: (x[:, :0], w), "values must have channels"),
        (lambda x, w: (x[..., :0], w[..., :0]), "sides must be from 1"),
    ],
)
def test_kernels_refuse_what_does_not_fit(kernels, change, message):
    values, weight, _ = make_inputs((5, 6))
    with pytest.raises(RuntimeError, match=message):
        kernels.operators.push_pull(*(tensor.to(kernels.device) for tensor in change(values, weight)))
