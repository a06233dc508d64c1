"""Slices that are blurred by the kernels against their definition in Python."""

import pytest
import torch
from threads import run_on_threads

from depthbokeh import DefocusLayers, blur, composite, ops
from depthbokeh.aperture import Aperture
from depthbokeh.layers import find_span, iterate_slices, place_slices
from depthbokeh.slices import _blur, blur_layers

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
def test_kernels_equal_the_definition(native, count, slices, aperture):
    leaves, shape = make_layers(count), Aperture.parse(aperture)
    found = differentiate(lambda layers: blur_layers(layers, slices, shape), leaves)
    expected = differentiate(lambda layers: blur_layers(layers, slices, shape, backend="reference"), leaves)
    least = 3e-2 if aperture == "gaussian" else 1e-9  # the reference's Gaussian is another approximation
    for values, others in zip(found, expected, strict=True):
        for value, other in zip(values, others, strict=True):
            assert (value - other).abs().max() < least * other.abs().max()


@pytest.mark.parametrize("size", [2, 5])
def test_slices_blurred_at_once_are_the_same(native, monkeypatch, size):
    """As on a GPU."""
    leaves = make_layers(2)
    expected = differentiate(lambda layers: blur_layers(layers, 5, DISK), leaves)
    groups = [range(first, min(first + size, 5)) for first in range(0, 5, size)]
    monkeypatch.setattr("depthbokeh.slices._group", lambda count, device: groups)
    for values, others in zip(
        differentiate(lambda layers: blur_layers(layers, 5, DISK), leaves), expected, strict=True
    ):
        for value, other in zip(values, others, strict=True):
            torch.testing.assert_close(value, other, rtol=1e-12, atol=1e-12)


def test_one_slice_equals_the_definition_where_surfaces_are_missing(native):
    alpha, defocus, color = (leaf.detach() for leaf in make_layers(2))
    alpha[..., :20], alpha[:, 1, ..., 30:] = 0, 1
    layers, placed = DefocusLayers(alpha, defocus, color), place_slices(find_span(defocus), 4)
    for index, (light, depth) in zip((3, 2, 1, 0), iterate_slices(layers, 4), strict=True):
        found, radius = ops.take_slices([color, alpha, defocus, *placed], range(index, index + 1))
        torch.testing.assert_close(found, light)
        torch.testing.assert_close(radius, torch.where(light[:, 3:] > 0, depth.abs(), 0))


def test_float32(native):
    leaves = make_layers(2, dtype=torch.float32)
    found = differentiate(lambda layers: blur_layers(layers, 6, DISK), leaves)
    wide = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = differentiate(lambda layers: blur_layers(layers, 6, DISK), wide)
    for values, others in zip(found, expected, strict=True):
        for value, other in zip(values, others, strict=True):
            assert value.dtype == torch.float32
            assert (value - other).norm() < 1e-4 * other.norm()


def test_nothing_is_kept_without_gradients(native, monkeypatch):
    saved = []
    monkeypatch.setattr(
        torch.autograd.function.FunctionCtx, "save_for_backward", lambda _, *tensors: saved.extend(tensors)
    )
    layers = DefocusLayers(*(leaf.detach() for leaf in make_layers(2)))
    with torch.no_grad():
        blur_layers(layers, 8, DISK)
    assert len(saved) < 8


def test_threads_do_not_change_the_gradient(native):
    leaves = make_layers(2, batch=1, size=(96, 128), dtype=torch.float32)
    found = run_on_threads(lambda: differentiate(lambda layers: blur_layers(layers, 4, DISK), leaves)[1])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("slices", [1, 6])
def test_backends_render_the_same(native, slices):
    alpha, defocus, color = (leaf.detach().float() for leaf in make_layers(2, size=(24, 32)))
    layers, image = DefocusLayers(alpha, defocus, color), color[:, 0]
    found, expected = (composite(image, layers, slices=slices, backend=b) for b in ("native", "reference"))
    assert (found - expected).abs().max() < 1e-5


