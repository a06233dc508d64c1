"""The kernels of windows, and what they stand for, against pooling."""

import pytest
import torch
import torch.nn.functional as F

from depthbokeh import ops
from depthbokeh.windows import find_max, local_extremes

SIZES = [(1, 1), (1, 9), (17, 1), (4, 4), (17, 23), (70, 41)]


def make_values(size, dtype=torch.float64, steps=None):
    """Maps of two pictures; ``steps`` makes many values the same."""
    values = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0), dtype=dtype) - 0.5
    return values if steps is None else (steps * values).round() / steps


def pool(values, reach):
    """The largest values and where they are, of several the first, numbered through all pictures."""
    # Pooling allows at most half a window of padding, which it takes for minus infinity.
    highest, at = F.max_pool2d(values, 2 * reach + 1, stride=1, padding=reach, return_indices=True)
    return highest, at + torch.arange(len(values)).view(-1, 1, 1, 1) * values[0].numel()


def expect_extremes(values, reach):
    return [sign * pool(sign * values, extent)[0] for extent in (reach, 2 * reach) for sign in (1, -1)]


@pytest.mark.parametrize("reach", [0, 1, 3, 8])
@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_kernels_equal_pooling(kernels, size, reach, dtype):
    values = make_values(size, dtype)
    found = kernels.operators.local_extremes(values.to(kernels.device), reach)
    assert all(
        torch.equal(*pair) for pair in zip(expect_extremes(values, reach), (v.cpu() for v in found), strict=True)
    )
    for given in (values, make_values(size, dtype, steps=4)):
        at = torch.arange(0, given.numel(), 2)
        places = kernels.operators.find_max(given.to(kernels.device), reach, at.to(kernels.device))
        assert torch.equal(places.cpu(), pool(given, reach)[1].flatten()[at])


@pytest.mark.parametrize("steps", [None, 4])
def test_definition_equals_pooling(native, monkeypatch, steps):
    monkeypatch.setattr(ops, "has_kernels", lambda device: False)
    for name in ("local_extremes", "find_max"):
        monkeypatch.delattr(ops, name)
    values = make_values((17, 23), steps=steps)
    found = local_extremes(values, 3)
    assert all(torch.equal(*pair) for pair in zip(expect_extremes(values, 3), found, strict=True))
    at = torch.arange(0, values.numel(), 2)
    assert torch.equal(find_max(values, 3, at), pool(values, 3)[1].flatten()[at])


def test_a_value_that_is_not_a_number_is_not_lost(kernels):
    values = make_values((9, 10))
    values[0, 0, 4, 5] = torch.nan
    found = kernels.operators.local_extremes(values.to(kernels.device), 1)
    for extreme, reach in zip(found, (1, 1, 2, 2), strict=True):
        assert extreme[0].isnan().sum() == (2 * reach + 1) ** 2
        assert not extreme[1].isnan().any()


def test_opcheck(native):
    values = make_values((5, 6))
    torch.library.opcheck(native.operators.local_extremes.default, [values, 1])
    torch.library.opcheck(native.operators.find_max.default, [values, 1, torch.tensor([0, 7])])


@pytest.mark.parametrize("at", [[-1], [60]])
def test_pixels_that_do_not_exist(kernels, at):
    """An error or, where that would mean waiting for the device, what whoever looks them up will be told."""
    values, at = make_values((5, 6)), torch.tensor(at)
    if kernels.reads_values:
        with pytest.raises(RuntimeError, match="at must lie within the pictures"):
            find_max(values, 1, at)
    else:
        assert torch.equal(kernels.operators.find_max(values.to(kernels.device), 1, at.to(kernels.device)).cpu(), at)
