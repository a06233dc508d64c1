"""Mixed pixels at depth edges against pictures whose surfaces are known; fillings and windows against closed forms."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from gradients import check_gradients
from threads import run_on_threads

from depthbokeh import edges as edges_module
from depthbokeh import ops
from depthbokeh.edges import find_surfaces, move_to_sides, separate, sharpen, unmix
from depthbokeh.enlarging import enlarge
from depthbokeh.fill import fill_behind, push_pull
from depthbokeh.steps import smoothstep
from depthbokeh.windows import find_max, local_max, local_min

NEAR, FAR = (0.8, 0.2, 0.1), (0.1, 0.3, 0.7)
STRENGTH = torch.full((1, 1, 1, 1), 10.0)


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def color(rgb, size=(24, 32)):
    return torch.tensor(rgb).view(1, 3, 1, 1).expand(-1, -1, *size)


def half_plane(slope, size=(24, 32), at=15.3):
    """The share of every pixel left of the line x = at + slope y, (1, 1, H, W), from 64 x 64 points of each."""
    height, width = size
    y, x = ((torch.arange(64 * n) + 0.5) / 64 - 0.5 for n in (height, width))
    return F.avg_pool2d((x[None] < at + slope * (y[:, None] - height / 2))[None, None].float(), 64)


def edge_scene(slope):
    """Picture, disparity without a transition, the near surface's coverage."""
    alpha = half_plane(slope)
    return alpha * color(NEAR) + (1 - alpha) * color(FAR), 0.2 + 0.6 * (alpha > 0.5), alpha


def slope(radius_per_pixel):
    """Disparity of a plane slanted in both directions."""
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
    return radius_per_pixel / 10 * (0.6 * x + 0.8 * y)[None, None]


def smooth_field(height, width, channels, seed):
    """Random, without detail finer than 4 px, in double precision."""
    coarse = rand(1, channels, (height + 3) // 4, (width + 3) // 4, seed=seed, dtype=torch.float64)
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)


