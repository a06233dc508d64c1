"""Both blur operators, on every backend, against the dense float64 evaluation of their kernels."""

from __future__ import annotations

import math
import warnings
from functools import cache, partial

import pytest
import torch
from conftest import REFERENCE
from dense import dense_gather, dense_kernel, dense_scatter, relative_error
from kinks import assert_gradient_near
from threads import run_on_threads
from torch.autograd import gradcheck, gradgradcheck

import depthbokeh
from depthbokeh import Aperture, _native, blur, ops, reference

# Relative errors that are allowed to values and radius gradient. Polygons are tabulated, a Gaussian is interpolated
# between fixed widths.
TOLERANCES = {
    "disk": (1e-9, 1e-9),
    "ring:0.5": (1e-9, 1e-9),
    "ellipse:0.5": (1e-9, 1e-9),
    "ellipse:0.6:30": (1e-9, 1e-9),
    "polygon:6": (1e-3, 1e-2),
    "polygon:5:10:0.3": (5e-3, 5e-2),
    "cat_eye:0.4": (1e-9, 1e-9),
    "gaussian": (3e-3, 2e-2),
}
APERTURES = list(TOLERANCES)
# One for every symmetry that the kernels make use of, of few cells and of many.
SYMMETRIES = [
    "polygon:6:15",
    "polygon:5",
    "polygon:7:15",
    "polygon:8:0:0.3",
    "polygon:3:0:0.3",
    "cat_eye:0.4:30",
]
DENSE = {"scatter": dense_scatter, "gather": dense_gather}
ADJOINT = {"scatter": "gather", "gather": "scatter"}
# Nothing of any aperture leaves its pixel below this radius.
SHARP = 0.3

every_aperture = pytest.mark.parametrize("aperture", APERTURES)
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def make_inputs(height, width, *, batch=1, channels=1, most=4.0, least=0.0, dtype=torch.float64, seed=0):
    """An image of white noise about 1/2, radii between least and most, and a gradient of the result."""
    random = torch.Generator().manual_seed(seed)
    shape = (batch, channels, height, width)
    image, grad = torch.randn(2, *shape, dtype=torch.float64, generator=random)
    radius = torch.rand(batch, 1, height, width, dtype=torch.float64, generator=random)
    return (image + 0.5).to(dtype), (least + (most - least) * radius).to(dtype), grad.to(dtype)


def differentiate(run, image, radius, grad, aperture="disk", **options):
    """The result and its gradients to image and radius."""
    image, radius = image.detach().requires_grad_(), radius.detach().requires_grad_()
    blurred = run(image, radius, aperture, **options)
    return blurred.detach(), *torch.autograd.grad(blurred, (image, radius), grad)


@cache
def define(operator, aperture, *size, **options):
    """The inputs of :func:`make_inputs` and what the definition makes of them, once for all backends."""
    inputs = make_inputs(*size, **options)
    return inputs, differentiate(DENSE[operator], *inputs, aperture)


def assert_near(actual, expected, *tolerances):
    for one, other, tolerance in zip(actual, expected, tolerances, strict=True):
        assert relative_error(one, other) <= tolerance


