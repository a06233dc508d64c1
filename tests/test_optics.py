from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch

from depthbokeh.optics import (
    depth_of_field_m,
    depth_to_disparity,
    disparity_to_depth,
    hyperfocal_distance_m,
    lens_strength,
    normalize_disparity,
    relative_strength,
    signed_defocus,
    thin_lens_defocus,
)

INF = math.inf
LENS = {"focal_length_m": 0.05, "f_number": 2.0, "focus_distance_m": 2.0, "pixels_per_metre": 1e5}


def _column(*values: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype).view(1, 1, -1, 1)


class TestThinLens:
    def test_equals_the_cone_of_light_behind_the_lens(self):
        depth = _column(0.3, 1.0, 2.0, 3.7, 50.0)
        focal, aperture = 0.05, 0.05 / 2.0
        sensor = 1 / (1 / focal - 1 / 2.0)
        image = 1 / (1 / focal - 1 / depth)
        # The cone has the pupil's radius at the lens and 0 at the image; the sensor cuts it in between.
        expected = 1e5 * (aperture / 2) * (image - sensor) / image
        torch.testing.assert_close(thin_lens_defocus(depth, **LENS), expected)

    def test_known_values_and_sign(self):
        # 1e5 * 0.05^2 / 4 * 2 / 1.95 = 62.5 / 0.975
        assert lens_strength(**LENS) == pytest.approx(64.1025641026)
        defocus = thin_lens_defocus(_column(1.0, 2.0, 4.0, INF), **LENS)
        torch.testing.assert_close(defocus, _column(32.0512820513, 0.0, -16.0256410256, -32.0512820513))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_the_focus_plane_is_exactly_sharp_in_every_dtype(self, dtype):
        depth = _column(2.1, INF, dtype=dtype)
        defocus = thin_lens_defocus(depth, **{**LENS, "focus_distance_m": 2.1}).flatten()
        assert defocus.dtype == dtype
        assert defocus[0] == 0
        assert defocus[1].item() == pytest.approx(-62.5 / (1 - 0.05 / 2.1) / 2.1, rel=1e-2)

    def test_focused_at_infinity(self):
        defocus = thin_lens_defocus(_column(0.5, INF), **{**LENS, "focus_distance_m": INF})
        torch.testing.assert_close(defocus, _column(125.0, 0.0))

    def test_gradients(self):
        depth = torch.tensor([[0.7, 1.5], [2.0, 30.0]], dtype=torch.float64).view(2, 1, 1, 2)
        distance = torch.tensor([1.2, 3.0], dtype=torch.float64)
        focal = torch.tensor(0.05, dtype=torch.float64)
        f_number = torch.tensor([1.8, 4.0], dtype=torch.float64).view(2, 1, 1, 1)
        inputs = [tensor.requires_grad_() for tensor in (depth, distance, focal, f_number)]

        def defocus(z, z_f, f, n):
            return thin_lens_defocus(z, focus_distance_m=z_f, focal_length_m=f, f_number=n, pixels_per_metre=1e3)

        assert torch.autograd.gradcheck(defocus, inputs)

    def test_infinity_has_zero_gradient_and_passes_one_to_the_focus(self):
        depth = _column(INF).requires_grad_()
        distance = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        thin_lens_defocus(depth, **{**LENS, "focus_distance_m": distance}).sum().backward()
        assert depth.grad.item() == 0
        # At infinity the defocus is -p f^2 / 2N / (z_f - f), its derivative 62.5 / 1.95^2.
        assert distance.grad.item() == pytest.approx(62.5 / 1.95**2)

    def test_one_value_per_image_even_where_it_could_pass_for_a_row(self):
        depth = torch.full((2, 1, 2, 2), 4.0)
        defocus = thin_lens_defocus(depth, **{**LENS, "f_number": torch.tensor([2.0, 4.0])})
        assert torch.equal(defocus[1], defocus[0] / 2)
        assert (defocus[0] == defocus[0, 0, 0, 0]).all()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("focal_length_m", 0.0),
            ("f_number", -1.8),
            ("pixels_per_metre", math.nan),
            ("focus_distance_m", 0.05),
            ("f_number", torch.tensor([2.0, -2.0])),
            ("f_number", torch.tensor([2.0, 2.0, 2.0])),
            ("focus_distance_m", torch.full((2, 1, 5, 1), 2.0)),
        ],
    )
    def test_errors_name_the_argument(self, name, value):
        with pytest.raises(ValueError, match=name):
            thin_lens_defocus(torch.ones(2, 1, 3, 3), **{**LENS, name: value})

    def test_integer_depth_is_refused(self):
        with pytest.raises(ValueError, match=r"depth_m .* torch.int64"):
            thin_lens_defocus(torch.ones(1, 1, 2, 2, dtype=torch.int64), **LENS)


