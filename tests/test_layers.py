"""From mask and disparity to layers: where each surface ends, what is in focus, what lies in front."""

import math

import pytest
import torch
import torch.nn.functional as F

from depthbokeh import DefocusLayers, find_focus, fuse_layers
from depthbokeh.layers import iterate_slices, part_subject


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slope(height, width):
    """Disparity of a plane: it has no edges that would be sharpened."""
    return (torch.linspace(0, 0.7, width) + torch.linspace(0, 0.3, height)[:, None]).expand(1, 1, -1, -1)


def box_mask(height=64, width=96):
    """A subject that fills the middle third."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., height // 4 :, width // 3 : 2 * width // 3] = 1
    return mask


def blur(values, reach):
    return F.avg_pool2d(F.pad(values, (reach,) * 4, mode="replicate"), 2 * reach + 1, 1)


STEP = 0.2 + 0.6 * box_mask()


class TestFindFocus:
    @pytest.fixture
    def disparity(self):
        values = torch.full((2, 1, 20, 30), 0.2)
        values[0, :, 4:10, 6:16] = 0.8
        values[1, :, 4:10, 6:16] = 0.5
        return values

    def test_box_is_the_median_of_what_it_holds(self, disparity):
        disparity[:, :, 5, 7] = 100.0  # one wrong pixel
        found = find_focus(disparity, focus=(5, 3, 11, 7))
        assert found.shape == (2, 1, 1, 1)
        assert found.flatten().tolist() == pytest.approx([0.8, 0.5])

    def test_box_is_x_y_width_height(self, disparity):
        assert find_focus(disparity, focus=(16, 4, 10, 6)).flatten().tolist() == pytest.approx([0.2, 0.2])
        assert find_focus(disparity, focus=(6, 4, 10, 6)).flatten().tolist() == pytest.approx([0.8, 0.5])

    def test_box_is_cut_at_the_frame(self, disparity):
        assert float(find_focus(disparity, focus=(-5, -5, 100, 100))[0]) == pytest.approx(0.2)

    @pytest.mark.parametrize("box", [(30, 0, 5, 5), (2, 2, 0, 5), (2, 2, 5, -1), (1, 2, 3)])
    def test_bad_box_is_named(self, disparity, box):
        with pytest.raises(ValueError, match="focus must be"):
            find_focus(disparity, focus=box)

    def test_mask_to_focus_on_goes_before_the_subject(self, disparity):
        there, subject = torch.zeros_like(disparity), torch.zeros_like(disparity)
        there[..., 4:10, 6:16] = 1
        subject[..., 12:, :] = 1
        assert find_focus(disparity, subject, focus=there).flatten().tolist() == pytest.approx([0.8, 0.5], abs=1e-3)

    def test_empty_mask_focuses_on_most_of_the_picture(self, disparity):
        found = find_focus(disparity, torch.zeros_like(disparity))
        assert found.flatten().tolist() == pytest.approx([0.2, 0.2], abs=1e-3)

    @pytest.mark.parametrize("size", [(20, 30), (300, 450)])  # all pixels are tried, or every second one
    def test_what_a_mask_takes_along_has_no_say(self, size):
        # 60 % trunk, 40 % leaves far behind it: the mean, 0.56, would leave both out of focus.
        disparity = 0.8 + 0.02 * rand(1, 1, *size)
        disparity[..., : size[1] * 2 // 5] -= 0.6
        found = find_focus(disparity, torch.ones_like(disparity))
        assert float(found) == pytest.approx(0.81, abs=0.003)

    @pytest.mark.parametrize("at", [(100, 100), (101, 102), (103, 201), (102, 103)])
    @pytest.mark.parametrize("subject", [(1, 1), (3, 3), (250, 2), (2, 250)])
    def test_a_narrow_subject_in_a_large_picture_is_found(self, subject, at):
        disparity = 0.1 + 0.4 * torch.linspace(0, 1, 600).expand(1, 1, 400, 600).clone()
        mask = torch.zeros_like(disparity)
        there = (..., slice(at[0], at[0] + subject[0]), slice(at[1], at[1] + subject[1]))
        disparity[there], mask[there] = 0.9, 1
        # The least weight of all others together is a quarter of a pixel.
        assert float(find_focus(disparity, mask)) == pytest.approx(0.9, abs=0.02)

    @pytest.mark.parametrize("shape", [(0, 1, 4, 5), (1, 1, 1, 70_000), (1, 1, 70_000, 1)])
    def test_no_picture_and_long_ones(self, shape):
        disparity = torch.full(shape, 0.3)
        found = find_focus(disparity, torch.ones_like(disparity))
        assert found.shape == (shape[0], 1, 1, 1)
        assert torch.allclose(found, torch.tensor(0.3))

    def test_focus_on_a_mask_goes_with_the_unit_of_disparity(self):
        disparity, mask = rand(1, 1, 12, 13).square(), rand(1, 1, 12, 13, seed=1)
        found = find_focus(disparity, mask)
        assert float(find_focus(40 * disparity - 3, mask)) == pytest.approx(40 * float(found) - 3, abs=1e-3)

    def test_subject_without_depth_is_in_focus_with_finite_gradients(self, disparity):
        mask = (disparity > 0.4).float().requires_grad_()
        found = find_focus(disparity.requires_grad_(), mask)
        assert found.flatten().tolist() == pytest.approx([0.8, 0.5], abs=1e-3)
        assert all(bool(grad.isfinite().all()) for grad in torch.autograd.grad(found.sum(), (disparity, mask)))

    def test_half_precision_does_not_overflow(self):
        disparity, mask = torch.full((1, 1, 300, 400), 0.75, dtype=torch.float16), torch.ones(1, 1, 300, 400).half()
        found = find_focus(disparity, mask)
        assert float(found) == pytest.approx(0.75, abs=1e-3)
        assert found.dtype == torch.float16

    @pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 1, 1, 1), (1, 1, 1, 1)])
    def test_tensor_is_taken_as_it_is(self, disparity, shape):
        focus = rand(*shape)
        found = find_focus(disparity, focus=focus)
        assert torch.equal(found, focus.reshape(-1, 1, 1, 1).expand(2, 1, 1, 1))

    def test_centre_where_nothing_says_more(self, disparity):
        disparity[:, :, 10, 15] = 0.65
        assert find_focus(disparity).flatten().tolist() == pytest.approx([0.65, 0.65])

    def test_differentiable_in_disparity_and_mask(self):
        leaves = [rand(2, 1, 5, 6, seed=i, dtype=torch.float64).requires_grad_() for i in range(2)]
        assert torch.autograd.gradcheck(find_focus, leaves)


class TestPartSubject:
    @pytest.mark.parametrize("reach", [1, 3, 4])
    def test_edge_is_that_of_the_mask(self, reach):
        mask, coarse = box_mask(), blur(STEP, reach)
        subject, rest = part_subject(coarse, mask)
        for side, parted, true in ((mask, subject, 0.8), (1 - mask, rest, 0.2)):
            before, after = (coarse - true).abs()[side == 1], (parted - true).abs()[side == 1]
            # A ramp on its own side is told from a slope no further than to a third of the contrast.
            assert after.max() < 0.2
            assert after.sum() < 0.9 * before.sum()
        # On the wrong side of the edge, disparity is replaced.
        assert (subject - 0.8)[mask == 0].abs().mean() < 0.1
        assert (coarse - 0.8)[mask == 0].abs().mean() > 0.5

    def test_shifted_disparity_is_put_right(self):
        mask, coarse = box_mask(), STEP.roll(3, 3)
        subject, rest = part_subject(coarse, mask)
        for side, parted, true in ((mask, subject, 0.8), (1 - mask, rest, 0.2)):
            before, after = (coarse - true).abs()[side == 1], (parted - true).abs()[side == 1]
            assert before.max() > 0.59
            assert after.max() < 0.2
            assert after.sum() < 0.3 * before.sum()

    def test_each_goes_on_beneath_the_other(self):
        mask = box_mask()
        subject, rest = part_subject(blur(STEP, 3), mask)
        around = F.max_pool2d(mask, 9, 1, 4) - mask  # 4 px outside
        within = mask + F.max_pool2d(-mask, 9, 1, 4)
        assert (subject - 0.8)[around > 0].abs().max() < 0.15
        assert (rest - 0.2)[within > 0].abs().max() < 0.15

    def test_far_from_the_edge_all_stays(self):
        mask = box_mask()
        relief = 0.05 * blur(rand(1, 1, 64, 96), 2)
        disparity = 0.2 + 0.6 * mask + relief
        subject, rest = part_subject(disparity, mask)
        deep = F.max_pool2d(-mask, 17, 1, 8) == -1
        away = F.max_pool2d(mask, 17, 1, 8) == 0
        assert torch.allclose(subject[deep], disparity[deep], atol=1e-6)
        assert torch.allclose(rest[away], disparity[away], atol=1e-6)

    @pytest.mark.parametrize("strip", [0.5, 0.1])
    @pytest.mark.parametrize("soften", [0, 2])
    def test_subject_as_near_as_what_is_around_it_stays_there(self, strip, soften):
        """Disparity that does not know the subject is no reason to take it for unknown and put it at 0."""
        disparity, mask = torch.full((1, 1, 64, 96), 0.5), blur(box_mask(), soften)
        disparity[..., :4] = strip
        subject, rest = part_subject(disparity, mask)
        assert (subject - 0.5).abs()[mask > 0].max() < 1e-5
        assert (rest - disparity).abs()[mask == 0].max() < 1e-2

    def test_occluder_outside_the_mask_stays_in_front(self):
        mask, disparity = box_mask(), 0.2 + 0.4 * box_mask()
        mask[..., 48:, :] = 0  # the lower part is hidden by something nearer, up to the subject's edge
        disparity[..., 48:, :] = 0.95
        _, rest = part_subject(disparity, mask)
        assert (rest - 0.95)[..., 48:, :].abs().max() < 0.02


class TestFuseLayers:
    def test_shapes(self):
        disparity, mask, image = rand(2, 1, 24, 32), (rand(2, 1, 24, 32, seed=1) > 0.5).float(), rand(2, 3, 24, 32)
        surfaces = fuse_layers(disparity, mask, strength=4.0, layers=None)
        assert surfaces.alpha.shape == surfaces.defocus.shape == (2, 2, 1, 24, 32)
        assert surfaces.color is None
        sliced = fuse_layers(disparity, mask, strength=4.0, image=image, layers=5)
        assert len(sliced) == 5
        assert sliced.color.shape == (2, 5, 3, 24, 32)
        assert len(fuse_layers(disparity, strength=4.0)) == 8

    def test_disparity_alone_is_one_surface(self):
        disparity = slope(24, 32)
        surfaces = fuse_layers(disparity, focus=0.25, strength=8.0, layers=None)
        assert (surfaces.alpha[:, 1] == 1).all()
        assert (surfaces.alpha[:, 0] == 0).all()
        assert torch.allclose(surfaces.defocus[:, 1], 8 * (disparity - 0.25))

    def test_mask_alone_is_two_planes(self):
        mask = 0.25 * torch.round(4 * rand(1, 1, 16, 16))
        surfaces = fuse_layers(None, mask, strength=6.0, layers=None)
        assert torch.equal(surfaces.alpha[:, 1], mask)
        assert torch.equal(surfaces.alpha[:, 0], 1 - mask)
        assert (surfaces.defocus[:, 1] == 0).all()
        assert (surfaces.defocus[:, 0] == -6).all()

    def test_mask_and_coarse_disparity_end_where_the_mask_does(self):
        mask = box_mask()
        coarse = blur(0.2 + 0.6 * mask, 3)
        surfaces = fuse_layers(coarse, mask, focus=0.8, strength=10.0, layers=None)
        assert torch.equal(surfaces.alpha[:, 1], mask)
        near, far = surfaces.defocus[:, 1], surfaces.defocus[:, 0]
        # Coarse disparity alone is off by half the contrast, 3 px, along the edge.
        assert near[mask == 1].abs().max() < 2
        assert (far[mask == 0] + 6).abs().max() < 2

    def test_edges_far_from_the_mask_do_not_take_the_subjects_place(self):
        # A slight edge in the background, which counts in part, and a subject at the left.
        disparity = torch.full((1, 1, 32, 64), 0.1)
        disparity[..., 40:] = 0.2
        disparity[..., :12] = mask_at = 1.0
        mask = (disparity == mask_at).float()
        layers = fuse_layers(disparity, mask, focus=1.0, strength=7.5, image=rand(1, 3, 32, 64), layers=None)
        background = layers.defocus[0, :, 0, :, 30:]
        partly = (layers.alpha[0, 1, 0, :, 30:] > 1e-3) & (layers.alpha[0, 1, 0, :, 30:] < 1)
        assert partly.any()
        assert background[1][partly].max() < -5.9

    def test_mask_a_rounding_above_one_is_one(self):
        mask, image = box_mask(), rand(1, 3, 64, 96)
        above = torch.where(mask > 0, 1 + torch.finfo(mask.dtype).eps, mask)
        layers, expected = (
            fuse_layers(STEP, values, strength=5.0, image=image, layers=None) for values in (above, mask)
        )
        assert torch.allclose(layers.defocus, expected.defocus, atol=1e-4)
        assert torch.allclose(layers.alpha, expected.alpha, atol=1e-4)

    def test_mask_behind_what_is_around_it(self):
        mask = box_mask()
        surfaces = fuse_layers(0.8 - 0.6 * mask, mask, strength=10.0, layers=None)
        # The subject is seen through a hole in the nearer rest.
        assert torch.equal(surfaces.alpha[:, 1], 1 - mask)
        assert surfaces.defocus[:, 0][mask == 1].abs().max() < 1e-2
        assert (surfaces.defocus[:, 1][mask == 0] - 6).abs().max() < 1e-2

    def test_what_is_in_front_of_the_subject_stays_there(self):
        mask, disparity = box_mask(), 0.2 + 0.4 * box_mask()
        mask[..., 48:, :] = 0
        disparity[..., 48:, :] = 0.95
        surfaces = fuse_layers(disparity, mask, focus=0.6, strength=10.0, layers=None)
        front = surfaces.alpha[:, 1] * surfaces.defocus[:, 1]
        assert (front[..., 48:, 32:64] - 3.5).abs().max() < 0.3
        assert front[..., 20:44, 36:60].abs().max() < 0.1

    @pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64], ids=str)
    @pytest.mark.parametrize("which", range(3))
    def test_maps_of_another_dtype(self, which, kind):
        given = [0.2 + 0.6 * box_mask(), box_mask(), rand(1, 3, 64, 96)]
        given[which] = given[which].to(kind)
        disparity, mask, image = given
        surfaces = fuse_layers(disparity, mask, strength=4.0, image=image, layers=None)
        wide = torch.promote_types(kind, torch.float32)
        assert surfaces.alpha.dtype == surfaces.defocus.dtype == surfaces.color.dtype == wide
        expected = fuse_layers(*(v.float() for v in given[:2]), strength=4.0, image=image.float(), layers=None)
        assert torch.allclose(surfaces.defocus.float(), expected.defocus, atol=0.02)

    def test_mixed_pixels_are_taken_apart_where_there_is_an_image(self):
        alpha = F.avg_pool2d(box_mask(256, 384).roll(2, 3), 4)
        assert ((alpha > 0) & (alpha < 1)).any()
        image = alpha * torch.tensor([0.9, 0.2, 0.1]).view(1, 3, 1, 1) + (1 - alpha) * 0.3
        surfaces = fuse_layers(None, alpha, strength=9.0, image=image, gamma="linear", layers=None)
        edge = (alpha > 0) & (alpha < 1)
        assert (surfaces.alpha[:, 1] - alpha).abs().max() < 1e-5
        assert (surfaces.alpha[:, 0][edge] == 1).all()  # the far surface goes on behind the near one
        assert (surfaces.color[:, 0] - 0.3).abs()[edge.expand(-1, 3, -1, -1)].mean() < 0.03

    @pytest.mark.parametrize(
        ("focus", "expected"),
        [
            (0.5, 0.5),
            (torch.tensor(0.3), 0.3),
            (torch.full((1, 1, 1, 1), 0.7), 0.7),
            ((48, 40), 0.8),
            ((2, 2), 0.2),
            ((0, 0, 20, 20), 0.2),
            ((34, 20, 20, 30), 0.8),
            (1 - box_mask(), 0.2),
            (None, 0.8),
        ],
    )
    def test_focus(self, focus, expected):
        mask = box_mask()
        surfaces = fuse_layers(0.2 + 0.6 * mask, mask, focus=focus, strength=10.0, layers=None)
        assert surfaces.defocus[0, 1, 0, 40, 48] == pytest.approx(10 * (0.8 - expected), abs=1e-2)
        assert surfaces.defocus[0, 0, 0, 2, 2] == pytest.approx(10 * (0.2 - expected), abs=1e-2)

    def test_slab_is_in_focus_as_a_whole(self):
        disparity = torch.linspace(0, 1, 32).expand(1, 1, 16, 32)
        defocus = fuse_layers(disparity, focus=0.5, strength=10.0, slab=0.2, layers=None).defocus[0, 1, 0, 0]
        offset = disparity[0, 0, 0] - 0.5
        assert (defocus[offset.abs() <= 0.2] == 0).all()
        beyond = offset.abs() > 0.2
        assert torch.allclose(defocus[beyond], 10 * (offset - 0.2 * offset.sign())[beyond], atol=1e-5)

    def test_strength_of_each_picture(self):
        disparity = slope(8, 8).expand(2, -1, -1, -1)
        surfaces = fuse_layers(disparity, focus=0.0, strength=torch.tensor([1.0, 3.0]).view(2, 1, 1, 1), layers=None)
        assert torch.allclose(surfaces.defocus[1], 3 * surfaces.defocus[0])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"disparity": None}, "disparity or mask must be given"),
            ({"disparity": torch.rand(1, 4, 4)}, r"disparity must be \(B, 1, H, W\)"),
            ({"disparity": torch.rand(1, 3, 4, 4)}, r"disparity must be \(B, 1, H, W\)"),
            ({"disparity": torch.zeros(1, 1, 4, 4, dtype=torch.int64)}, "disparity must be .* floating point"),
            ({"disparity": None, "mask": torch.zeros(1, 1, 4, 4, dtype=torch.bool)}, "mask must be .* floating point"),
            ({"mask": torch.rand(1, 1, 4, 5)}, "mask must have the disparity's shape"),
            ({"image": torch.rand(1, 3, 5, 4)}, r"image must be \(1, 3, 4, 4\)"),
            ({"image": torch.rand(1, 1, 4, 4)}, r"image must be \(1, 3, 4, 4\)"),
            ({"slab": -0.1}, "slab must be finite and not negative, got -0.1"),
            ({"slab": math.inf}, "slab must be finite and not negative, got inf"),
            ({"strength": torch.ones(3)}, r"strength must be a number or one for each of 1 pictures, got \(3,\)"),
            ({"focus": torch.ones(1, 1, 2, 2)}, r"focus must be a number or one for each of 1 pictures"),
            ({"slab": torch.zeros(1, 1, 4, 4)}, r"slab must be a number or one for each of 1 pictures"),
            ({"layers": 0}, "count must be at least 1, got 0"),
            ({"focus": (9, 9)}, "focus must lie within the picture"),
        ],
    )
    def test_bad_input_is_named(self, arguments, message):
        given = {"disparity": torch.rand(1, 1, 4, 4), "strength": 1.0} | arguments
        with pytest.raises(ValueError, match=message):
            fuse_layers(given.pop("disparity"), **given)


class TestSlice:
    @pytest.mark.parametrize("count", [1, 2, 5, 9])
    def test_one_surface_is_covered_once(self, count):
        surfaces = fuse_layers(rand(2, 1, 16, 24), focus=0.5, strength=9.0, layers=None)
        sliced = surfaces.slice(count)
        assert sliced.alpha.shape == (2, count, 1, 16, 24)
        assert torch.allclose(sliced.alpha.sum(1), torch.ones(2, 1, 16, 24), atol=1e-5)

    @pytest.mark.parametrize("count", [2, 5, 9])
    def test_defocus_is_kept(self, count):
        disparity = slope(16, 24)
        sliced = fuse_layers(disparity, focus=0.5, strength=9.0, layers=count)
        assert torch.allclose((sliced.alpha * sliced.defocus).sum(1), 9 * (disparity - 0.5), atol=1e-4)

    def test_back_to_front(self):
        sliced = fuse_layers(torch.linspace(0, 1, 32).expand(1, 1, 16, 32), focus=0.5, strength=9.0, layers=4)
        means = (sliced.alpha * sliced.defocus).sum((0, 2, 3, 4)) / sliced.alpha.sum((0, 2, 3, 4))
        assert (means.diff() > 0).all()

    def test_each_pixel_lies_in_neighbouring_slices(self):
        sliced = fuse_layers(rand(1, 1, 16, 24), focus=0.5, strength=9.0, layers=7).alpha[0, :, 0] > 0
        assert (sliced.sum(0) <= 2).all()
        first, last = sliced.int().argmax(0), 6 - sliced.flip(0).int().argmax(0)
        assert (last - first <= 1).all()

    def test_colour_is_kept(self):
        image, disparity = 0.2 + 0.6 * rand(1, 3, 16, 24), 0.02 * rand(1, 1, 16, 24)
        sliced = fuse_layers(disparity, focus=0.5, strength=9.0, image=image, gamma="linear", layers=5)
        seen = (sliced.alpha > 1e-3).expand_as(sliced.color)
        assert (sliced.color - image[:, None])[seen].abs().max() < 1e-4

    def test_two_surfaces_far_apart_keep_their_coverage(self):
        mask = rand(1, 1, 16, 24)
        alpha = fuse_layers(None, mask, strength=9.0, layers=6).alpha
        assert torch.allclose(alpha[:, -2:].sum(1), mask, atol=1e-3)
        assert torch.allclose(alpha[:, :2].sum(1), 1 - mask, atol=1e-3)

    def test_streamed_nearest_first(self):
        surfaces = fuse_layers(rand(1, 1, 16, 24), focus=0.5, strength=9.0, image=rand(1, 3, 16, 24), layers=None)
        sliced = surfaces.slice(4)
        for i, (light, defocus) in enumerate(iterate_slices(surfaces, 4)):
            color, alpha = light.split([3, 1], 1)
            assert torch.equal(alpha, sliced.alpha[:, 3 - i])
            assert torch.equal(defocus, sliced.defocus[:, 3 - i])
            assert torch.allclose(color, sliced.color[:, 3 - i] * alpha, atol=1e-6)

    @pytest.mark.parametrize("count", [0, -1])
    def test_count_must_be_positive(self, count):
        with pytest.raises(ValueError, match=f"count must be at least 1, got {count}"):
            fuse_layers(rand(1, 1, 4, 4), strength=1.0, layers=None).slice(count)

    @pytest.mark.parametrize(
        ("alpha", "defocus", "color", "message"),
        [
            ((1, 1, 4, 4), (1, 1, 4, 4), None, r"alpha must be \(B, K, 1, H, W\)"),
            ((1, 2, 1, 4, 4), (1, 2, 1, 4, 5), None, "defocus must have alpha's shape"),
            ((1, 2, 1, 4, 4), (1, 2, 1, 4, 4), (1, 2, 1, 4, 4), "color must be"),
        ],
    )
    def test_shapes_are_checked(self, alpha, defocus, color, message):
        with pytest.raises(ValueError, match=message):
            DefocusLayers(rand(*alpha), rand(*defocus), None if color is None else rand(*color))


class TestGradients:
    @pytest.mark.parametrize("with_mask", [True, False])
    def test_twice_to_the_image_alone(self, with_mask):
        image = rand(1, 3, 6, 8, seed=5, dtype=torch.float64).requires_grad_()
        disparity = (torch.linspace(0, 1, 8) > 0.5).double().expand(1, 1, 6, 8) + 0.02 * rand(
            1, 1, 6, 8, dtype=torch.float64
        )
        mask = rand(1, 1, 6, 8, seed=6, dtype=torch.float64) if with_mask else None

        def run(image):
            return fuse_layers(disparity, mask, strength=10.0, image=image, gamma="linear", layers=None).color.square()

        assert torch.autograd.gradgradcheck(run, image, fast_mode=True)

    def test_gradcheck_to_everything(self):
        # Smooth, so that no two disparities are the same and no mask is 1/2, where surfaces change places.
        ramp = torch.linspace(0, 1, 8, dtype=torch.float64).expand(1, 1, 6, 8)
        near = (ramp > 0.5).double()
        mask = 0.1 + 0.6 * near + 0.2 * rand(1, 1, 6, 8, seed=2, dtype=torch.float64)
        disparity = 0.2 + 0.5 * near + 0.1 * rand(1, 1, 6, 8, seed=3, dtype=torch.float64)
        scalars = [torch.tensor(value, dtype=torch.float64) for value in (0.45, 7.0, 0.01)]

        def run(disparity, mask, focus, strength, slab):
            surfaces = fuse_layers(disparity, mask, focus=focus, strength=strength, slab=slab, layers=None)
            return surfaces.alpha, surfaces.defocus

        assert torch.autograd.gradcheck(run, [x.requires_grad_() for x in (disparity, mask, *scalars)])