class TestDefinition:
    @every_aperture
    @pytest.mark.parametrize("most", [0.8, 6.0])
    def test_values_and_gradients(self, backend, operator, aperture, most):
        inputs, expected = define(operator, aperture, 13, 17, batch=2, channels=2, most=most)
        actual = differentiate(partial(backend.blur, operator), *inputs, aperture)
        value, slope = TOLERANCES[aperture]
        assert_near(actual, expected, value, value, slope)

    @pytest.mark.parametrize("most", [3.0, 12.0])
    @pytest.mark.parametrize("image", ["uniform", "white"])
    def test_gaussian_levels(self, backend, operator, image, most):
        noise, radius, grad = make_inputs(24, 21, most=most, seed=1)
        noise = noise - 0.5 if image == "white" else torch.special.ndtr(noise - 0.5)
        actual = differentiate(partial(backend.blur, operator), noise, radius, grad, "gaussian")
        expected = differentiate(DENSE[operator], noise, radius, grad, "gaussian")
        assert_near(actual, expected, 3e-3, 3e-3, 2e-2)

    @every_aperture
    def test_radius_beyond_the_frame(self, backend, operator, aperture):
        inputs, expected = define(operator, aperture, 9, 11, most=55, least=0.4)
        actual = differentiate(partial(backend.blur, operator), *inputs, aperture)
        value, slope = TOLERANCES[aperture]
        assert_near(actual, expected, value, value, slope)

    @every_aperture
    @pytest.mark.parametrize(("y", "x"), [(0, 0), (0, 10), (8, 0), (8, 10), (4, 0), (0, 5)])
    def test_border(self, backend, operator, aperture, y, x):
        image, radius, _ = make_inputs(9, 11, least=2.6, most=4.1)
        point = torch.zeros_like(image)
        point[..., y, x] = 1
        blurred = backend.blur(operator, point, radius, aperture)
        assert_near([blurred], [DENSE[operator](point, radius, aperture)], TOLERANCES[aperture][0])

    @pytest.mark.parametrize("aperture", ["disk", "ellipse:0.6:30", "polygon:6", "gaussian"])
    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 3), (19, 5), (3, 23)])
    def test_sizes(self, backend, operator, aperture, size):
        inputs, expected = define(operator, aperture, *size, least=0.6)
        actual = differentiate(partial(backend.blur, operator), *inputs, aperture)
        value, slope = TOLERANCES[aperture]
        assert_near(actual, expected, value, value, slope)

    @every_aperture
    def test_adjoint(self, backend, aperture):
        x, radius, y = make_inputs(31, 37, batch=2, channels=3, most=7, least=-1)
        scattered, gathered = (backend.blur(name, z, radius, aperture) for name, z in zip(ADJOINT, (x, y), strict=True))
        torch.testing.assert_close((scattered * y).sum(), (x * gathered).sum(), rtol=1e-10, atol=0)

    def test_a_disk_of_light(self, backend):
        """Worked by hand: radius 1 has a middle row, of half-width sqrt(3) / 4 + pi / 6, and two caps."""
        point, radius = torch.zeros(1, 1, 5, 5, dtype=torch.float64), torch.ones(1, 1, 5, 5)
        point[..., 2, 2] = 1
        half = math.sqrt(3) / 4 + math.pi / 6
        cap = math.pi / 2 - half
        kernel = [[0, cap, 0], [half - 0.5, 1, half - 0.5], [0, cap, 0]]
        for operator in ADJOINT:
            blurred = backend.blur(operator, point, radius)[0, 0] * math.pi
            torch.testing.assert_close(blurred[1:-1, 1:-1], torch.tensor(kernel, dtype=torch.float64))
            assert blurred[0].abs().max() < 1e-15