class TestSeparate:
    @pytest.mark.parametrize("slope", [0.0, 0.3, 1.0, -0.7])
    def test_surfaces_and_coverage_are_recovered(self, slope):
        image, disparity, alpha = edge_scene(slope)
        edges = separate(image, disparity, STRENGTH)
        mixed = (alpha > 0) & (alpha < 1)
        assert mixed.any()
        assert (edges.edge[mixed] == 1).all()
        assert (edges.coverage[:, 1] - alpha)[edges.edge == 1].abs().max() < 0.02
        near, far = (edges.color[:, 1] - color(NEAR)).abs(), (edges.color[:, 0] - color(FAR)).abs()
        at = (edges.edge == 1).expand_as(image)
        # As far as a surface shows, its colour is right; what is hidden may be a little mixed.
        assert (edges.coverage[:, 1] * near)[at].max() < 0.015
        assert ((1 - edges.coverage[:, 1]) * far)[at].max() < 0.015
        assert near[at].mean() < 0.06
        assert far[at].mean() < 0.06

    def test_each_surface_keeps_its_disparity(self):
        image, disparity, _ = edge_scene(0.3)
        edges = separate(image, disparity, STRENGTH)
        at = edges.edge == 1
        assert torch.allclose(edges.disparity[:, 1][at], torch.tensor(0.8), atol=1e-5)
        assert torch.allclose(edges.disparity[:, 0][at], torch.tensor(0.2), atol=1e-5)

    @pytest.mark.parametrize("with_mask", [False, True])
    def test_both_surfaces_together_are_the_picture(self, with_mask):
        image, disparity, alpha = edge_scene(0.3)
        image = image * (0.8 + 0.2 * rand(*image.shape))  # texture that two colours cannot explain
        edges = separate(image, disparity, STRENGTH, alpha if with_mask else None)
        again = edges.coverage[:, 1] * edges.color[:, 1] + (1 - edges.coverage[:, 1]) * edges.color[:, 0]
        # Only a colour cut at black may miss the picture.
        whole = ((edges.color[:, 1] > 0) & (edges.color[:, 0] > 0)).all(1, keepdim=True).expand_as(image)
        assert whole.float().mean() > 0.95
        assert (edges.edge * whole[:, :1]).sum() > 24
        assert (again - image)[whole].abs().max() < 1e-6

    @pytest.mark.parametrize("with_mask", [False, True])
    def test_a_lamp_that_shines_past_the_near_surface_is_behind_it(self, with_mask):
        image, disparity, alpha = edge_scene(0.0)
        lamp = ((alpha > 0.1) & (alpha < 0.9)).float()
        lamp[:, :, torch.arange(alpha.shape[2]) != alpha.shape[2] // 2] = 0
        assert lamp.sum() == 1
        edges = separate(image + 30 * (1 - alpha) * lamp, disparity, STRENGTH, alpha if with_mask else None)
        at = (lamp > 0).expand_as(image)
        assert (edges.color[:, 1][at] - color(NEAR).expand_as(image)[at]).abs().max() < 0.05
        if with_mask:  # without one the lamp's own brightness makes a wrong share of the near surface
            assert (edges.color[:, 0][at] - 30 - color(FAR).expand_as(image)[at]).abs().max() < 0.5

    def test_most_of_the_edge_is_told_from_texture(self):
        image, disparity, alpha = edge_scene(0.3)
        image = image * (0.9 + 0.1 * rand(*image.shape))
        edges = separate(image, disparity, STRENGTH)
        # Taking disparity's word for it misses a quarter of a mixed pixel on average.
        mixed = (alpha > 0) & (alpha < 1)
        assert (edges.coverage[:, 1] - alpha)[mixed].abs().mean() < 0.04
        assert ((alpha > 0.5).float() - alpha)[mixed].abs().mean() > 0.15

    @pytest.mark.parametrize("radius_per_pixel", [0.02, 0.3, 5.0])
    def test_slopes_are_no_edges(self, radius_per_pixel):
        edges = separate(rand(1, 3, 24, 32), slope(radius_per_pixel), STRENGTH)
        assert edges.edge[..., 2:-2, 2:-2].max() == 0

    @pytest.mark.parametrize("radius_per_pixel", [0.02, 0.3])
    def test_slopes_are_no_edges_at_the_border(self, radius_per_pixel):
        assert separate(rand(1, 3, 24, 32), slope(radius_per_pixel), STRENGTH).edge.max() == 0

    def test_a_jump_counts_by_the_blur_it_makes(self):
        image, _, alpha = edge_scene(0.0)
        step = (alpha > 0.5).float()
        largest = [float(separate(image, height * step, STRENGTH).edge.max()) for height in (0.04, 0.075, 0.11)]
        assert largest[0] == 0
        assert largest[1] == pytest.approx(0.5, abs=1e-3)
        assert largest[2] == 1

    def test_mask_decides_where_it_follows_the_edge(self):
        _, disparity, alpha = edge_scene(0.3)
        grey = 0.5 + 0.02 * rand(1, 3, 24, 32)  # the picture says nothing about the edge
        alone, told = (separate(grey, disparity, STRENGTH, mask) for mask in (None, alpha))
        mixed = (alpha > 0) & (alpha < 1)
        assert (told.coverage[:, 1] - alpha)[mixed].abs().max() < 1e-6
        assert (alone.coverage[:, 1] - alpha)[mixed].abs().max() > 0.3

    def test_mask_of_the_far_side_says_the_rest(self):
        image, disparity, alpha = edge_scene(0.3)
        edges = separate(image, disparity, STRENGTH, 1 - alpha)
        assert (edges.coverage[:, 1] - alpha)[edges.edge == 1].abs().max() < 1e-6

    def test_mask_that_ends_elsewhere_is_not_asked(self):
        image, disparity, _ = edge_scene(0.3)
        alone = separate(image, disparity, STRENGTH)
        for mask in (torch.ones_like(disparity), half_plane(0.3, at=24.6)):
            told = separate(image, disparity, STRENGTH, mask)
            assert torch.allclose(told.coverage, alone.coverage, atol=1e-6)

    def test_nothing_changes_where_there_is_no_edge(self):
        image, disparity = rand(2, 3, 12, 16), torch.full((2, 1, 12, 16), 0.4)
        edges = separate(image, disparity, STRENGTH, rand(2, 1, 12, 16, seed=1))
        assert torch.equal(edges.color[:, 1], image)
        assert torch.equal(edges.color[:, 0], image)
        assert torch.equal(edges.disparity[:, 1], disparity)
        assert torch.equal(edges.disparity[:, 0], disparity)
        assert (edges.coverage[:, 1] == 1).all()
        assert (edges.edge == 0).all()

    def test_strength_is_that_of_each_picture(self):
        image, disparity, _ = edge_scene(0.3)
        pair = separate(
            image.expand(2, -1, -1, -1), disparity.expand(2, -1, -1, -1), torch.tensor([0.0, 10.0]).view(2, 1, 1, 1)
        )
        assert pair.edge[0].max() == 0
        assert torch.equal(pair.coverage[1:], separate(image, disparity, STRENGTH).coverage)
        assert pair.edge[1].max() == 1

    @pytest.mark.parametrize("with_mask", [False, True])
    def test_gradcheck(self, with_mask):
        # A step, uneven on both sides so that the largest and the smallest neighbour are never two, of a size at
        # which the edge itself counts by half: then its weight has a gradient too.
        step = (half_plane(0.4, (6, 7), 3.1) > 0.5).double()
        disparity = 0.3 + 0.3 * step + 0.02 * rand(1, 1, 6, 7, seed=3, dtype=torch.float64)
        image = 0.3 + 0.4 * smooth_field(6, 7, 3, seed=1).clamp(0, 1) + 0.2 * step
        strength = torch.tensor([[[[2.5]]]], dtype=torch.float64)
        mask = 0.1 + 0.6 * step + 0.2 * rand(1, 1, 6, 7, seed=4, dtype=torch.float64)
        assert ((e := separate(image, disparity, strength, mask).edge) > 0.01).any()
        assert (e < 0.99).any()
        leaves = [image, disparity, strength, mask] if with_mask else [image, disparity, strength]
        check_gradients(lambda *given: tuple(separate(*given)), leaves)


class TestSharpen:
    """768 px wide: an edge may be soft over 3 px to either side."""

    @staticmethod
    def profile(*steps):
        """Disparity along a row: one value up to each column, straight lines between."""
        x = torch.arange(768.0)
        values = torch.zeros(768)
        for (left, start), (right, end) in itertools.pairwise(steps):
            inside = (x >= left) & (x <= right)
            values[inside] = start + (end - start) * (x[inside] - left) / (right - left)
        return values.expand(1, 1, 8, -1)

    def test_soft_edge_becomes_a_step_in_its_middle(self):
        sharp = sharpen(self.profile((0, 0.2), (380, 0.2), (385, 0.8), (768, 0.8)), STRENGTH)[0, 0, 4]
        assert sharp[:383].eq(sharp[0]).all()
        assert sharp[383:].eq(sharp[-1]).all()

    @pytest.mark.parametrize("shift", [-1, 0, 1])
    def test_step_lies_where_colors_change(self, shift):
        """Disparity passes over from column 381 to 384; beyond its middle by as much as a pixel colour knows better."""
        soft = self.profile((0, 0.2), (380, 0.2), (385, 0.8), (768, 0.8))
        dark_then_bright = (torch.arange(768.0) >= 383 + shift).float().expand(1, 3, 8, -1)
        sharp = sharpen(soft, STRENGTH, dark_then_bright)[0, 0, 4]
        step = torch.where(torch.arange(768) < 383 + shift, 0.2, 0.8)
        assert torch.allclose(sharp, step, atol=1e-6)

    def test_step_stays_in_the_middle_where_both_sides_look_alike(self):
        soft = self.profile((0, 0.2), (380, 0.2), (385, 0.8), (768, 0.8))
        noise = 0.5 + 0.05 * torch.rand(1, 3, 8, 768, generator=torch.Generator().manual_seed(0))
        assert torch.equal(sharpen(soft, STRENGTH, noise), sharpen(soft, STRENGTH))

    def test_slope_stays(self):
        slope = self.profile((0, 0.0), (768, 3.0))
        assert torch.equal(sharpen(slope, STRENGTH), slope)

    def test_third_surface_between_two_stays(self):
        steps = (0, 0.0), (379, 0.0), (380, 0.5), (384, 0.5), (385, 1.0), (768, 1.0)
        between = sharpen(self.profile(*steps), STRENGTH)[0, 0, 4, 381:384]
        assert torch.allclose(between, torch.full((3,), 0.5), atol=1e-6)


class TestPushPull:
    def test_known_values_are_kept(self):
        values, weight = rand(2, 3, 13, 18), (rand(2, 1, 13, 18, seed=1) > 0.7).float()
        filled = push_pull(values, weight)
        known = weight.expand_as(values) == 1
        assert torch.equal(filled[known], values[known])

    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 9), (16, 23)])
    def test_one_pixel_fills_everything(self, size):
        values, weight = rand(1, 2, *size), torch.zeros(1, 1, *size)
        weight[..., size[0] // 2, size[1] // 3] = 1
        filled = push_pull(values, weight)
        assert torch.allclose(filled, values[..., size[0] // 2, size[1] // 3, None, None].expand_as(filled), atol=1e-5)

    def test_filling_stays_between_the_known_values(self):
        values, weight = rand(1, 1, 21, 34), (rand(1, 1, 21, 34, seed=1) > 0.9).float()
        known = values[weight == 1]
        filled = push_pull(values, weight)
        assert known.min() - 1e-6 <= filled.min()
        assert filled.max() <= known.max() + 1e-6

    def test_unknown_values_say_nothing(self):
        values, weight = rand(1, 1, 16, 16), (rand(1, 1, 16, 16, seed=1) > 0.8).float()
        other = torch.where(weight > 0, values, 1e3)
        assert torch.allclose(push_pull(values, weight), push_pull(other, weight), atol=1e-5)

    def test_nearer_values_count_more(self):
        values, weight = torch.zeros(1, 1, 1, 32), torch.zeros(1, 1, 1, 32)
        values[..., 24:], weight[..., :8], weight[..., 24:] = 1, 1, 1
        filled = push_pull(values, weight).flatten()
        assert (filled.diff() >= -1e-6).all()
        assert filled[9] < 0.4
        assert filled[22] > 0.6

    def test_nothing_known_gives_zeros(self):
        assert (push_pull(rand(1, 1, 5, 6), torch.zeros(1, 1, 5, 6)) == 0).all()

    def test_gradcheck(self):
        # Small weights: four of them stay below one, where the mean of what is known begins to be cut.
        values, weight = rand(1, 2, 5, 6, dtype=torch.float64), 0.02 + 0.1 * rand(1, 1, 5, 6, dtype=torch.float64)
        weight[..., 2, 3] = 0.8
        assert torch.autograd.gradcheck(push_pull, (values.requires_grad_(), weight.requires_grad_()))


class TestFillBehind:
    @pytest.mark.parametrize("reach", [4, 9, 16])
    def test_nothing_near_is_left_in_the_far_filling(self, reach):
        near = torch.zeros(1, 1, 40, 48)
        near[..., :20] = 1
        filled = fill_behind(near, 12 * near - 6, reach)
        # White in front of black: as far as the far surface has to go on, all is black and lies behind.
        assert filled[:, 0, :, 20 - reach // 2 :].max() < 0.01
        assert filled[:, 1, :, 20 - reach // 2 :].max() < -5.8

    def test_far_surfaces_stay_as_they_are(self):
        near = torch.zeros(1, 1, 32, 32)
        near[..., :16] = 1
        picture = rand(1, 3, 32, 32)
        filled = fill_behind(picture, 12 * near - 6, 8)
        assert torch.allclose(filled[:, :3, :, 16:], picture[..., 16:], atol=1e-5)

    def test_what_lies_deep_within_the_near_surface_is_kept(self):
        near = torch.zeros(1, 1, 32, 64)
        near[..., :48] = 1
        filled = fill_behind(near, 12 * near - 6, 4)
        assert torch.allclose(filled[:, :1, :, :36], near[..., :36], atol=1e-3)

    def test_the_next_surface_is_behind_not_the_farthest(self):
        """Background, somebody before it, and a bar before them: values 0, 1, 2."""
        surface = torch.zeros(1, 1, 24, 80)
        surface[..., 12:68] = 1
        surface[..., 38:42] = 2
        filled = fill_behind(surface, 12 * surface - 12, 16)
        assert (filled[:, 0, :, 38:42] - 1).abs().max() < 0.01
        assert filled[:, 0, :, 12:20].abs().max() < 0.01

    def test_slopes_are_one_surface(self):
        picture, slope = rand(1, 3, 32, 96), (0.06 * torch.arange(96.0)).expand(1, 1, 32, 96)
        filled = fill_behind(picture, slope - 3, 8)
        assert torch.allclose(filled[:, 3:], slope - 3, atol=1e-5)
        assert torch.allclose(filled[:, :3], picture, atol=1e-5)

    def test_steep_slopes_are_filled_from_what_is_around(self):
        values = (0.4 * torch.arange(40.0) - 8).expand(1, 1, 32, 40)
        filled = fill_behind(values, values, 8)
        # Value and defocus go together; nothing is farther than the farthest, nothing nearer than it was.
        assert torch.allclose(filled[:, :1], filled[:, 1:], atol=1e-5)
        assert filled.min() >= -8 - 1e-5
        assert (filled[:, :1] <= values + 1e-5).all()

    def test_large_defocus_does_not_overflow(self):
        near = torch.zeros(1, 1, 24, 24)
        near[..., :12] = 1
        filled = fill_behind(near, 400 * near - 200, 32)
        assert filled.isfinite().all()
        assert filled[:, 0].max() < 0.01

    def test_gradcheck(self):
        near = torch.zeros(1, 1, 6, 7, dtype=torch.float64)
        near[..., :3] = 1
        defocus = 2.2 * near + 0.6 * rand(1, 1, 6, 7, seed=2, dtype=torch.float64)
        # The least defocus is the origin of the weights, which cancels; held still, differences see it as it is.
        assert torch.autograd.gradcheck(
            lambda values, defocus: fill_behind(values, defocus, 4),
            (rand(1, 2, 6, 7, dtype=torch.float64).requires_grad_(), defocus.requires_grad_()),
        )


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("size", [(12, 24), (10, 23), (1, 1), (1, 9)])
def test_enlargement_and_its_gradient_are_those_of_interpolation(factor, size):
    squares = [-(-side // factor) for side in size]
    values = rand(2, 3, *squares, dtype=torch.float64).requires_grad_()
    expected = F.interpolate(values, scale_factor=factor, mode="bilinear")[..., : size[0], : size[1]]
    found, weight = enlarge(values, factor, *size), rand(2, 3, *size, seed=1, dtype=torch.float64)
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad(result, values, weight)[0] for result in (found, expected)]
    torch.testing.assert_close(*gradients)
    plane = values[:1, :1].detach().requires_grad_()  # the others do not know of it
    assert torch.autograd.gradgradcheck(lambda x: enlarge(x, factor, *size).square(), [plane])


def test_smoothstep_keeps_its_gradient_when_compiled():
    x = torch.linspace(-0.5, 1.5, 9, requires_grad=True)
    step = torch.compile(smoothstep, fullgraph=True, backend="aot_eager")
    found, expected = (torch.autograd.grad(run(x).sum(), x)[0] for run in (step, smoothstep))
    torch.testing.assert_close(found, expected)


def test_smoothstep_is_differentiable_twice():
    x = torch.tensor([-0.5, 0.1, 0.4, 0.9, 1.5], dtype=torch.float64, requires_grad=True)
    assert torch.equal(smoothstep(x.detach())[[0, 4]], torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert float(smoothstep(torch.tensor(0.5))) == 0.5
    assert torch.autograd.gradcheck(smoothstep, x)
    assert torch.autograd.gradgradcheck(smoothstep, x)


class TestWindows:
    @pytest.mark.parametrize("reach", [0, 1, 2, 3, 5, 8])
    @pytest.mark.parametrize("size", [(17, 23), (1, 9), (4, 4)])
    def test_largest_is_that_of_the_window(self, reach, size):
        values = rand(2, 3, *size) - 0.5
        # Pooling allows at most half a window of padding, which it takes for minus infinity.
        expected = F.max_pool2d(values, 2 * reach + 1, stride=1, padding=reach)
        assert torch.equal(local_max(values, reach), expected)
        assert torch.equal(local_min(values, reach), -F.max_pool2d(-values, 2 * reach + 1, stride=1, padding=reach))

    @pytest.mark.parametrize("reach", [0, 1, 2, 3, 5, 8])
    @pytest.mark.parametrize("size", [(17, 23), (1, 9), (4, 4)])
    def test_largest_is_found_where_it_is(self, reach, size):
        for values in (rand(3, 1, *size) - 0.5, (4 * rand(3, 1, *size)).round()):  # of several the first
            _, expected = F.max_pool2d(values, 2 * reach + 1, stride=1, padding=reach, return_indices=True)
            expected = expected + torch.arange(3).view(-1, 1, 1, 1) * size[0] * size[1]
            assert torch.equal(find_max(values, reach), expected)

    @pytest.mark.parametrize("reach", [0, 1, 2, 5])
    def test_of_equal_values_the_first_has_the_gradient(self, reach):
        values = (4 * rand(2, 1, 9, 14)).round().requires_grad_()
        weight = rand(2, 1, 9, 14, seed=1)
        (found,) = torch.autograd.grad(local_max(values, reach), values, weight)
        expected = torch.zeros(values.numel()).index_add(0, find_max(values, reach).flatten(), weight.flatten())
        torch.testing.assert_close(found.flatten(), expected)

    def test_gradient_goes_to_the_largest(self):
        values = rand(1, 1, 6, 6, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: local_max(x, 2), values)
        assert torch.autograd.gradgradcheck(lambda x: local_max(x, 2).square(), values, fast_mode=True)


def make_edges(size=(18, 23), dtype=torch.float64, with_mask=True):
    """What the kernels of depth edges take: colour, disparity and mask of two pictures, how much either is blurred."""
    height, width = size
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    near = torch.stack([x + 0.3 * y > 0.6, x - y > 0])[:, None]
    disparity = 0.2 + 0.5 * near + 0.04 * rand(2, 1, *size, seed=2)
    # A side has a colour of its own, and every pixel is a mixture or holds light that nobody accounts for.
    light = torch.where(near, color(NEAR, size), color(FAR, size))
    share = rand(2, 1, *size, seed=3)
    light = share * light + (1 - share) * light.flip(3) + 0.3 * rand(2, 3, *size, seed=1)
    light[..., ::5, 1::3] *= 8
    light[..., 2::5, 1::2] *= 0.1
    light[:, :, 4:9] = light[:, :1, 4:9]  # grey
    mask = 0.8 * near + 0.2 * rand(2, 1, *size, seed=4)
    mask[..., : width // 2] = 0.5  # which says nothing
    leaves = [light, disparity, torch.tensor([1.5, 4.0]).view(2, 1, 1, 1), mask if with_mask else None]
    return [None if leaf is None else leaf.to(dtype).requires_grad_() for leaf in leaves]


def make_soft(size=(18, 23), dtype=torch.float64, reach=2, with_color=True):
    """What the kernel that makes soft edges sharp takes."""
    light, disparity, strength, _ = (None if v is None else v.detach() for v in make_edges(size, dtype))
    disparity = F.avg_pool2d(disparity, 2 * reach + 1, 1, reach, count_include_pad=False)
    return [disparity.requires_grad_(), strength.requires_grad_(), light if with_color else None, reach]


def assert_alike(found, expected, tolerance):
    for value, other in zip(found, expected, strict=True):
        if other.numel():  # gradients that cancel are compared with what they are made of
            assert (value.double() - other).abs().max() <= tolerance * other.abs().max().clamp(min=1e-3)


TOLERANCE = {torch.float64: 1e-9, torch.float32: 3e-4}


def run_kernels(kernels, name, inputs):
    """What an operator makes of its inputs, and gradients of a weighted sum of that."""
    given = [value.detach().to(kernels.device) if isinstance(value, torch.Tensor) else value for value in inputs]
    found = getattr(kernels.operators, name)(*given)
    found = found if isinstance(found, (tuple, list)) else [found]
    gradients = getattr(kernels.operators, f"{name}_backward")(*make_weights(found), *given)
    gradients = gradients if isinstance(gradients, (tuple, list)) else [gradients]
    return [values.cpu() for values in (*found, *gradients)]


def make_weights(found):
    return [(rand(*values.shape, seed=9).to(values.dtype) - 0.5).to(values.device) for values in found]


def run_definition(define, inputs):
    """The same by the definition, in float64."""
    given = [value.detach().double() if isinstance(value, torch.Tensor) else value for value in inputs]
    leaves = [value.requires_grad_() for value, old in zip(given, inputs, strict=True) if is_leaf(old)]
    found = define(*given)
    found = found if isinstance(found, tuple) else (found,)
    weights = [weight.double() for weight in make_weights([v.to(inputs[0].dtype) for v in found])]
    gradients = torch.autograd.grad(found, leaves, weights, materialize_grads=True)
    return [*(values.detach() for values in found), *gradients]


def is_leaf(value):
    return isinstance(value, torch.Tensor) and value.requires_grad


EDGE_SIZES = pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 23), (31, 1), (2, 3), (13, 17)])
CASES = {"separate": (make_edges, find_surfaces), "sharpen": (make_soft, move_to_sides)}
OPERATORS = pytest.mark.parametrize("name", CASES)


class TestKernels:
    """The operators on depth edges against their definitions."""

    @pytest.mark.parametrize("with_mask", [True, False])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    def test_separate_equals_its_definition(self, kernels, with_mask, dtype):
        inputs = make_edges(dtype=dtype, with_mask=with_mask)
        found, expected = run_kernels(kernels, "separate", inputs), run_definition(find_surfaces, inputs)
        if not with_mask:
            assert found.pop().numel() == 0
        assert_alike(found, expected, TOLERANCE[dtype])

    @pytest.mark.parametrize("reach", [1, 2, 5])
    @pytest.mark.parametrize("with_color", [True, False])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    def test_sharpen_equals_its_definition(self, kernels, with_color, reach, dtype):
        inputs = make_soft(dtype=dtype, reach=reach, with_color=with_color)
        found, expected = run_kernels(kernels, "sharpen", inputs), run_definition(move_to_sides, inputs)
        assert (expected[0] != inputs[0]).sum() > 50
        assert_alike(found, expected, TOLERANCE[dtype])

    def test_color_moves_pixels(self):
        with_color, without = make_soft(), make_soft(with_color=False)
        assert (move_to_sides(*with_color) != move_to_sides(*without)).sum() > 5

    def test_all_cases_occur(self):
        """Edges that only begin to count, lamps, shares cut at either end, colours that would be negative."""
        inputs = [value.detach() for value in make_edges()]
        edge, coverage, colors, _ = find_surfaces(*inputs)
        assert ((edge > 0) & (edge < 0.9)).sum() > 10
        at = (edge == 1)[:, 0]
        share = coverage[:, 1, 0][at]
        assert all((share == end).sum() > 5 for end in (0, 1))
        assert ((share > 0) & (share < 1)).sum() > 20
        assert (colors.amin((1, 2))[at] == 0).sum() > 5
        told = find_surfaces(*inputs[:3])[1]
        assert 10 < (told != coverage).sum() < at.sum()

    @OPERATORS
    @EDGE_SIZES
    def test_odd_sizes(self, kernels, name, size):
        make, define = CASES[name]
        inputs = make(size)
        assert_alike(run_kernels(kernels, name, inputs), run_definition(define, inputs), 1e-9)

    @OPERATORS
    def test_of_equal_values_the_first_has_the_gradient(self, kernels, name):
        make, define = CASES[name]
        inputs = make()
        with torch.no_grad():
            disparity = inputs[1 if name == "separate" else 0]
            disparity.copy_((10 * disparity).round() / 10)
        assert_alike(run_kernels(kernels, name, inputs), run_definition(define, inputs), 1e-9)

    @OPERATORS
    def test_no_edge_at_all(self, kernels, name):
        make, define = CASES[name]
        inputs = make()
        with torch.no_grad():
            inputs[1 if name == "separate" else 0].fill_(0.4)
        found, expected = run_kernels(kernels, name, inputs), run_definition(define, inputs)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))

    @OPERATORS
    def test_no_picture_at_all(self, kernels, name):
        inputs = [value[:0] if isinstance(value, torch.Tensor) else value for value in CASES[name][0]()]
        assert not any(values.numel() for values in run_kernels(kernels, name, inputs))

    @OPERATORS
    def test_what_is_not_a_number_stays(self, kernels, name):
        inputs = CASES[name][0]()
        with torch.no_grad():
            inputs[1 if name == "separate" else 0][0, 0, 3, 4] = math.nan
        assert run_kernels(kernels, name, inputs)[0 if name == "sharpen" else 3][0, -1, ..., 3, 4].isnan()

    @OPERATORS
    def test_autograd(self, native, name):
        make, define = CASES[name]
        inputs = make()
        found = getattr(ops, name)(*inputs)
        found = found if isinstance(found, tuple) else (found,)
        gradients = torch.autograd.grad(found, [value for value in inputs if is_leaf(value)], make_weights(found))
        assert_alike([*(values.detach() for values in found), *gradients], run_definition(define, inputs), 1e-9)

    @OPERATORS
    @pytest.mark.parametrize("optional", [True, False])
    def test_differentiable_twice(self, native, name, optional):
        inputs = make_soft((6, 7), with_color=optional) if name == "sharpen" else make_edges((4, 7), with_mask=optional)

        def run(*leaves):
            given = iter(leaves)
            found = getattr(ops, name)(*(next(given) if is_leaf(value) else value for value in inputs))
            return found.square() if name == "sharpen" else tuple(values.square() for values in found)

        assert torch.autograd.gradgradcheck(run, [value for value in inputs if is_leaf(value)], fast_mode=True)

    @pytest.mark.parametrize("needed", [0, 3])
    def test_differentiable_twice_where_the_edge_has_no_gradient(self, native, needed):
        """The colours' or the mask's alone is asked for."""
        inputs = [value.detach() for value in make_edges((4, 7))]

        def run(leaf):
            return ops.separate(*inputs[:needed], leaf, *inputs[needed + 1 :])[2].square()

        assert torch.autograd.gradgradcheck(run, inputs[needed].requires_grad_(), fast_mode=True)

    def test_color_alone_needs_no_gradient_of_disparity(self, native):
        """Nor can it be asked for one twice: colour decides, without a derivative."""
        image, disparity, _ = edge_scene(0.3)
        soft = F.avg_pool2d(disparity, 3, 1, 1, count_include_pad=False)
        sharp = sharpen(soft, STRENGTH, image.clone().requires_grad_())
        assert not sharp.requires_grad

    def test_exact_middle_goes_where_the_definition_says(self, kernels):
        """Disparity of 8 bits, halfway between two sides."""
        for low, high in ((10, 200), (51, 103), (7, 249), (33, 91)):
            steps = torch.tensor([low] * 6 + [(low + high) / 2] + [high] * 6) / 255
            disparity = steps.expand(1, 1, 3, -1).contiguous()
            inputs = [disparity, torch.full((1, 1, 1, 1), 40.0), None, 2]
            found = kernels.operators.sharpen(*(v.to(kernels.device) if torch.is_tensor(v) else v for v in inputs))
            assert torch.equal(found.cpu(), move_to_sides(*inputs))

    @OPERATORS
    def test_definition_runs_where_there_are_no_kernels(self, native, monkeypatch, name):
        image, disparity, _ = edge_scene(0.3)
        soft = F.avg_pool2d(disparity, 3, 1, 1, count_include_pad=False)
        run = {
            "separate": lambda: separate(image, disparity, STRENGTH),
            "sharpen": lambda: [sharpen(soft, STRENGTH, image)],
        }[name]
        with monkeypatch.context() as patch:
            patch.delattr(edges_module, CASES[name][1].__name__)
            expected = run()
        monkeypatch.setattr(ops, "has_kernels", lambda device: False)
        monkeypatch.delattr(ops, name)
        for found, other in zip(run(), expected, strict=True):
            torch.testing.assert_close(found, other)

    @OPERATORS
    def test_threads_do_not_change_the_gradient(self, native, name):
        make, _ = CASES[name]
        inputs = make((70, 23), torch.float32)
        found = run_on_threads(lambda: run_kernels(native, name, inputs))
        assert all(torch.equal(*pair) for pair in zip(*found, strict=True))

    @OPERATORS
    @pytest.mark.parametrize("optional", [True, False])
    def test_opcheck(self, native, name, optional):
        inputs = make_soft(with_color=optional) if name == "sharpen" else make_edges(with_mask=optional)
        torch.library.opcheck(getattr(native.operators, name).default, inputs)
        given = [value.detach() if isinstance(value, torch.Tensor) else value for value in inputs]
        found = getattr(native.operators, name)(*given)
        grads = [torch.ones_like(values) for values in (found if isinstance(found, tuple) else (found,))]
        torch.library.opcheck(getattr(native.operators, f"{name}_backward").default, [*grads, *given])

    def test_bad_tensors_are_named(self, kernels):
        light, disparity, strength, mask = (values.detach().to(kernels.device) for values in make_edges())
        for inputs, message in [
            ((light, disparity[:, :, 0], strength, mask), r"disparity must be \(B, 1, H, W\)"),
            ((light, disparity.half(), strength, mask), "disparity must be float32 or float64"),
            ((light[:, :2], disparity, strength, mask), r"linear must be \(B, 3, H, W\)"),
            ((light, disparity, strength[:1], mask), "strength must be one for every picture"),
            ((light, disparity, strength, mask.float()), r"mask must be \(B, 1, H, W\) of the disparity's size, dtype"),
        ]:
            with pytest.raises(RuntimeError, match=message):
                kernels.operators.separate(*inputs)
        grads = [torch.zeros_like(values) for values in kernels.operators.separate(light, disparity, strength, mask)]
        with pytest.raises(RuntimeError, match="grad must be of its result's size"):
            kernels.operators.separate_backward(*grads[:3], grads[2], light, disparity, strength, mask)


def make_mixtures(dtype=torch.float64, count=500):
    """What the kernels that take mixed pixels apart take: near side, far side and pixel, low, high, weight."""
    sides = 1.3 * rand(count, 3, 5, seed=1)
    # A mixture of both sides as it should be, then light that nobody accounts for; lamps; a mask that says nothing.
    share = rand(count, 1, seed=2)
    sides[::2, 2] = (share * sides[:, 0] + (1 - share) * sides[:, 1])[::2]
    sides[::5, 2, :3] *= 6
    sides[::3, :2, 4] = sides[::3, :1, 4]
    low = 0.4 * rand(count, seed=3)
    values = [sides, low, low + 0.1 + 0.9 * rand(count, seed=4), rand(count, seed=5)]
    return [value.to(dtype).requires_grad_() for value in values]


class TestUnmix:
    """What mixed pixels are taken apart by."""

    def test_all_cases_occur(self):
        """Lamps, shares cut at either end, colours that would be negative, masks that follow the edge or do not."""
        sides, low, high, _ = (values.detach() for values in make_mixtures())
        whole = torch.ones_like(low)
        alone, told = (unmix(sides, low, high, whole, masked=masked) for masked in (False, True))
        share = alone[:, 1]
        assert all(((share == end).sum() > 20) for end in (0, 1))
        assert ((share > 0) & (share < 1)).sum() > 100
        assert (alone[:, 2:8] == 0).any()
        assert (alone[:, 5:8] == sides[:, 0, :3]).all(1).sum() > 20  # a lamp changes nothing of the near side
        assert 0 < (alone[:, 1] != told[:, 1]).sum() < len(told)

    def test_gradcheck_of_the_definition(self):
        sides, *others = make_mixtures(count=12)
        for masked in (True, False):
            assert torch.autograd.gradcheck(lambda *inputs, m=masked: unmix(*inputs, masked=m), (sides, *others))
