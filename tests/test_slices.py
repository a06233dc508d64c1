"""Slices that are blurred by the kernels against their definition in Python."""

import pytest
import torch

from depthbokeh import DefocusLayers, composite, ops
from depthbokeh.aperture import Aperture
from depthbokeh.layers import find_span, iterate_slices, place_slices
from depthbokeh.slices import blur_layers

DISK = Aperture.disk()


def make_layers(count, *, batch=2, size=(13, 70), dtype=torch.float64):
    """Surfaces anywhere between two depths, every pixel covered in part: nothing lies at a kink of the definition."""
    random = torch.Generator().manual_seed(count)

    def rand(channels):
        return torch.rand(batch, count, channels, *size, generator=random, dtype=torch.float64)

    leaves = [0.05 + 0.9 * rand(1), 7 * (rand(1) - 0.4), rand(3)]
    return [leaf.to(dtype).requires_grad_() for leaf in leaves]


def differentiate(run, leaves):
    """Results, and gradients of a weighted sum of them."""
    results = run(DefocusLayers(*leaves))
    random = torch.Generator().manual_seed(9)
    weights = [torch.rand(r.shape, generator=random, dtype=torch.float64).to(r.dtype) - 0.5 for r in results]
    return results, torch.autograd.grad(results, leaves, weights)


@pytest.mark.parametrize("aperture", ["disk", "polygon:5", "gaussian"])
@pytest.mark.parametrize("slices", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_kernels_equal_the_definition(kernels, count, slices, aperture):
    leaves, shape = make_layers(count), Aperture.parse(aperture)
    found = differentiate(lambda layers: blur_layers(layers, slices, shape), leaves)
    expected = differentiate(lambda layers: blur_layers(layers, slices, shape, backend="reference"), leaves)
    least = 3e-2 if aperture == "gaussian" else 1e-9  # the reference's Gaussian is another approximation
    for values, others in zip(found, expected, strict=True):
        for value, other in zip(values, others, strict=True):
            assert (value - other).abs().max() < least * other.abs().max()


def test_one_slice_equals_the_definition_where_surfaces_are_missing(kernels):
    alpha, defocus, color = (leaf.detach() for leaf in make_layers(2))
    alpha[..., :20], alpha[:, 1, ..., 30:] = 0, 1
    layers, placed = DefocusLayers(alpha, defocus, color), place_slices(find_span(defocus), 4)
    for index, (light, depth) in zip((3, 2, 1, 0), iterate_slices(layers, 4), strict=True):
        found, radius = ops.take_slice([color, alpha, defocus, *placed], index)
        torch.testing.assert_close(found, light)
        torch.testing.assert_close(radius, torch.where(light[:, 3:] > 0, depth.abs(), 0))


def test_float32(kernels):
    leaves = make_layers(2, dtype=torch.float32)
    found = differentiate(lambda layers: blur_layers(layers, 6, DISK), leaves)
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = differentiate(lambda layers: blur_layers(layers, 6, DISK), wide)
    for values, others in zip(found, expected, strict=True):
        for value, other in zip(values, others, strict=True):
            assert value.dtype == torch.float32
            assert (value - other).norm() < 1e-4 * other.norm()


def test_nothing_is_kept_without_gradients(kernels, monkeypatch):
    saved = []
    monkeypatch.setattr(
        torch.autograd.function.FunctionCtx, "save_for_backward", lambda _, *tensors: saved.extend(tensors)
    )
    layers = DefocusLayers(*(leaf.detach() for leaf in make_layers(2)))
    with torch.no_grad():
        blur_layers(layers, 8, DISK)
    assert len(saved) < 8


def test_threads_do_not_change_the_gradient(kernels):
    leaves = make_layers(2, batch=1, size=(96, 128), dtype=torch.float32)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(differentiate(lambda layers: blur_layers(layers, 4, DISK), leaves)[1])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("slices", [1, 6])
def test_backends_render_the_same(kernels, slices):
    alpha, defocus, color = (leaf.detach().float() for leaf in make_layers(2, size=(24, 32)))
    layers, image = DefocusLayers(alpha, defocus, color), color[:, 0]
    native, reference = (composite(image, layers, slices=slices, backend=b) for b in ("native", "reference"))
    assert (native - reference).abs().max() < 1e-5


class TestOperators:
    def make(self):
        leaves = [leaf.detach() for leaf in make_layers(2, size=(5, 6))]
        alpha, defocus, color = leaves
        return [color, alpha, defocus, *place_slices(find_span(defocus), 3)]

    def test_opcheck_of_taking(self, kernels):
        layers = self.make()
        torch.library.opcheck(torch.ops.depthbokeh.take_slice.default, [*layers, 1])
        grads = [torch.ones(2, 4, 5, 6, dtype=torch.float64), torch.ones(2, 1, 5, 6, dtype=torch.float64)]
        to = [torch.zeros_like(values) for values in layers]
        torch.library.opcheck(torch.ops.depthbokeh.take_slice_backward.default, [*grads, *layers, 1, *to])

    def test_opcheck_of_covering(self, kernels):
        light, _ = ops.take_slice(self.make(), 1)
        before, picture = torch.full_like(light[:, :1], 0.7), torch.zeros_like(light[:, :3])
        torch.library.opcheck(torch.ops.depthbokeh.cover.default, [light, before, picture])
        grads = [torch.ones_like(picture), light, before, before + light[:, 3:], torch.ones_like(before)]
        torch.library.opcheck(torch.ops.depthbokeh.cover_backward.default, grads)

    @pytest.mark.parametrize("wrong", [1, 2, 3])
    def test_shapes_that_do_not_fit(self, kernels, wrong):
        layers = self.make()
        layers[wrong] = layers[wrong][:1].contiguous()
        with pytest.raises(RuntimeError, match=r"alpha and defocus must be|one value for every picture"):
            ops.take_slice(layers, 0)