class TestGradients:
    @every_aperture
    def test_gradcheck(self, backend, operator, aperture):
        image, radius, _ = make_inputs(5, 6, channels=2, least=0.7, most=2.8)
        run = partial(backend.blur, operator, aperture=aperture)
        assert gradcheck(run, (image.requires_grad_(), radius.requires_grad_()), fast_mode=True)

    @every_aperture
    def test_twice_in_the_image(self, backend, operator, aperture):
        image, radius, _ = make_inputs(5, 6, channels=2, least=0.7, most=2.8)
        run = partial(backend.blur, operator, radius=radius, aperture=aperture)
        assert gradgradcheck(lambda x: run(x**2), (image.requires_grad_(),), fast_mode=True)

    @every_aperture
    def test_image_gradient_in_grad_and_radius(self, backend, operator, aperture):
        image, radius, grad = (t.requires_grad_() for t in make_inputs(5, 6, channels=2, least=0.7, most=2.8))

        def image_gradient(grad, radius):
            blurred = backend.blur(operator, image, radius, aperture)
            return torch.autograd.grad(blurred, image, grad, create_graph=True)[0]

        assert gradcheck(image_gradient, (grad, radius), fast_mode=True)

    @pytest.mark.parametrize("aperture", ["disk", "gaussian"])
    @pytest.mark.parametrize("to", ["image", "grad"])
    def test_radius_gradient_is_right_or_refused(self, backend, operator, aperture, to):
        inputs = dict(zip(("image", "radius", "grad"), make_inputs(5, 6, least=0.7, most=2.8), strict=True))
        results = []
        for run in (DENSE[operator], partial(backend.blur, operator)):
            image, radius, grad = (t.detach().requires_grad_() for t in inputs.values())
            slope = torch.autograd.grad(run(image, radius, aperture), radius, grad, create_graph=True)[0]
            try:
                results.append(torch.autograd.grad(slope.square().sum(), {"image": image, "grad": grad}[to])[0])
            except NotImplementedError:
                return
        assert_near(results[1:], results[:1], 5e-2)

    @pytest.mark.parametrize("aperture", ["disk", "polygon:6", "gaussian"])
    def test_twice_in_the_radius_is_refused(self, backend, operator, aperture):
        image, radius, grad = make_inputs(5, 6, least=0.7)
        blurred = backend.blur(operator, image, radius.requires_grad_(), aperture)
        (slope,) = torch.autograd.grad(blurred, radius, grad, create_graph=True)
        with pytest.raises(NotImplementedError, match="differentiable once in the radius"):
            slope.sum().backward()

    @every_aperture
    def test_derivatives_of_both_kernels_are_adjoint(self, backend, aperture):
        """What the gradients are made of: the operators with dk/dr in the place of k."""
        x, radius, y = make_inputs(13, 17, most=6)
        shape = Aperture.parse(aperture)

        def run(operator, image):
            if backend is REFERENCE:
                return reference._Blur.apply(image, radius, shape, 6.0, operator == "gather", True)
            run = getattr(backend.operators, f"{operator}_blur")
            tensors = (tensor.to(backend.device) for tensor in (image, radius))
            return run(*tensors, shape.rows, int(shape.kind), True).to(image.device)

        gathered = run("gather", y)
        radius.requires_grad_()
        (expected,) = torch.autograd.grad(dense_gather(y, radius, aperture).sum(), radius)
        radius.requires_grad_(False)
        assert_near([gathered], [expected], TOLERANCES[aperture][1])
        torch.testing.assert_close((run("scatter", x) * y).sum(), (x * gathered).sum(), rtol=1e-10, atol=0)

    @pytest.mark.parametrize("wanted", ["image", "radius"])
    def test_one_gradient_alone(self, backend, operator, wanted):
        image, radius, grad = make_inputs(9, 11, channels=2)
        both = differentiate(partial(backend.blur, operator), image, radius, grad)
        alone = {"image": image, "radius": radius}[wanted].requires_grad_()
        found = torch.autograd.grad(backend.blur(operator, image, radius), alone, grad)
        assert_near(found, both[1:2] if wanted == "image" else both[2:], 1e-14)


