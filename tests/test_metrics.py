import math

import kornia.metrics
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.evaluation import fit_gain, gain_fitted_psnr, mse, psnr, quantize, ssim


def make_pictures(batch=1, height=90, width=84, seed=0, dtype=torch.float32):
    """Pairs with flat, smooth and busy parts, black and white included, alike but not the same."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(batch, 3, height, width, generator=generator, dtype=dtype)
    ramp = torch.linspace(-0.3, 1.3, width, dtype=dtype).expand(batch, 3, height, width)
    target = torch.where(torch.arange(height)[:, None] < height // 2, ramp, 0.4 * ramp + 0.6 * noise).clamp(0, 1)
    other = torch.rand(target.shape, generator=generator, dtype=dtype)
    return (0.8 * target + 0.15 * other).clamp(0, 1), target


def to_bytes(picture):
    return (picture * 255).round().byte()


def to_floats(picture):
    return picture.float() / 255


def skimage_ssim(prediction, target, **options):
    return structural_similarity(prediction.numpy(), target.numpy(), channel_axis=0, **options)


GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}


class TestAgainstScikitImage:
    """On 8-bit pictures, in which figures are published, and on others."""

    @pytest.fixture(params=range(3))
    def pictures(self, request):
        return [to_bytes(picture) for picture in make_pictures(seed=request.param)]

    def test_psnr(self, pictures):
        ours = psnr(*map(to_floats, pictures))
        theirs = peak_signal_noise_ratio(*(picture[0].numpy() for picture in reversed(pictures)))
        assert ours.item() == pytest.approx(theirs, abs=1e-4)

    def test_ssim_uniform7_of_bytes(self, pictures):
        ours = ssim(*map(to_floats, pictures), "uniform7")
        assert ours.item() == pytest.approx(skimage_ssim(*(picture[0] for picture in pictures)), abs=1e-6)

    def test_ssim_gaussian(self, pictures):
        ours = ssim(*map(to_floats, pictures))
        theirs = skimage_ssim(*(picture[0].double() / 255 for picture in pictures), **GAUSSIAN)
        assert ours.item() == pytest.approx(theirs, abs=1e-6)

    def test_ssim_pynet(self, pictures):
        ours = ssim(*map(to_floats, pictures), "pynet")
        inner = [picture[0, :, 32:-32, 32:-32].double() / 255 for picture in pictures]
        assert ours.item() == pytest.approx(skimage_ssim(*inner, **GAUSSIAN), abs=1e-6)

    def test_uniform7_rounds_to_bytes_first(self):
        prediction, target = make_pictures(seed=7)
        ours = ssim(prediction, target, "uniform7").item()
        rounded = [(picture[0] * 255 + 0.5).byte() for picture in (prediction, target)]
        assert ours == pytest.approx(skimage_ssim(*rounded), abs=1e-6)

    def test_bands_join_without_a_seam(self, monkeypatch):
        prediction, target = make_pictures(height=200, width=40)
        monkeypatch.setattr("depthbokeh.evaluation.metrics._BAND_PIXELS", 1)
        assert ssim(prediction, target).item() == pytest.approx(
            skimage_ssim(prediction[0].double(), target[0].double(), **GAUSSIAN), abs=1e-6
        )


def test_gaussian_ssim_is_kornias():
    prediction, target = make_pictures(batch=2, dtype=torch.float64)
    theirs = kornia.metrics.ssim(prediction, target, 11, padding="valid", eps=0.0).mean((1, 2, 3))
    torch.testing.assert_close(ssim(prediction, target), theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("metric", [psnr, mse, ssim, gain_fitted_psnr])
def test_every_picture_of_a_batch_is_judged_alone(metric):
    prediction, target = make_pictures(batch=3)
    alone = torch.cat([metric(prediction[i : i + 1], target[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(metric(prediction, target), alone)
    assert alone.shape == (3,)
    assert alone.unique().numel() == 3


@pytest.mark.parametrize("protocol", ["gaussian", "uniform7", "pynet"])
def test_equal_pictures(protocol):
    _, target = make_pictures()
    assert psnr(target, target).item() == math.inf
    assert mse(target, target).item() == 0
    for picture in (target, torch.zeros_like(target), torch.ones_like(target)):
        assert ssim(picture, picture, protocol).item() == pytest.approx(1, abs=1e-7)


def test_ssim_is_symmetric_and_falls_with_noise():
    prediction, target = make_pictures()
    assert ssim(prediction, target).item() == pytest.approx(ssim(target, prediction).item(), abs=1e-7)
    nearer = 0.5 * (prediction + target)
    assert ssim(prediction, target) < ssim(nearer, target) < 1
    assert ssim(1 - target, target) < 0


def test_known_values():
    prediction, target = torch.full((1, 3, 12, 12), 0.6), torch.full((1, 3, 12, 12), 0.5)
    assert mse(prediction, target).item() == pytest.approx(0.01)
    assert psnr(prediction, target).item() == pytest.approx(20, abs=1e-5)
    flat = (2 * 0.6 * 0.5 + 1e-4) / (0.6**2 + 0.5**2 + 1e-4)
    assert ssim(prediction, target).item() == pytest.approx(flat, abs=1e-6)


class TestGain:
    def test_gain_of_every_channel_is_found(self):
        _, target = make_pictures()
        factors = torch.tensor([0.5, 0.8, 0.9]).view(1, 3, 1, 1)
        torch.testing.assert_close(fit_gain(factors * target, target), 1 / factors)
        assert gain_fitted_psnr(factors * target, target).item() > 100
        assert psnr(factors * target, target).item() < 20

    def test_gain_is_the_best(self):
        prediction, target = make_pictures(dtype=torch.float64)
        gain = fit_gain(prediction, target)
        best = mse(gain * prediction, target)
        for change in (0.99, 1.01):
            assert mse(change * gain * prediction, target) > best

    def test_is_fitted_to_display_values(self):
        _, target = make_pictures()
        darker = linear_to_srgb(0.25 * srgb_to_linear(target))
        assert gain_fitted_psnr(darker, target).item() < 50

    def test_what_the_gain_lifts_above_white_is_clipped(self):
        prediction, target = torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), 0.5)
        prediction[..., 0, 0], target[..., 0, 0] = 0.9, 1.0
        target[..., 1, 1] = 0.9
        gain = fit_gain(prediction, target)
        assert (gain * prediction).max() > 1
        by_hand = psnr((gain * prediction).clamp(0, 1), target)
        torch.testing.assert_close(gain_fitted_psnr(prediction, target), by_hand)

    def test_black_stays_black(self):
        _, target = make_pictures()
        assert fit_gain(torch.zeros_like(target), target).eq(0).all()
        torch.testing.assert_close(
            gain_fitted_psnr(torch.zeros_like(target), target), psnr(torch.zeros_like(target), target)
        )


def test_quantize_is_what_a_file_holds():
    values = torch.tensor([-1.0, 0.0, 0.49 / 255, 0.51 / 255, 0.5, 1.0, 3.0])
    assert (quantize(values) * 255).round().tolist() == [0, 0, 0, 1, 128, 255, 255]
    _, target = make_pictures()
    assert psnr(quantize(target), target).item() > 50


class TestGradients:
    @pytest.mark.parametrize("metric", [psnr, mse, ssim, gain_fitted_psnr])
    def test_gradcheck(self, metric):
        prediction, target = make_pictures(height=12, width=13, dtype=torch.float64)
        # Away from the clamp of gain_fitted_psnr.
        prediction, target = (0.1 + 0.6 * picture for picture in (prediction, target))
        assert torch.autograd.gradcheck(metric, (prediction.requires_grad_(), target.requires_grad_()))

    @pytest.mark.parametrize("protocol", ["gaussian", "pynet"])
    def test_ssim_along_a_direction(self, protocol):
        prediction, target = make_pictures(dtype=torch.float64)
        direction = torch.randn(prediction.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        (slope,) = torch.autograd.grad(ssim(prediction.requires_grad_(), target, protocol).sum(), prediction)
        step = 1e-5 * direction
        rise = ssim(prediction + step, target, protocol) - ssim(prediction - step, target, protocol)
        assert (slope * direction).sum().item() == pytest.approx(rise.item() / 2e-5, rel=1e-5)

    def test_descent_brings_the_picture_to_its_target(self):
        prediction, target = make_pictures(height=24, width=24)
        prediction.requires_grad_()
        optimizer = torch.optim.Adam([prediction], lr=0.02)
        for _ in range(60):
            optimizer.zero_grad()
            (1 - ssim(prediction, target)).sum().backward()
            optimizer.step()
        assert ssim(prediction, target).item() > 0.97


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats(dtype):
    prediction, target = (picture.to(dtype) for picture in make_pictures(height=20, width=20))
    for metric in (psnr, mse, ssim):
        value = metric(prediction, target)
        assert value.dtype == torch.promote_types(dtype, torch.float32)
        torch.testing.assert_close(value, metric(prediction.double(), target.double()).to(value.dtype))


class TestBadInput:
    @pytest.mark.parametrize(
        ("protocol", "least"), [("gaussian", 11), ("uniform7", 7), ("pynet", 75)], ids=lambda value: str(value)
    )
    def test_smaller_than_the_window(self, protocol, least):
        fits = torch.rand(1, 3, least, least)
        assert ssim(fits, fits, protocol).item() == pytest.approx(1)
        for size in ((least - 1, 80), (80, least - 1)):
            small = torch.rand(1, 3, *size)
            with pytest.raises(ValueError, match=rf"{size[1]} x {size[0]} pixels: expected at least {least} x {least}"):
                ssim(small, small, protocol)

    @pytest.mark.parametrize("metric", [psnr, mse, ssim, gain_fitted_psnr, fit_gain])
    def test_shapes_and_types(self, metric):
        good = torch.rand(1, 3, 12, 12)
        with pytest.raises(ValueError, match=r"target has shape \(3, 12, 12\): expected \(B, 3, H, W\)"):
            metric(good, good[0])
        with pytest.raises(ValueError, match=r"prediction has shape \(1, 1, 12, 12\)"):
            metric(good[:, :1], good)
        with pytest.raises(ValueError, match=r"expected the target's, \(1, 3, 12, 12\)"):
            metric(torch.rand(1, 3, 12, 13), good)
        with pytest.raises(ValueError, match=r"prediction is torch.uint8: expected floating-point"):
            metric(good.byte(), good)

    def test_protocol(self):
        with pytest.raises(ValueError, match="one of gaussian, uniform7, pynet, got 'ms'"):
            ssim(torch.rand(1, 3, 12, 12), torch.rand(1, 3, 12, 12), "ms")


def test_difference_of_the_protocols_is_why_they_have_names():
    prediction, target = make_pictures(seed=3)
    values = [ssim(prediction, target, protocol).item() for protocol in ("gaussian", "uniform7", "pynet")]
    assert np.ptp(values) > 0.01
