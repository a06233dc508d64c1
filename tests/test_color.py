from __future__ import annotations

import math

import pytest
import torch

from depthbokeh.color import decode, encode, linear_to_srgb, luminance, recover_highlights, srgb_to_linear

CURVES = [srgb_to_linear, linear_to_srgb]


class TestSrgb:
    def test_known_values(self):
        # 0.04045 / 12.92, (0.555 / 1.055)^2.4 and its continuation (2.055 / 1.055)^2.4
        srgb = torch.tensor([0.0, 0.04045, 0.5, 1.0, 2.0], dtype=torch.float64)
        linear = torch.tensor([0.0, 0.00313080495, 0.21404114048, 1.0, 4.95384575159], dtype=torch.float64)
        torch.testing.assert_close(srgb_to_linear(srgb), linear, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(srgb_to_linear(-srgb), -linear, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(linear_to_srgb(linear), srgb, rtol=1e-8, atol=1e-12)

    @pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
    def test_inverse_to_rounding_even_at_the_split(self, dtype, rtol):
        wide = torch.linspace(-3, 3, 1001, dtype=dtype)
        split = torch.linspace(0.04045 - 2e-7, 0.04045 + 2e-7, 1001, dtype=dtype)
        for srgb in (wide, split, -split):
            torch.testing.assert_close(linear_to_srgb(srgb_to_linear(srgb)), srgb, rtol=rtol, atol=0)

    def test_every_8_bit_level_survives_half_precision(self):
        levels = torch.arange(256) / 255
        linear = srgb_to_linear(levels.half())
        assert linear.dtype == torch.float16
        assert torch.equal((linear_to_srgb(linear).float() * 255).round(), torch.arange(256.0))

    @pytest.mark.parametrize("curve", CURVES)
    def test_half_precision_is_rounded_once(self, curve):
        x = torch.linspace(-1, 2, 97, dtype=torch.bfloat16)
        assert torch.equal(curve(x), curve(x.float()).bfloat16())

    @pytest.mark.parametrize("curve", CURVES)
    def test_gradients(self, curve):
        x = torch.tensor([-1.5, -0.2, -1e-3, 0.0, 1e-3, 0.02, 0.5, 1.0, 4.0], dtype=torch.float64)
        assert torch.autograd.gradcheck(curve, x.requires_grad_())
        assert torch.autograd.gradgradcheck(curve, x)
        slope = torch.autograd.grad(curve(x).sum(), x)[0][3]
        assert slope == pytest.approx(1 / 12.92 if curve is srgb_to_linear else 12.92)


class TestGamma:
    @pytest.mark.parametrize("gamma", ["srgb", "linear", 2.2, 4, 1, 0.5])
    def test_round_trip(self, gamma):
        x = torch.linspace(-1, 2, 31, dtype=torch.float64)
        torch.testing.assert_close(encode(decode(x, gamma), gamma), x)

    def test_known_values(self):
        x = torch.tensor([0.5, -0.5])
        assert torch.equal(decode(x, 4), torch.tensor([0.0625, -0.0625]))
        assert torch.equal(encode(x, 0.5), torch.tensor([0.25, -0.25]))
        assert torch.equal(decode(x, "linear"), x)
        assert torch.equal(decode(x, "srgb"), srgb_to_linear(x))
        assert torch.equal(encode(x, "srgb"), linear_to_srgb(x))

    @pytest.mark.parametrize("gamma", [4.0, 1.0, 0.25])
    @pytest.mark.parametrize("curve", [decode, encode])
    def test_gradients_at_black_are_finite(self, curve, gamma):
        x = torch.tensor([0.0, 1e-45, 1e-38, -0.5], requires_grad=True)
        curve(x, gamma).sum().backward()
        assert x.grad.isfinite().all()
        exponent = gamma if curve is decode else 1 / gamma
        assert x.grad[3].item() == pytest.approx(exponent * 0.5 ** (exponent - 1))
        assert x.grad[0] == (1 if gamma == 1 else 0)

    @pytest.mark.parametrize("gamma", ["sRGB", 0, -2.2, math.nan, math.inf, None])
    @pytest.mark.parametrize("curve", [decode, encode])
    def test_errors(self, curve, gamma):
        with pytest.raises(ValueError, match=f"gamma must be .* got {gamma!r}"):
            curve(torch.ones(1), gamma)

    @pytest.mark.parametrize("gamma", ["srgb", "linear", 2.2])
    def test_integer_images_are_refused(self, gamma):
        with pytest.raises(ValueError, match=r"x must be .* torch.uint8"):
            decode(torch.ones(1, dtype=torch.uint8), gamma)


def test_luminance():
    primaries = torch.eye(3, dtype=torch.float64).view(3, 3, 1, 1)
    expected = torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64).view(3, 1, 1, 1)
    torch.testing.assert_close(luminance(primaries), expected)
    with pytest.raises(ValueError, match=r"linear must have shape .* got \(1, 1, 2, 2\)"):
        luminance(torch.ones(1, 1, 2, 2))


class TestHighlights:
    @staticmethod
    def _greys(values: torch.Tensor, **options) -> torch.Tensor:
        return recover_highlights(values.view(1, 1, 1, -1), **options).flatten()

    def test_known_values(self):
        # Half way the smoothstep is 1/2, a quarter of the way 5/32, a third 7/27; 27 = 9 ** 1.5 ends the fall.
        values = torch.tensor([0.25, 0.5, 0.625, 0.75, 1.0, 3.0, 27.0, 40.0])
        expected = torch.tensor([0.25, 0.5, 0.625 * (1 + 8 * 5 / 32), 0.75 * 5, 9.0, 3 * 9 ** (20 / 27), 27.0, 40.0])
        torch.testing.assert_close(self._greys(values, gain=9.0, threshold=0.5), expected)

    def test_the_default_threshold_leaves_all_but_the_top_levels(self):
        levels = srgb_to_linear(torch.arange(256) / 255)
        raised = self._greys(levels, gain=20.0) > levels
        assert raised.nonzero().min() == 244
        assert self._greys(levels, gain=20.0)[255].item() == pytest.approx(20.0)

    def test_unit_gain_is_the_identity(self):
        image = torch.linspace(0, 2, 48).view(1, 3, 4, 4)
        assert torch.equal(recover_highlights(image, gain=1.0), image)

    def test_hue_is_kept_and_the_brightest_channel_decides(self):
        image = torch.tensor([1.0, 0.5, 0.125], dtype=torch.float64).view(1, 3, 1, 1)
        assert torch.equal(recover_highlights(image, gain=6.0), 6 * image)

    def test_monotone_and_without_kinks(self):
        values = torch.linspace(0.8, 1.1, 3001, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(self._greys(values, gain=10.0).sum(), values)
        assert (slope > 0).all()
        # The curvature is about 6 (gain - 1) / 0.1^2 = 5400, 0.54 per step; a linear ramp would jump by 90.
        assert slope.diff().abs().max() < 0.8

    @pytest.mark.parametrize("gain", [1.0, 1.5, 4.0, 30.0])
    def test_brighter_stays_brighter_beyond_white(self, gain):
        raised = self._greys(torch.linspace(0.8, 200, 100_000, dtype=torch.float64), gain=gain)
        assert raised.diff().min() > -1e-12

    def test_gradients(self):
        image = torch.tensor([0.2, 0.93, 0.97, 0.95, 0.4, 1.3], dtype=torch.float64).view(1, 3, 1, 2)
        gain = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
        check = torch.autograd.gradcheck
        assert check(lambda x, g: recover_highlights(x, gain=g), (image.requires_grad_(), gain))

    @pytest.mark.parametrize(
        ("name", "value"), [("gain", 0.9), ("gain", math.nan), ("threshold", 1.0), ("threshold", -0.1)]
    )
    def test_errors(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must be .* got {value}"):
            recover_highlights(torch.ones(1, 3, 2, 2), **{"gain": 2.0, name: value})
        with pytest.raises(ValueError, match=r"linear must have shape .* got \(3, 2, 2\)"):
            recover_highlights(torch.ones(3, 2, 2), gain=2.0)


@pytest.mark.parametrize("curve", [srgb_to_linear, linear_to_srgb])
def test_the_input_is_left_alone(curve):
    image = torch.linspace(-1.5, 1.5, 50)
    before = image.clone()
    curve(image)
    assert torch.equal(image, before)