class TestLight:
    @every_aperture
    def test_is_kept_within_the_frame(self, backend, operator, aperture):
        image, radius, _ = make_inputs(33, 35, batch=2, channels=2, most=4.5)
        image[..., :10, :] = image[..., -10:, :] = image[..., :10] = image[..., -10:] = 0
        image = image.abs()
        if operator == "gather":  # whose kernels sum to 1 where they read
            blurred = backend.blur(operator, torch.ones_like(image), radius, aperture)
            torch.testing.assert_close(blurred[..., 10:-10, 10:-10], torch.ones(2, 2, 13, 15, dtype=torch.float64))
        else:
            blurred = backend.blur(operator, image, radius, aperture)
            torch.testing.assert_close(blurred.sum((2, 3)), image.sum((2, 3)), rtol=1e-12, atol=0)

    @every_aperture
    def test_is_lost_at_the_border_alone(self, backend, aperture):
        _, radius, _ = make_inputs(23, 29, least=2, most=5)
        kept = backend.blur("gather", torch.ones_like(radius), radius, aperture)  # the share of every source
        tiny = 1e-3 if aperture == "gaussian" else 1e-12  # its fringe is a little below 0
        assert kept.max() <= 1 + tiny
        edge = torch.cat([kept[..., 0, :].flatten(), kept[..., -1, :].flatten(), kept[..., 0].flatten()])
        assert edge.max() < 0.9
        assert edge.min() > 0.15

    @every_aperture
    def test_never_turns_negative(self, backend, operator, aperture):
        image, radius, _ = make_inputs(23, 29, most=5)
        blurred = backend.blur(operator, image.abs(), radius, aperture)
        assert blurred.min() > 0
        if operator == "gather":
            assert blurred.max() <= image.abs().max()

    @every_aperture
    @both_precisions
    def test_constant_picture(self, backend, operator, aperture, dtype):
        constant, radius = (
            torch.full((1, 2, 40, 40), 0.7, dtype=dtype),
            torch.full((1, 1, 40, 40), 5.3, dtype=dtype),
        )
        blurred = backend.blur(operator, constant, radius, aperture)[..., 12:-12, 12:-12]
        torch.testing.assert_close(blurred, torch.full_like(blurred, 0.7), rtol=1e-5, atol=0)

    @pytest.mark.parametrize("lamp", [(1, 1), (10, 10), (20, 20), (48, 40)], ids="{0[0]}x{0[1]}".format)
    @pytest.mark.parametrize(
        ("aperture", "radius", "night"),
        [
            ("disk", 3, 0.1),
            ("disk", 6.3, 0),
            ("disk", 12, 1e-13),
            ("polygon:6", 3.7, 0.1),
            ("gaussian", 5, 0.1),
        ],
    )
    def test_highlight_leaves_no_trail(self, backend, operator, aperture, radius, night, lamp):
        if backend.name == "emulated" and lamp[0] not in (10, 48):
            pytest.skip("two lamps are enough where it takes long")
        noise, _, _ = make_inputs(64, 224, channels=3, dtype=torch.float32)
        dark, shine = torch.special.ndtr(noise) * night, torch.zeros_like(noise)
        shine[..., 8 : 8 + lamp[0], 70 : 70 + lamp[1]] = 1e4
        dark[shine > 0] = 0
        radii = torch.full((1, 1, 64, 224), float(radius))
        unlit = REFERENCE.blur(operator, shine.double(), radii, aperture).abs() < 1e-9
        assert unlit[..., 20, :20].all()
        assert unlit[..., 20, 150:].all()
        lit, still = (backend.blur(operator, image, radii, aperture) for image in (dark + shine, dark))
        assert (lit - still)[unlit].abs().max() <= 1e-6

    @pytest.mark.parametrize("column", [3, 0.86, -3], ids=str)
    def test_highlight_in_any_tile(self, kernels, operator, column):
        """The tile with the lamp is summed as it must be, wherever it is, and what is sharp there counts once."""
        height, width, most = kernels.seams
        noise, radius, _ = make_inputs(height, width, channels=3, most=most / 2, dtype=torch.float32)
        image, column = torch.special.ndtr(noise), column if isinstance(column, int) else int(column * width)
        radius[..., ::3, ::5] = 0
        image[..., height // 2, column] = 1e6
        expected = REFERENCE.blur(operator, image.double(), radius.double())
        near = torch.where(radius > 0.5, radius + 1e-3, radius)  # rounding may reach one pixel farther
        lit = REFERENCE.blur(operator, (image > 100).double(), near.double()).abs() > 1e-13
        found = kernels.blur(operator, image, radius).double()
        assert (~lit).double().mean() > 0.3
        torch.testing.assert_close(found[~lit], expected[~lit], rtol=2e-5, atol=2e-5)
        torch.testing.assert_close(found[lit], expected[lit], rtol=2e-5, atol=0.1)  # a light of 1e6


class TestSharpPixels:
    @every_aperture
    @pytest.mark.parametrize("radius", [0.0, SHARP, -2.0])
    @both_precisions
    def test_small_radius_is_the_identity(self, backend, operator, aperture, radius, dtype):
        image, _, grad = make_inputs(19, 23, batch=2, channels=3, dtype=dtype)
        radii = torch.full((2, 1, 19, 23), radius, dtype=dtype)
        found = differentiate(partial(backend.blur, operator), image, radii, grad, aperture)
        for actual, expected in zip(found, (image, grad, torch.zeros_like(radii)), strict=True):
            torch.testing.assert_close(actual, expected, rtol=0, atol=0)

    @every_aperture
    @both_precisions
    def test_beside_blurred_ones(self, backend, operator, aperture, dtype):
        image, radius, grad = make_inputs(19, 23, channels=3, least=2, dtype=dtype)
        small = torch.tensor([0.0, -0.0, 1e-30, SHARP, -1.0, -1e6], dtype=dtype)
        choice = torch.randint(2 * len(small), radius.shape, generator=torch.Generator().manual_seed(0))
        sharp = choice < len(small)
        radius = torch.where(sharp, small[choice % len(small)], radius)
        blurred, _, slope = differentiate(partial(backend.blur, operator), image, radius, grad, aperture)
        assert not slope[sharp].any()
        assert slope[~sharp].all()
        assert slope.isfinite().all()
        if operator == "gather":
            sharp = sharp.expand_as(image)
            torch.testing.assert_close(blurred[sharp], image[sharp], rtol=0, atol=0)
        value = 1e-5 if dtype is torch.float32 else 1e-9
        expected = DENSE[operator](image.double(), radius.double(), aperture)
        assert_near([blurred], [expected], max(value, TOLERANCES[aperture][0]))

    @every_aperture
    @both_precisions
    def test_blur_sets_in_smoothly(self, backend, operator, aperture, dtype):
        image, _, _ = make_inputs(9, 11, dtype=dtype)
        onset = 0.5 / Aperture.parse(aperture).extent
        assert onset >= SHARP
        for step, change in ((1e-5, 2e-4), (1e-3, 2e-2)):
            radius = torch.full((1, 1, 9, 11), onset * (1 + step), dtype=dtype)
            assert (backend.blur(operator, image, radius, aperture) - image).abs().max() < change


class TestShapes:
    @pytest.mark.parametrize("aperture", ["disk", "polygon:6", "gaussian"])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9])
    def test_channels_are_independent(self, backend, operator, aperture, channels):
        image, radius, grad = make_inputs(14, 15, batch=2, channels=channels)
        run = partial(differentiate, partial(backend.blur, operator), aperture=aperture)
        blurred, slope, moved = run(image, radius, grad)
        each = [run(image[:, [c]], radius, grad[:, [c]]) for c in range(channels)]
        torch.testing.assert_close(blurred, torch.cat([values for values, _, _ in each], dim=1))
        torch.testing.assert_close(slope, torch.cat([slopes for _, slopes, _ in each], dim=1))
        torch.testing.assert_close(moved, sum(moves for _, _, moves in each))

    def test_images_of_a_batch_are_independent(self, backend, operator):
        image, radius, grad = make_inputs(14, 15, batch=3, channels=2)
        run = partial(differentiate, partial(backend.blur, operator))
        each = [run(*(t[[i]] for t in (image, radius, grad))) for i in range(3)]
        for whole, parts in zip(run(image, radius, grad), zip(*each, strict=True), strict=True):
            torch.testing.assert_close(whole, torch.cat(parts))

    def test_one_radius_for_the_batch(self, backend, operator):
        image, radius, grad = make_inputs(14, 15, batch=3, channels=2)
        run = partial(differentiate, partial(backend.blur, operator))
        shared = run(image, radius[:1], grad)
        apart = run(image, radius[:1].expand(3, -1, -1, -1), grad)
        assert shared[2].shape == (1, 1, 14, 15)
        torch.testing.assert_close(shared, (*apart[:2], apart[2].sum(0, keepdim=True)))

    @pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 0, 4), (1, 1, 3, 0)])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
    @pytest.mark.parametrize("aperture", ["disk", "gaussian"])
    def test_empty(self, backend, operator, aperture, shape, dtype):
        image, radius = torch.zeros(shape, dtype=dtype), torch.ones(shape[0], 1, *shape[2:], dtype=dtype)
        found = differentiate(partial(backend.blur, operator), image, radius, image, aperture)
        assert [(t.shape, t.dtype) for t in found] == [(t.shape, dtype) for t in (image, image, radius)]
        assert not found[2].any()

    @pytest.mark.parametrize(
        "view",
        [
            lambda t: t.to(memory_format=torch.channels_last),
            lambda t: t.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2),
            lambda t: t.repeat_interleave(2, dim=3)[..., ::2],
            lambda t: torch.cat([t, t], dim=2)[:, :, t.shape[2] :],
            lambda t: t[:1, :1].expand(t.shape),
        ],
        ids=["channels_last", "transposed", "strided", "sliced", "expanded"],
    )
    def test_not_contiguous(self, backend, operator, view):
        inputs = [view(t) for t in make_inputs(14, 15, batch=2, channels=2)]
        assert not all(t.is_contiguous() for t in inputs)
        run = partial(backend.blur, operator)
        found, expected = differentiate(run, *inputs), differentiate(run, *(t.contiguous() for t in inputs))
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)

    def test_inputs_are_left_alone(self, backend, operator):
        inputs = make_inputs(14, 15, channels=2)
        kept = [t.clone() for t in inputs]
        differentiate(partial(backend.blur, operator), *inputs)
        torch.testing.assert_close(list(inputs), kept, rtol=0, atol=0)


