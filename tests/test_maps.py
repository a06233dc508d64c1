"""Operators that are functions of every pixel, against their definitions in Python."""

import pytest
import torch
from test_edges import TOLERANCE, assert_alike, is_leaf, make_weights, run_definition, run_kernels
from threads import run_on_threads

from depthbokeh import compositing, layers, ops

SIZES = [(1, 1), (3, 5), (37, 131)]  # the last one in several blocks and chunks


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_sides(size, dtype, optional=True):
    """Disparity, mask, means of both sides, where it is sure; contrasts from next to nothing on, of either sign."""
    disparity, mask, sure = (rand(2, 1, *size, seed=seed) for seed in range(3))
    means = rand(4, 1, *size, seed=3)
    contrast = 1.5 * rand(2, 1, *size, seed=4).square() - 0.2
    means[:2] = means[2:] + contrast
    disparity = means[2:] + contrast * (1.8 * disparity - 0.3)
    leaves = [disparity, mask, means, sure, torch.tensor([0.05, 0.02]).view(2, 1, 1, 1)]
    return [leaf.to(dtype).requires_grad_() for leaf in leaves]


def make_surfaces(size, dtype, optional=True):
    """Both disparities, a mask or none, edges, focus, strength and slab."""
    maps = [rand(2, 1, *size, seed=seed) for seed in range(4)]
    # Where surfaces cover next to nothing, the smallest part of 1 that a number can have decides on their depth.
    least = 0 if dtype is torch.float64 else 0.2
    edge = (2 * maps[3] - 0.5).clamp(least, 1)
    surfaces = [least + (1 - least) * rand(2, 2, 1, *size, seed=4), rand(2, 2, 1, *size, seed=5)]
    numbers = [torch.tensor(values).view(2, 1, 1, 1) for values in ([0.5, 0.4], [7.0, -3.0], [0.1, 0.0])]
    mask = 1.1 * maps[2] - 0.05 if least == 0 else least + (1 - 2 * least) * maps[2]
    leaves = [maps[0], maps[1] if optional else maps[0].clone(), mask if optional else None, edge, *surfaces, *numbers]
    return [None if leaf is None else leaf.to(dtype).requires_grad_() for leaf in leaves]


def make_lights(size, dtype, optional=True):
    """Colours up to far beyond white, and what is common in either picture."""
    color = 3 * rand(2, 3, *size).square() * (1 + 3 * rand(2, 1, *size, seed=1).square())
    return [leaf.to(dtype).requires_grad_() for leaf in (color, torch.tensor([1.3, 0.4]).view(2, 1, 1, 1))]


def make_layers(size, dtype, optional=True):
    """Two layers; the far one covers all of some pixels and a part of others."""
    alpha = (1.5 * rand(2, 2, 1, *size) - 0.1).clamp(max=1.2)
    return [
        leaf.to(dtype).requires_grad_() for leaf in (alpha, rand(2, 2, 3, *size, seed=1), rand(2, 2, 1, *size, seed=2))
    ]


CASES = {
    "weigh_sides": make_sides,
    "lay_surfaces": make_surfaces,
    "dim_lights": make_lights,
    "find_farthest": make_layers,
}


def define(name):
    return getattr(layers if hasattr(layers, name) else compositing, name)


def present(results):
    """All but the gradients to what is missing."""
    return [values for values in results if values.numel()]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize(
    ("dtype", "optional"), [(torch.float64, True), (torch.float64, False), (torch.float32, True)], ids=str
)
def test_kernels_equal_the_definition(kernels, name, size, dtype, optional):
    inputs = CASES[name](size, dtype, optional)
    found, expected = run_kernels(kernels, name, inputs), run_definition(define(name), inputs)
    assert_alike(present(found), expected, TOLERANCE[dtype])


