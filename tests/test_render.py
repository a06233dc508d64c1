import math

import pytest
import torch

from depthbokeh import BokehRenderer, find_focus, fuse_defocus, render_defocus
from depthbokeh.color import linear_to_srgb
from depthbokeh.pipeline import BokehPipeline


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def half_and_half(height=48, width=64):
    """A white subject on the left of a black background, its mask."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., : width // 2] = 1
    return mask.expand(1, 3, -1, -1).clone(), mask


class TestFocus:
    def test_value_is_taken_as_it_is(self):
        assert float(find_focus(rand(1, 1, 4, 4), focus=0.25)) == 0.25

    def test_point_is_looked_up_in_x_y_order(self):
        disparity = torch.zeros(1, 1, 4, 6)
        disparity[0, 0, 1, 5] = 0.7
        assert float(find_focus(disparity, focus=(5, 1))) == pytest.approx(0.7)

    def test_point_beyond_the_picture_is_refused(self):
        with pytest.raises(ValueError, match=r"focus must lie within the picture of 6 x 4 pixels, got \(6, 1\)"):
            find_focus(rand(1, 1, 4, 6), focus=(6, 1))

    def test_mask_decides_where_no_focus_is_given(self):
        disparity = torch.tensor([[[[0.1, 0.1, 0.7, 0.8, 0.9]]]])
        mask = torch.tensor([[[[0.0, 0.0, 1.0, 1.0, 1.0]]]])
        assert float(find_focus(disparity, mask)) == pytest.approx(0.8, abs=1e-4)

    def test_near_and_sharp_beats_near_and_smooth(self):
        disparity = torch.full((1, 1, 20, 30), 0.1)
        disparity[..., 10:20] = 0.5
        disparity[..., 20:] = 0.9
        image = torch.full((1, 3, 20, 30), 0.5)
        image[..., 11:19] = rand(1, 3, 20, 8)  # only the middle third has detail
        assert float(find_focus(disparity, image=image)) == pytest.approx(0.5)

    def test_subject_in_the_middle_beats_a_background_of_stronger_texture(self):
        disparity = torch.full((1, 1, 60, 90), 0.1)
        disparity[..., 15:50, 30:60] = 0.7
        image = rand(1, 3, 60, 90)
        image[..., 15:50, 30:60] = 0.5 + 0.1 * image[..., 15:50, 30:60]
        assert float(find_focus(disparity, image=image)) == pytest.approx(0.7)


class TestDefocus:
    def test_sign_is_positive_in_front(self):
        disparity = torch.tensor([[[[0.2, 0.5, 0.9]]]])
        defocus = fuse_defocus(disparity, focus=0.5, strength=10.0)
        assert defocus.flatten().tolist() == pytest.approx([-3.0, 0.0, 4.0])

    def test_subject_is_one_plane_and_in_focus(self):
        disparity, mask = rand(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
        mask[..., :4] = 1
        defocus = fuse_defocus(disparity, mask, strength=10.0)
        assert defocus[..., :4].abs().max() < 1e-3
        assert defocus[..., 4:].abs().max() > 1

    def test_gradients_reach_everything(self):
        leaves = [rand(1, 1, 6, 6, seed=i, dtype=torch.float64).requires_grad_() for i in (1, 2)]
        strength = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
        focus = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

        def run(disparity, mask, strength, focus):
            return fuse_defocus(disparity, mask, strength=strength, focus=focus)

        assert torch.autograd.gradcheck(run, (*leaves, strength, focus))

    @pytest.mark.parametrize(
        ("disparity", "mask", "message"),
        [
            (None, None, "disparity or mask must be given"),
            (torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 5), "mask must have the disparity's shape"),
        ],
    )
    def test_bad_input_is_named(self, disparity, mask, message):
        with pytest.raises(ValueError, match=message):
            fuse_defocus(disparity, mask, strength=1.0)


class TestRender:
    def test_nothing_changes_in_focus(self):
        image = rand(2, 3, 20, 30)
        assert torch.allclose(render_defocus(image, torch.zeros(2, 1, 20, 30)), image, atol=1e-6)

    @pytest.mark.parametrize("defocus", [-7.0, 7.0])
    @pytest.mark.parametrize("aperture", ["disk", "polygon:6", "gaussian", "ring:0.5"])
    def test_uniform_light_stays_uniform_up_to_the_border(self, defocus, aperture):
        image = torch.full((1, 3, 40, 50), 0.3)
        blurred = render_defocus(image, torch.full((1, 1, 40, 50), defocus), aperture)
        assert torch.allclose(blurred, image, atol=1e-4)

    def test_background_does_not_leak_over_the_sharp_subject(self):
        image, mask = half_and_half()
        image, mask = 1 - image, mask  # black subject on a white background
        blurred = BokehRenderer()(image, None, mask, strength=9.0)
        assert blurred[..., : 64 // 2].max() < 0.02

    def test_subject_leaves_no_halo_in_the_background(self):
        image, mask = half_and_half()
        blurred = BokehRenderer()(image, None, mask, strength=9.0)
        assert blurred[..., 64 // 2 :].max() < 0.02

    def test_blurred_foreground_spreads_over_the_sharp_background(self):
        image, near = half_and_half()
        blurred = render_defocus(image, 8 * near)
        assert blurred[0, 0, 24, 34] > 0.3
        assert blurred[0, 0, 24, 45] < 0.02

    def test_blur_is_done_in_linear_light(self):
        image = torch.zeros(1, 3, 41, 41)
        image[..., 20, 20] = 1
        blurred = render_defocus(image, torch.full((1, 1, 41, 41), -5.0))
        expected = float(linear_to_srgb(torch.tensor(1 / (math.pi * 25))))
        assert float(blurred[0, 0, 20, 20]) == pytest.approx(expected, rel=0.01)

    def test_highlights_make_clipped_lights_into_bright_disks(self):
        image = torch.full((1, 3, 41, 41), 0.1)
        image[..., 20, 20] = 1
        defocus = torch.full((1, 1, 41, 41), -5.0)
        plain, bright = (render_defocus(image, defocus, highlights=gain) for gain in (None, 20.0))
        assert bright[0, 0, 20, 20] > 1.5 * plain[0, 0, 20, 20]

    @pytest.mark.parametrize("aperture", ["disk", "gaussian", "ellipse:0.5"])
    def test_bands_give_the_same_picture(self, aperture, monkeypatch):
        image, defocus = rand(2, 3, 90, 40), 16 * rand(2, 1, 90, 40, seed=1) - 8
        whole = render_defocus(image, defocus, aperture, highlights=3.0)
        monkeypatch.setattr("depthbokeh.render._BAND_PIXELS", 20 * 80)
        with torch.no_grad():
            in_bands = render_defocus(image, defocus, aperture, highlights=3.0)
        assert torch.allclose(whole, in_bands, atol=2e-5)

    def test_gradcheck_to_image_and_defocus(self):
        image = 0.2 + 0.6 * rand(1, 3, 7, 8, dtype=torch.float64)
        defocus = 6 * rand(1, 1, 7, 8, seed=3, dtype=torch.float64) - 3
        run = lambda x, d: render_defocus(x, d, gamma=2.2)  # noqa: E731
        assert torch.autograd.gradcheck(run, (image.requires_grad_(), defocus.requires_grad_()))

    def test_gradients_are_finite_everywhere(self):
        image, mask = rand(1, 3, 48, 64).requires_grad_(), half_and_half()[1].requires_grad_()
        strength = torch.tensor(6.0, requires_grad=True)
        BokehRenderer(highlights=4.0)(image, None, mask, strength=strength).square().sum().backward()
        for leaf in (image, mask, strength):
            assert leaf.grad.isfinite().all()
            assert leaf.grad.abs().sum() > 0

    @pytest.mark.parametrize(
        ("image", "defocus", "message"),
        [
            (torch.rand(1, 4, 5, 5), torch.rand(1, 1, 5, 5), r"image must be \(B, 3, H, W\)"),
            (torch.rand(1, 3, 5, 5), torch.rand(1, 1, 5, 6), "defocus must be"),
        ],
    )
    def test_bad_input_is_named(self, image, defocus, message):
        with pytest.raises(ValueError, match=message):
            render_defocus(image, defocus)


class TestPipeline:
    def test_models_supply_what_is_missing(self):
        rendering = BokehPipeline()(rand(1, 3, 48, 64), strength=3.0)
        assert rendering.mask is not None
        assert rendering.disparity is not None
        assert rendering.bokeh.shape == (1, 3, 48, 64)

    def test_the_depth_model_is_told_of_a_mask_that_is_given(self):
        class Told(torch.nn.Module):
            def forward(self, photo, mask):
                return mask / 2

        mask = half_and_half()[1]
        rendering = BokehPipeline(mask_model=None, depth_model=Told())(rand(1, 3, 48, 64), mask=mask, strength=3.0)
        assert rendering.mask is mask
        assert torch.equal(rendering.disparity, mask / 2)