class TestPrecision:
    @staticmethod
    @cache
    def run_reference(operator, aperture, height, width, most):
        inputs = make_inputs(height, width, channels=3, most=most, dtype=torch.float32)
        return differentiate(partial(REFERENCE.blur, operator), *(t.double() for t in inputs), aperture)

    @pytest.mark.parametrize("aperture", [*APERTURES, *SYMMETRIES])
    @both_precisions
    def test_kernels_equal_the_reference(self, kernels, operator, aperture, dtype):
        """Wider than a tile of any backend, several bands high, with radii that reach over their seams."""
        height, width, most = kernels.seams
        inputs = make_inputs(height, width, channels=3, most=most, dtype=torch.float32)
        found = differentiate(partial(kernels.blur, operator), *(t.to(dtype) for t in inputs), aperture)
        expected = self.run_reference(operator, aperture, *kernels.seams)
        assert [t.dtype for t in found] == [dtype] * 3
        if dtype is torch.float64:
            assert_near(found, expected, 1e-9, 1e-9, 1e-9)
            return
        assert_near(found[:2], expected[:2], 1e-5, 1e-5)
        assert_gradient_near(found[2], expected[2], inputs[1], aperture)

    def test_wrong_gradient_is_noticed(self, native, operator):
        """One that is right but for the light that a single row's end moves over, in a pixel in a thousand."""
        image, radius, grad = make_inputs(*native.seams[:2], channels=3, most=20, dtype=torch.float32)
        right = differentiate(partial(native.blur, operator), image, radius, grad)[2]
        assert_gradient_near(right, self.run_reference(operator, "disk", *native.seams)[2], radius, "disk")
        # dk/dr of one end is about 1 / (pi r^2), the light it moves over about one.
        moved = 3 / (torch.pi * radius.clamp(min=1).square())
        wrong = right.clone()
        chosen = torch.rand(wrong.shape, generator=torch.Generator().manual_seed(3)) < 1e-3
        wrong[chosen] += moved[chosen]
        with pytest.raises(AssertionError):
            assert_gradient_near(wrong, right.double(), radius, "disk")

    @pytest.mark.parametrize("aperture", ["disk", "ring:0.5", "polygon:6", "gaussian"])
    def test_float32(self, backend, operator, aperture):
        inputs = make_inputs(13, 17, channels=2, most=6)
        found = differentiate(partial(backend.blur, operator), *(t.float() for t in inputs), aperture)
        expected = differentiate(partial(backend.blur, operator), *inputs, aperture)
        assert [t.dtype for t in found] == [torch.float32] * 3
        assert_near(found, expected, 1e-5, 1e-5, 3e-4)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("aperture", ["disk", "ellipse:0.6:30", "polygon:6", "gaussian"])
    def test_half(self, backend, operator, aperture, dtype):
        inputs = make_inputs(13, 17, channels=2, most=6, dtype=dtype)
        found = differentiate(partial(backend.blur, operator), *inputs, aperture)
        expected = differentiate(partial(backend.blur, operator), *(t.float() for t in inputs), aperture)
        assert [t.dtype for t in found] == [dtype] * 3
        eps = torch.finfo(dtype).eps
        for actual, wanted in zip(found[:2], expected[:2], strict=True):
            torch.testing.assert_close(actual, wanted.to(dtype), rtol=eps, atol=1e-6)
        assert_near(found[2:], [expected[2].double()], eps)

    @pytest.mark.parametrize("types", [(torch.float16, torch.float64), (torch.float64, torch.float32)])
    def test_radius_of_another_dtype(self, backend, operator, types):
        image, radius, grad = make_inputs(13, 17, channels=2, most=6)
        image, radius, grad = image.to(types[0]), radius.to(types[1]), grad.to(types[0])
        found = differentiate(partial(backend.blur, operator), image, radius, grad)
        assert [t.dtype for t in found] == [types[0], *types]
        expected = differentiate(partial(backend.blur, operator), *(t.double() for t in (image, radius, grad)))
        assert_near([t.double() for t in found], expected, *[2e-3 if types[0] == torch.float16 else 1e-6] * 3)

    @pytest.mark.parametrize("aperture", ["disk", "gaussian"])
    def test_autocast(self, backend, operator, aperture):
        inputs = make_inputs(13, 17, channels=2, most=6, dtype=torch.float32)
        expected = differentiate(partial(backend.blur, operator), *inputs, aperture)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = differentiate(partial(backend.blur, operator), *inputs, aperture)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("aperture", ["disk", "polygon:6", "gaussian"])
    def test_threads_change_nothing(self, backend, operator, aperture):
        if backend.name == "emulated":
            pytest.skip("the emulation has no threads of the processor; test_emulation.py has the GPU's")
        # Several bands. The reference works in torch's own threads, which start at 2^15 elements and are slow to.
        most, counts = (0.9, (1, 2)) if backend is REFERENCE else (6.0, (1, 2, 2))
        inputs = make_inputs(300, 40, channels=3, most=most, dtype=torch.float32)
        found = run_on_threads(lambda: differentiate(partial(backend.blur, operator), *inputs, aperture), counts)
        for other in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