def test_definition_runs_where_there_are_no_kernels(monkeypatch):
    layers = DefocusLayers(*(leaf.detach() for leaf in make_layers(2, batch=1, size=(6, 9))))
    expected = blur_layers(layers, 3, DISK, backend="reference")
    monkeypatch.setattr(ops, "has_kernels", lambda device: False)
    monkeypatch.setattr(blur, "_warned", True)  # of being slow, once
    monkeypatch.delattr(ops, "take_slices")
    assert all(torch.equal(*pair) for pair in zip(blur_layers(layers, 3, DISK), expected, strict=True))


class TestKernels:
    """The operators one by one: the CUDA kernels, too."""

    def assert_equal(self, found, expected):
        for value, other in zip(found, expected, strict=True):
            value = value.to(other.device, other.dtype)
            assert (value - other).abs().max() < 1e-9 * other.abs().max()

    @pytest.mark.parametrize("count", [1, 2, 4])
    def test_taking_and_its_gradient(self, kernels, count):
        alpha, defocus, color = make_layers(count)
        if count == 2:  # surfaces that are missing, and some that hide what is behind them
            with torch.no_grad():
                alpha[..., :20], alpha[:, 1, ..., 30:] = 0, 1
        span = [end.detach().requires_grad_() for end in find_span(defocus)]
        origin, scale = place_slices(tuple(span), 4)
        layers = [values.detach().to(kernels.device) for values in (color, alpha, defocus, origin, scale)]
        weights = [values.detach() - 0.5 for values in make_layers(4, size=alpha.shape[3:])[::2]]
        slices = iterate_slices(DefocusLayers(alpha, defocus, color), 4, tuple(span))
        for index, (light, depth) in zip((3, 2, 1, 0), slices, strict=True):
            radius = torch.where(light[:, 3:] > 0, depth.abs(), 0)
            self.assert_equal(kernels.operators.take_slices(*layers, index, 1), (light, radius))
            weight = weights[1].flatten(1, 2)[:, :4].contiguous(), weights[0][:, index].contiguous()
            expected = torch.autograd.grad((light, radius), [color, alpha, defocus, *span], weight, retain_graph=True)
            # Added to what is there.
            found = [torch.ones_like(values) for values in layers]
            given = [values.to(kernels.device) for values in weight]
            kernels.operators.take_slices_backward(*given, *layers, index, *found)
            found = [values.cpu() - 1 for values in found]
            ends = torch.autograd.grad((origin, scale), span, found[3:], retain_graph=True)
            self.assert_equal([*found[:3], *ends], expected)

    def test_several_slices_at_once(self, kernels):
        """As one by one."""
        alpha, defocus, color = (leaf.detach() for leaf in make_layers(3))
        layers = [values.to(kernels.device) for values in (color, alpha, defocus, *place_slices(find_span(defocus), 5))]
        operators = kernels.operators
        light, radius = operators.take_slices(*layers, 1, 3)
        single = [operators.take_slices(*layers, index, 1) for index in (1, 2, 3)]
        for value, parts in zip((light, radius), zip(*single, strict=True), strict=True):
            assert torch.equal(value, torch.cat(parts))

        total, picture = torch.full_like(radius[:2], 0.3), torch.zeros_like(light[:2, :3])
        grads = [torch.zeros_like(values) for values in layers], [torch.zeros_like(values) for values in layers]
        pictures = picture.clone(), picture.clone()
        after, totals = operators.cover(light, total, pictures[0]), [total]
        for one, _ in reversed(single):
            totals.append(operators.cover(one, totals[-1], pictures[1]))
        assert torch.equal(*pictures)
        assert torch.equal(after, torch.cat(totals[:0:-1]))

        grad_totals = total + 0.5, total + 0.5
        grad = operators.cover_backward(picture - 0.5, light, total, after, grad_totals[0])
        operators.take_slices_backward(grad, radius - 2, *layers, 1, *grads[0])
        for i, (one, size) in enumerate(single):
            own = operators.cover_backward(picture - 0.5, one, totals[2 - i], totals[3 - i], grad_totals[1])
            assert torch.equal(own, grad[2 * i : 2 * i + 2])
            operators.take_slices_backward(own, size - 2, *layers, 1 + i, *grads[1])
        assert torch.equal(*grad_totals)
        for value, other in zip(*grads, strict=True):
            torch.testing.assert_close(value, other, rtol=1e-12, atol=1e-12)

    def test_covering_and_its_gradient(self, kernels):
        random = torch.Generator().manual_seed(5)
        lights = torch.rand(3, 2, 4, 13, 70, generator=random, dtype=torch.float64)
        lights[:, :, 3] = 0.05 + 0.6 * lights[:, :, 3]  # three of them cover some pixels, and others not
        lights[:, :, 3, :4] = torch.tensor([-0.02, 0.0, 1e-8, 1e-3]).view(-1, 1)
        spread = lights.requires_grad_().unbind()
        # Slices of no radius: blurring leaves them as they are.
        still = torch.zeros(2, 1, 13, 70, dtype=torch.float64)
        expected = _blur(((light, still) for light in spread), DISK, "reference")
        weights = [torch.rand(r.shape, generator=random, dtype=torch.float64) - 0.5 for r in expected]

        given = [light.detach().contiguous().to(kernels.device) for light in spread]
        totals, picture = [still.to(kernels.device)], torch.zeros_like(given[0][:, :3])
        for light in given:
            totals.append(kernels.operators.cover(light, totals[-1], picture))
        self.assert_equal((picture, totals[-1]), expected)

        grad_picture, grad_total = (weight.to(kernels.device).clone() for weight in weights)
        found = []
        for i in (2, 1, 0):
            found.append(kernels.operators.cover_backward(grad_picture, given[i], totals[i], totals[i + 1], grad_total))
        self.assert_equal(found[::-1], torch.autograd.grad(expected, spread, weights))

    def test_float32(self, kernels, native):
        alpha, defocus, color = (leaf.detach() for leaf in make_layers(3))
        wide = [color, alpha, defocus, *place_slices(find_span(defocus), 4)]
        narrow = [values.float().to(kernels.device) for values in wide]
        found, expected = kernels.operators.take_slices(*narrow, 1, 1), native.operators.take_slices(*wide, 1, 1)
        for value, other in zip(found, expected, strict=True):
            assert value.dtype == torch.float32
            assert (value.cpu() - other).norm() < 1e-5 * other.norm()