def test_all_cases_occur():
    """Contrasts that tell nothing, what belongs to either side and to neither, occluders; slabs and what is beyond."""
    inputs = [value.detach() for value in make_sides(SIZES[-1], torch.float64)]
    weight, occluder = layers.weigh_sides(*inputs)
    contrast = inputs[2][:2] - inputs[2][2:]
    assert (contrast.abs() < inputs[4]).sum() > 50
    assert (contrast < -inputs[4]).sum() > 50
    assert ((occluder > 0) & (occluder < (1 - inputs[1]).square())).sum() > 50
    assert ((weight[:2] > 0) & (weight[:2] < inputs[1].square())).sum() > 50
    alpha, defocus = layers.lay_surfaces(*(value.detach() for value in make_surfaces(SIZES[-1], torch.float64)))
    assert 50 < (defocus == 0).sum() < defocus.numel() / 2
    assert (alpha < 0).any()


@pytest.mark.parametrize("name", CASES)
def test_what_is_equal_shares_the_gradient(kernels, name):
    inputs = CASES[name]((9, 14), torch.float64)
    with torch.no_grad():
        if name == "weigh_sides":
            inputs[3].copy_(layers.weigh_sides(*inputs[:3], torch.zeros_like(inputs[3]), inputs[4])[0][2:])
        elif name == "lay_surfaces":
            inputs[1].copy_(inputs[0])
            inputs[2][:, :, :4] = 0
            inputs[3][:, :, 2:6] = 0
            inputs[8].zero_()
            inputs[0][..., :3] = inputs[1][..., :3] = inputs[6]
        elif name == "find_farthest":
            inputs[0][:, 0, :, :4] = 1
            inputs[0][:, 1, :, 2:6] = 1 - inputs[0][:, 0, :, 2:6]
        else:
            inputs[0][:, :, :4] = 1
    assert_alike(run_kernels(kernels, name, inputs), run_definition(define(name), inputs), TOLERANCE[torch.float64])


@pytest.mark.parametrize("name", CASES)
def test_no_picture_at_all(kernels, name):
    inputs = [value[:0] for value in CASES[name]((3, 5), torch.float64)]
    assert not any(values.numel() for values in run_kernels(kernels, name, inputs))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("optional", [True, False])
def test_autograd(native, name, optional):
    inputs = CASES[name]((5, 6), torch.float64, optional)
    leaves = [value for value in inputs if is_leaf(value)]
    found = getattr(ops, name)(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    gradients = torch.autograd.grad(found, leaves, make_weights(found))
    expected = run_definition(define(name), inputs)
    assert_alike([*(values.detach() for values in found), *gradients], expected, TOLERANCE[torch.float64])

    def run(*leaves):
        given = iter(leaves)
        return getattr(ops, name)(*(next(given) if is_leaf(value) else value for value in inputs))

    if optional:  # without a mask both disparities are the same, and which is in front is a kink
        assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("name", CASES)
def test_threads_do_not_change_the_gradient(native, name):
    inputs = CASES[name]((70, 131), torch.float32)
    found = run_on_threads(lambda: run_kernels(native, name, inputs))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("optional", [True, False])
def test_opcheck(native, name, optional):
    inputs = CASES[name]((5, 6), torch.float64, optional)
    torch.library.opcheck(getattr(native.operators, name).default, inputs)
    given = [None if value is None else value.detach() for value in inputs]
    found = getattr(native.operators, name)(*given)
    grads = [torch.ones_like(values) for values in (found if isinstance(found, tuple) else (found,))]
    torch.library.opcheck(getattr(native.operators, f"{name}_backward").default, [*grads, *given])


def test_bad_tensors_are_named(kernels):
    disparity, mask, means, sure, least = (
        value.detach().to(kernels.device) for value in make_sides((5, 6), torch.float64)
    )
    for inputs, message in [
        ((disparity.half(), mask, means, sure, least), "maps must be float32 or float64"),
        ((disparity, mask.float(), means, sure, least), "maps must have one dtype"),
        ((disparity, mask[..., 1:], means, sure, least), r"maps must be \(B, ..., H, W\) of one size"),
        ((disparity, mask, means[:3], sure, least), r"maps must be \(B, ..., H, W\) of one size"),
        ((disparity, mask, means[:2], sure, least), "maps must have as many channels as the function reads"),
        (
            (disparity, mask, torch.cat([means] * 40, 1), sure, least),
            "maps must have as many channels as the function reads",
        ),
        ((disparity, mask, means, sure, least[:1]), "one number for every picture"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            kernels.operators.weigh_sides(*inputs)