class TestArguments:
    @every_aperture
    def test_max_radius(self, backend, operator, aperture):
        image, radius, grad = make_inputs(13, 17, channels=2, most=6)
        run = partial(backend.blur, operator)
        found = differentiate(run, image, radius, grad, aperture, max_radius=3.5)
        expected = differentiate(run, image, radius.clamp(max=3.5), grad, aperture)
        assert_near(found[:2], expected[:2], 1e-14, 1e-14)
        cut = radius > 3.5
        assert not found[2][cut].any()
        torch.testing.assert_close(found[2][~cut], expected[2][~cut])

    def test_max_radius_at_its_ends(self, backend, operator):
        image, radius, _ = make_inputs(13, 17, most=6)
        run = partial(backend.blur, operator, image, radius)
        torch.testing.assert_close(run(max_radius=0), image, rtol=0, atol=0)
        torch.testing.assert_close(run(max_radius=1e3), run())
        torch.testing.assert_close(run(max_radius=6), run())

    @pytest.mark.parametrize("aperture", ["disk", "gaussian"])
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_radius_that_is_not_finite(self, backend, operator, aperture, value):
        image, radius, _ = make_inputs(5, 6)
        radius[..., 2, 3] = value
        self.blur_with_bad_radius(backend, operator, image, radius, aperture)

    @staticmethod
    def blur_with_bad_radius(backend, operator, image, radius, aperture, **options):
        """An error or, where that would mean waiting for the device, NaN for the pixel and nothing for the others."""
        if backend.reads_values:
            with pytest.raises(ValueError, match="radius must be finite"):
                backend.blur(operator, image, radius, aperture, **options)
            return
        grad, bad = torch.ones_like(image), ~radius.isfinite()
        run = partial(differentiate, partial(backend.blur, operator), aperture=aperture, **options)
        found, expected = run(image, radius, grad), run(image, radius.where(~bad, 0), grad)
        for actual, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(actual[~bad], wanted[~bad])
        assert all(actual[bad].isnan().all() for actual in found[:2])

    @pytest.mark.parametrize("aperture", ["disk", "gaussian"])
    def test_radius_that_is_not_a_number_is_not_cut(self, backend, operator, aperture):
        image, radius, _ = make_inputs(5, 6)
        radius[..., 2, 3] = math.nan
        self.blur_with_bad_radius(backend, operator, image, radius, aperture, max_radius=3)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"image": torch.zeros(3, 5, 6)}, r"image must be \(B, C, H, W\) .*\(3, 5, 6\)"),
            ({"image": torch.zeros(1, 3, 5, 6, dtype=torch.uint8)}, "image must be .* floating point.*uint8"),
            ({"radius": torch.zeros(1, 5, 6)}, r"radius must be \(2, 1, 5, 6\).*\(1, 5, 6\)"),
            ({"radius": torch.zeros(2, 3, 5, 6)}, r"radius must be \(2, 1, 5, 6\)"),
            ({"radius": torch.zeros(3, 1, 5, 6)}, r"radius must be \(2, 1, 5, 6\)"),
            ({"radius": torch.zeros(2, 1, 6, 5)}, r"radius must be \(2, 1, 5, 6\)"),
            (
                {"radius": torch.zeros(2, 1, 5, 6, dtype=torch.int64)},
                "radius must be .* floating point.*int64",
            ),
            ({"radius": torch.zeros(2, 1, 5, 6, device="meta")}, "radius must be on .* device cpu, got meta"),
            ({"max_radius": -1.0}, "max_radius must be finite and not negative, got -1"),
            ({"max_radius": math.inf}, "max_radius must be finite"),
            ({"max_radius": math.nan}, "max_radius must be finite"),
            ({"backend": "cuda"}, "backend must be 'auto', 'reference' or 'native', got 'cuda'"),
            ({"aperture": "star"}, "aperture must be one of disk, .*'star'"),
        ],
    )
    @pytest.mark.parametrize("run", [depthbokeh.scatter_blur, depthbokeh.gather_blur])
    def test_what_does_not_fit(self, run, changes, message):
        arguments = {
            "image": torch.zeros(2, 3, 5, 6),
            "radius": torch.zeros(2, 1, 5, 6),
            "backend": "reference",
        }
        with pytest.raises(ValueError, match=message):
            run(**{**arguments, **changes})

    def test_aperture_object(self, backend, operator):
        image, radius, _ = make_inputs(13, 17)
        run = partial(backend.blur, operator, image, radius)
        torch.testing.assert_close(run(Aperture.polygon(5, 10)), run("polygon:5:10"), rtol=0, atol=0)