class TestSignedDefocus:
    @pytest.mark.parametrize("scale", [1.0, 0.37])
    def test_metric_and_relative_disparity_give_the_thin_lens(self, scale):
        depth = _column(0.8, 2.0, 7.0, INF)
        disparity = scale / depth
        strength = lens_strength(**LENS) if scale == 1 else relative_strength(scale / 2.0, **LENS)
        expected = thin_lens_defocus(depth, **LENS)
        torch.testing.assert_close(signed_defocus(disparity, scale / 2.0, strength), expected)

    def test_focus_and_strength_per_image(self):
        disparity = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).view(2, 1, 1, 2)
        expected = torch.tensor([[-5.0, 5.0], [-5.0, 15.0]]).view(2, 1, 1, 2)
        focus, strength = torch.tensor([0.5, 0.25]), torch.tensor([10.0, 20.0])
        assert torch.equal(signed_defocus(disparity, focus, strength), expected)
        assert torch.equal(signed_defocus(disparity, focus.view(2, 1, 1, 1), strength), expected)
        assert torch.equal(signed_defocus(disparity[:1], 0.5, torch.tensor(10.0)), expected[:1])

    def test_gradients(self):
        disparity = torch.linspace(0, 1, 4, dtype=torch.float64).view(2, 1, 1, 2).requires_grad_()
        focus = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=True)
        strength = torch.tensor(12.0, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(signed_defocus, (disparity, focus, strength))

    def test_errors(self):
        with pytest.raises(ValueError, match=r"strength .* \(2, 1, 3, 3\), got \(3,\)"):
            signed_defocus(torch.ones(2, 1, 3, 3), 0.5, torch.ones(3))
        for focus in (0.0, -1.0, torch.tensor([1.0, 0.0])):
            with pytest.raises(ValueError, match="focus must be above 0"):
                relative_strength(focus, **LENS)
        with pytest.raises(ValueError, match="focus_distance_m must be finite"):
            relative_strength(1.0, **{**LENS, "focus_distance_m": INF})


class TestDisparity:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_round_trip_with_infinity_and_zero(self, dtype):
        depth = torch.tensor([0.5, 8.0, INF, 0.0], dtype=dtype)
        disparity = depth_to_disparity(depth)
        assert torch.equal(disparity, torch.tensor([2.0, 0.125, 0.0, INF], dtype=dtype))
        assert torch.equal(disparity_to_depth(disparity), depth)

    def test_gradients_are_true_inside_and_zero_at_the_ends(self):
        depth = torch.tensor([0.5, 8.0, INF, 0.0, 1e-30], requires_grad=True)
        (grad,) = torch.autograd.grad(depth_to_disparity(depth).sum(), depth, create_graph=True)
        assert torch.equal(grad, torch.tensor([-4.0, -1 / 64, 0.0, 0.0, 0.0]))
        # Masked out downstream, the upstream gradient is 0, which an infinite slope would turn into NaN.
        (grad,) = torch.autograd.grad(depth_to_disparity(depth), depth, torch.zeros(5))
        assert torch.equal(grad, torch.zeros(5))

    def test_normalize_works_per_image(self):
        disparity = torch.tensor([[1.0, 2.0, 5.0], [-4.0, 0.0, 4.0], [3.0, 3.0, 3.0]]).view(3, 1, 1, 3)
        expected = torch.tensor([[0.0, 0.25, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.0]]).view(3, 1, 1, 3)
        disparity.requires_grad_()
        normal = normalize_disparity(disparity)
        assert torch.equal(normal, expected)
        normal.square().sum().backward()
        assert disparity.grad.isfinite().all()

    def test_normalize_errors(self):
        with pytest.raises(ValueError, match=r"disparity .* got \(1, 3, 2, 2\)"):
            normalize_disparity(torch.ones(1, 3, 2, 2))
        with pytest.raises(ValueError, match="disparity must be finite"):
            normalize_disparity(torch.tensor([1.0, INF]).view(1, 1, 1, 2))


class TestDepthOfField:
    SHARP: ClassVar = {"focal_length_m": 0.05, "f_number": 2.0, "circle_of_confusion_m": 30e-6}

    def test_known_values(self):
        # 0.0025 / 6e-5 = 41.6667; near 83.3333 / 43.6167, far 83.3333 / 39.7167
        assert hyperfocal_distance_m(**self.SHARP) == pytest.approx(41.7166667)
        limits = depth_of_field_m(focus_distance_m=2.0, **self.SHARP)
        assert limits == pytest.approx((1.9105846, 2.0981955))

    def test_the_limits_are_blurred_by_the_circle_of_confusion(self):
        limits = _column(*depth_of_field_m(focus_distance_m=2.0, **self.SHARP))
        diameter_m = 2 * thin_lens_defocus(limits, **LENS) / LENS["pixels_per_metre"]
        torch.testing.assert_close(diameter_m, _column(30e-6, -30e-6))

    def test_from_the_hyperfocal_distance_on_far_is_infinite(self):
        hyperfocal = hyperfocal_distance_m(**self.SHARP)
        assert depth_of_field_m(focus_distance_m=hyperfocal, **self.SHARP) == (
            pytest.approx(hyperfocal / 2),
            INF,
        )
        near, far = depth_of_field_m(focus_distance_m=INF, **self.SHARP)
        assert (near, far) == (pytest.approx(hyperfocal - 0.05), INF)
        assert math.isfinite(depth_of_field_m(focus_distance_m=0.999 * hyperfocal, **self.SHARP)[1])

    def test_errors(self):
        with pytest.raises(ValueError, match="circle_of_confusion_m must be above 0, got 0"):
            hyperfocal_distance_m(focal_length_m=0.05, f_number=2.0, circle_of_confusion_m=0.0)
        with pytest.raises(ValueError, match="focus_distance_m must be above the focal length"):
            depth_of_field_m(focus_distance_m=0.01, **self.SHARP)