class TestOperators:
    def make(self):
        leaves = [leaf.detach() for leaf in make_layers(2, size=(5, 6))]
        alpha, defocus, color = leaves
        return [color, alpha, defocus, *place_slices(find_span(defocus), 3)]

    def test_opcheck_of_taking(self, native):
        layers = self.make()
        torch.library.opcheck(torch.ops.depthbokeh.take_slices.default, [*layers, 1, 2])
        grads = [torch.ones(2, 4, 5, 6, dtype=torch.float64), torch.ones(2, 1, 5, 6, dtype=torch.float64)]
        to = [torch.zeros_like(values) for values in layers]
        torch.library.opcheck(torch.ops.depthbokeh.take_slices_backward.default, [*grads, *layers, 1, *to])

    def test_opcheck_of_covering(self, native):
        light, _ = ops.take_slices(self.make(), range(1, 2))
        before, picture = torch.full_like(light[:, :1], 0.7), torch.zeros_like(light[:, :3])
        torch.library.opcheck(torch.ops.depthbokeh.cover.default, [light, before, picture])
        grads = [torch.ones_like(picture), light, before, before + light[:, 3:], torch.ones_like(before)]
        torch.library.opcheck(torch.ops.depthbokeh.cover_backward.default, grads)

    @pytest.mark.parametrize("wrong", [1, 2, 3])
    def test_shapes_that_do_not_fit(self, native, wrong):
        layers = self.make()
        layers[wrong] = layers[wrong][:1].contiguous()
        with pytest.raises(RuntimeError, match=r"alpha and defocus must be|one value for every picture"):
            ops.take_slices(layers, range(1))