class TestBackendChoice:
    @pytest.fixture
    def missing(self, monkeypatch):
        """An installation without the native library."""
        monkeypatch.setattr(ops, "load_operators", lambda **_: False)
        monkeypatch.setattr(_native, "load", lambda **_: _native.Native(None, "no C++ compiler"))
        monkeypatch.setattr(blur, "_warned", False)

    def test_auto_is_native(self, native, operator, monkeypatch):
        image, radius, _ = make_inputs(5, 6)
        monkeypatch.delattr(reference, f"{operator}_blur")
        found = getattr(depthbokeh, f"{operator}_blur")(image, radius)
        torch.testing.assert_close(found, native.blur(operator, image, radius), rtol=0, atol=0)

    def test_auto_warns_once(self, operator, missing):
        image, radius, _ = make_inputs(5, 6)
        run = getattr(depthbokeh, f"{operator}_blur")
        with pytest.warns(RuntimeWarning, match="slower reference: no C\\+\\+ compiler") as caught:
            found = run(image, radius)
        assert [warning.filename for warning in caught] == [__file__]
        torch.testing.assert_close(found, REFERENCE.blur(operator, image, radius), rtol=0, atol=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(image, radius)

    def test_reference_does_not_warn(self, operator, missing):
        image, radius, _ = make_inputs(5, 6)
        REFERENCE.blur(operator, image, radius)

    def test_native_says_why_not(self, operator, missing):
        image, radius, _ = make_inputs(5, 6)
        with pytest.raises(RuntimeError, match="no native kernel: no C\\+\\+ compiler"):
            getattr(depthbokeh, f"{operator}_blur")(image, radius, backend="native")


class TestTorch:
    """What the operators owe to torch: fake kernels, autograd registration, compilation."""

    @pytest.mark.parametrize("name", ["scatter_blur", "gather_blur", "gather_blur_backward"])
    @pytest.mark.parametrize("aperture", ["disk", "gaussian"])
    def test_opcheck(self, kernels, name, aperture):
        image, radius, weight = (t.to(kernels.device) for t in make_inputs(6, 7, batch=2, channels=3, least=0.7))
        shape, inputs = Aperture.parse(aperture), [image.requires_grad_(), radius]
        if name == "gather_blur_backward":
            inputs += [weight.requires_grad_(), shape.rows, int(shape.kind)]
        else:
            inputs = [inputs[0], radius.requires_grad_(), shape.rows, int(shape.kind), False]
        torch.library.opcheck(getattr(kernels.operators, name).default, inputs)

    def test_opcheck_of_the_slope(self, kernels, operator):
        image, radius, _ = (t.to(kernels.device) for t in make_inputs(6, 7, channels=3, least=0.7))
        run = getattr(kernels.operators, f"{operator}_blur").default
        torch.library.opcheck(run, [image.requires_grad_(), radius, Aperture.disk().rows, 0, True])

    @pytest.mark.parametrize("aperture", ["disk", "polygon:6"])
    def test_compile(self, kernels, operator, aperture):
        def render(image, radius):
            return kernels.blur(operator, image**2, radius.abs(), aperture, max_radius=5).sqrt()

        image, radius, grad = make_inputs(13, 17, channels=3, most=6, dtype=torch.float32)
        image = image.abs() + 0.1
        compiled = torch.compile(render, fullgraph=True, backend="aot_eager")
        found, expected = (
            differentiate(lambda x, r, _, run=run: run(x, r), image, radius, grad) for run in (compiled, render)
        )
        torch.testing.assert_close(found, expected)

    def test_device_without_kernels(self, native, operator):
        meta = torch.zeros(1, 1, 5, 6, device="meta")
        with pytest.raises(RuntimeError, match="no native kernel: there is none for meta"):
            getattr(depthbokeh, f"{operator}_blur")(meta, meta, backend="native")


def test_dense_kernels_sum_to_one():
    for aperture in APERTURES:
        total = dense_kernel(aperture, torch.tensor([0.2, 0.6, 1.0, 2.7, 5.2]), 9).sum((1, 2))
        torch.testing.assert_close(total, torch.ones(5, dtype=torch.float64), rtol=1e-6, atol=0)
