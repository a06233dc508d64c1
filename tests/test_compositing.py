"""The layered renderer against closed forms, against traced scenes, and as a way back to what it was given."""

import itertools
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from gradients import check_gradients

from depthbokeh import BokehRenderer, DefocusLayers, composite, fuse_layers, scatter_blur
from depthbokeh.data import random_scene

APERTURES = ["disk", "polygon:6", "gaussian", "ring:0.5", "cat_eye:0.5", "ellipse:1.5"]


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def left_half(height=32, width=48, at=None):
    """1 up to column ``at``, 0 from there on."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., : width // 2 if at is None else at] = 1
    return mask


def textured(height=64, width=96, seed=0):
    """Detail at several scales, 0..1."""
    size = (height, width)
    coarse = F.interpolate(rand(1, 3, height // 8, width // 8, seed=seed), size, mode="bilinear", align_corners=False)
    return 0.6 * coarse + 0.4 * rand(1, 3, *size, seed=seed + 100)


def blob(height=64, width=96, *, right=0.0, grow=0.0):
    """A soft-edged ellipse in the middle, moved or grown by some pixels."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    distance = torch.sqrt(((x - width / 2 - right) / 1.2) ** 2 + (y - height / 2) ** 2)
    return (height / 4 + grow - distance + 0.5).clamp(0, 1)[None, None]


def smooth_field(height, width, channels, seed):
    """Random, without detail finer than 4 px, within 0..1, in double precision."""
    coarse = rand(1, channels, (height + 3) // 4 + 1, (width + 3) // 4 + 1, seed=seed, dtype=torch.float64)
    return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)


def deepen(scene, radius=6.0):
    """The same scene with a larger lens."""
    return replace(scene, strength=scene.strength * radius / scene.largest_radius())


def render(image, layers, aperture="disk", **options):
    return composite(image, layers, aperture, gamma="linear", **options)


def overlap(mask, other):
    """Intersection over union of what is above 1/2."""
    a, b = mask > 0.5, other > 0.5
    return float((a & b).sum() / (a | b).sum())


def disk_beyond(x, radius):
    """The share of a disk that lies right of a line at x, from its centre."""
    t = (x / radius).clamp(-1, 1)
    return (torch.acos(t) - t * torch.sqrt(1 - t * t)) / math.pi


class TestFlat:
    def test_nothing_changes_in_focus(self):
        image = rand(2, 3, 24, 32)
        layers = fuse_layers(torch.full((2, 1, 24, 32), 0.3), focus=0.3, strength=20.0, image=image)
        assert torch.allclose(composite(image, layers), image, atol=1e-5)

    @pytest.mark.parametrize("slices", [None, 1, 6])
    def test_an_edge_in_focus_is_put_together_again(self, slices):
        # Little contrast: no colour of either surface is cut at black.
        image, alpha = 0.3 + 0.4 * textured(32, 48), F.avg_pool2d(left_half(128, 192, at=98), 4)
        # A slab as deep as the scene: two surfaces, mixed pixels between them, and no blur.
        image = alpha * image + (1 - alpha) * image.flip(3)
        layers = fuse_layers(None, alpha, strength=9.0, slab=1.0, image=image, gamma="linear", layers=None)
        assert layers.alpha[:, 0, :, :, 24].min() == 1
        assert (render(image, layers, slices=slices) - image).abs().max() < 2e-3

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("defocus", [0.0, 5.0])
    def test_half_precision(self, dtype, defocus):
        image = rand(1, 3, 24, 32)
        layers = DefocusLayers(torch.ones(1, 1, 1, 24, 32), torch.full((1, 1, 1, 24, 32), defocus))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rendered = composite(image.to(dtype), layers)
        assert rendered.dtype == dtype
        assert rendered.isfinite().all()
        expected = composite(image, layers)
        assert torch.allclose(rendered.float(), expected, atol=2 * torch.finfo(dtype).eps)

    @pytest.mark.parametrize(("aperture", "slices"), list(itertools.product(APERTURES, [None, 1, 2, 5, 8])))
    def test_one_colour_stays_one_colour_up_to_the_border(self, aperture, slices):
        image = torch.tensor([0.1, 0.4, 0.8]).view(1, 3, 1, 1).expand(-1, -1, 32, 40).contiguous()
        disparity = 0.2 * rand(1, 1, 32, 40)
        disparity[..., 8:24, 10:30] += 0.6
        layers = fuse_layers(disparity, focus=0.5, strength=12.0, image=image, layers=None)
        assert torch.allclose(composite(image, layers, aperture, slices=slices), image, atol=1e-3)

    @pytest.mark.parametrize("slices", [None, 1, 6])
    @pytest.mark.parametrize("focus", [0.0, 1.0])
    def test_one_colour_stays_one_colour_with_a_soft_mask(self, focus, slices):
        image = torch.tensor([0.1, 0.4, 0.8]).view(1, 3, 1, 1).expand(-1, -1, 32, 40).contiguous()
        mask = F.avg_pool2d(F.pad(left_half(32, 40), (4,) * 4, mode="replicate"), 9, 1)
        layers = fuse_layers(None, mask, focus=focus, strength=8.0, image=image, layers=None)
        assert torch.allclose(composite(image, layers, slices=slices), image, atol=1e-3)

    @pytest.mark.parametrize("slices", [None, 4])
    def test_one_plane_is_blurred_as_by_the_operator(self, slices):
        image = textured(32, 48)
        layers = DefocusLayers(torch.ones(1, 1, 1, 32, 48), torch.full((1, 1, 1, 32, 48), -4.0))
        expected = scatter_blur(image, torch.full((1, 1, 32, 48), 4.0))
        inner = (..., slice(5, -5), slice(5, -5))
        assert torch.allclose(render(image, layers, slices=slices)[inner], expected[inner], atol=1e-5)


class TestOcclusion:
    def test_background_does_not_leak_over_the_sharp_subject(self):
        mask = left_half()
        rendered = BokehRenderer()((1 - mask).expand(-1, 3, -1, -1), None, mask, strength=9.0)
        assert rendered[..., :24].max() < 0.01

    def test_subject_leaves_no_halo_in_the_background(self):
        mask = left_half()
        rendered = BokehRenderer()(mask.expand(-1, 3, -1, -1), None, mask, strength=9.0)
        assert rendered[..., 24:].max() < 0.01

    @pytest.mark.parametrize("slices", [None, 2, 7])
    def test_near_border_is_seen_through_as_far_as_its_disk_is_cut(self, slices):
        mask, radius = left_half(40, 64), 8.0
        image = mask.expand(-1, 3, -1, -1).contiguous()  # white in front of sharp black
        layers = fuse_layers(None, mask, focus=0.0, strength=radius, image=image, gamma="linear", layers=None)
        rendered = render(image, layers, slices=slices)[0, 0]
        # A pixel's centre x lies x - 31.5 right of the border between columns 31 and 32.
        expected = disk_beyond(torch.arange(64) - 31.5, radius)
        assert (rendered - expected).abs().max() < 0.01

    @pytest.mark.parametrize("slices", [None, 7])
    def test_blurred_background_ends_at_the_sharp_subject(self, slices):
        mask = left_half(40, 64)
        image = torch.cat([mask, 1 - mask, torch.full_like(mask, 0.5)], 1)
        layers = fuse_layers(None, mask, strength=8.0, image=image, gamma="linear", layers=None)
        rendered = render(image, layers, slices=slices)
        assert (rendered - image).abs().max() < 0.01  # each side of one colour: sharp edge, no mixture

    @pytest.mark.parametrize("slices", [1, 2, 3, 5, 8, 16])
    def test_slanted_plane_shows_nothing_through_it(self, slices):
        # 0.25 px of radius more for every pixel, in focus in the middle; a second, empty layer lies far behind.
        defocus = (0.25 * (torch.arange(96.0) - 48)).expand(1, 1, 40, 96)
        image = torch.full((1, 3, 40, 96), 0.5)
        alpha = torch.stack([torch.zeros_like(defocus), torch.ones_like(defocus)], 1)
        color = torch.stack([torch.ones_like(image), image], 1)
        layers = DefocusLayers(alpha, torch.stack([torch.full_like(defocus, -20.0), defocus], 1), color)
        assert (render(image, layers, slices=slices) - image).abs().max() < 2e-3

    def test_slanted_texture_is_blurred_as_by_one_scatter(self):
        defocus = (0.1 * (torch.arange(96.0) - 48)).expand(1, 1, 40, 96)
        image = textured(40, 96)
        layers = fuse_layers(defocus, focus=0.0, strength=1.0, image=image, gamma="linear", layers=None)
        light, weight = (scatter_blur(x, defocus.abs()) for x in (image, torch.ones_like(defocus)))
        inner = (..., slice(6, -6), slice(6, -6))
        assert (render(image, layers, slices=8)[inner] - (light / weight)[inner]).square().mean().sqrt() < 0.01


@pytest.fixture(scope="module")
def pair():
    return deepen(random_scene(3, (64, 96))).render()


class TestSlices:
    def test_result_hardly_depends_on_their_number(self, pair):
        few, many = (
            BokehRenderer(gamma="linear", layers=count)(pair.all_in_focus, pair.defocus, focus=0.0, strength=1.0)
            for count in (6, 16)
        )
        one = BokehRenderer(gamma="linear", layers=1)(pair.all_in_focus, pair.defocus, focus=0.0, strength=1.0)
        change = (few - many).square().mean().sqrt()
        assert change < 0.01
        assert change < 0.5 * (few - one).square().mean().sqrt()

    @pytest.mark.parametrize("count", [3, 6])
    def test_dense_slices_equal_streamed_ones(self, pair, count):
        layers = fuse_layers(
            pair.defocus, focus=0.0, strength=1.0, image=pair.all_in_focus, gamma="linear", layers=None
        )
        dense = render(pair.all_in_focus, layers.slice(count))
        difference = (dense - render(pair.all_in_focus, layers, slices=count)).abs()
        # What is hidden is told from the slices, where two surfaces in one are one.
        assert difference.mean() < 5e-5
        assert difference.max() < 0.02

    def test_batches_equal_single_pictures(self):
        image, disparity = textured(32, 48).repeat(2, 1, 1, 1), left_half(32, 48).repeat(2, 1, 1, 1)
        image[1] = image[1].flip(2)
        strength = torch.tensor([3.0, 9.0]).view(2, 1, 1, 1)
        renderer = BokehRenderer(layers=5)
        pair = renderer(image, disparity, focus=0.5, strength=strength)
        for i in range(2):
            single = renderer(image[i, None], disparity[i, None], focus=0.5, strength=strength[i, None])
            assert torch.allclose(pair[i, None], single, atol=1e-3)

    @pytest.mark.parametrize("slices", [None, 5])
    def test_bands_equal_the_whole(self, slices, monkeypatch):
        image = textured(96, 32)
        disparity = left_half(96, 32) + 0.3 * torch.linspace(0, 1, 96)[:, None]
        layers = fuse_layers(disparity, focus=1.0, strength=5.0, image=image, layers=None)
        whole = composite(image, layers, slices=slices)
        monkeypatch.setattr("depthbokeh.compositing._BAND_PIXELS", 10 * 32)
        with torch.no_grad():
            in_bands = composite(image, layers, slices=slices)
        assert not torch.equal(whole, in_bands)  # it was in bands
        assert (whole - in_bands).abs().max() < 1e-3


class TestLights:
    def test_lamp_at_the_border_is_not_made_more_beyond_it(self):
        image = torch.full((1, 3, 48, 48), 0.05)
        image[..., 0, 24] = 20.0
        layers = DefocusLayers(torch.ones(1, 1, 1, 48, 48), torch.full((1, 1, 1, 48, 48), -6.0))
        light = (render(image, layers) - 0.05).clamp(min=0).sum((2, 3))[0, 0]
        # A little more than half of the lamp's disk lies within the frame.
        within = disk_beyond(torch.tensor(-0.5), torch.tensor(6.0))
        assert float(light) == pytest.approx(20 * float(within), rel=0.05)

    def test_white_goes_on_beyond_the_frame_however_dark_the_rest(self):
        image = torch.full((1, 3, 48, 96), 0.01)
        image[..., 84:] = 1.0
        layers = DefocusLayers(torch.ones(1, 1, 1, 48, 96), torch.full((1, 1, 1, 48, 96), -6.0))
        assert render(image, layers)[..., -1].amin() > 0.99

    def test_highlights_are_recovered_out_of_focus_only(self):
        image = torch.full((1, 3, 41, 61), 0.1)
        image[..., 20, [15, 45]] = 1
        disparity = left_half(41, 61, at=30)
        layers = fuse_layers(disparity, focus=1.0, strength=5.0, image=image, layers=None)
        plain, bright = (composite(image, layers, highlights=gain) for gain in (None, 20.0))
        assert torch.allclose(plain[..., :25], bright[..., :25], atol=1e-3)
        assert plain[0, 0, 20, 15] == pytest.approx(1, abs=1e-3)
        assert bright[0, 0, 20, 45] > 1.5 * plain[0, 0, 20, 45]

    @pytest.mark.parametrize("gain", [0.5, math.inf, math.nan])
    def test_bad_highlights_are_named(self, gain):
        layers = DefocusLayers(torch.ones(1, 1, 1, 4, 4), torch.zeros(1, 1, 1, 4, 4))
        with pytest.raises(ValueError, match="highlights must be a finite number, at least 1"):
            composite(rand(1, 3, 4, 4), layers, highlights=gain)

    @pytest.mark.parametrize("slices", [None, 6])
    def test_a_lamp_beside_a_near_edge_is_not_repeated_behind_it(self, slices):
        near = left_half(40, 64)
        image = torch.full((1, 3, 40, 64), 0.1)
        image[..., 20, 32] = 100.0  # sharp, the first pixel right of the blurred near half
        layers = fuse_layers(None, near, focus=0.0, strength=6.0, image=image, gamma="linear", layers=None)
        rendered = render(image, layers, slices=slices)[0, 0]
        seen = 1 - disk_beyond(torch.tensor(0.5), torch.tensor(6.0))
        assert rendered[20, 32] == pytest.approx(100 * float(seen), rel=0.05)
        rendered[20, 32] = 0.1
        assert rendered.max() < 0.15

    @pytest.mark.parametrize("slices", [None, 6])
    def test_a_lamp_a_thousand_times_as_bright_leaves_no_streaks(self, slices):
        image = torch.full((1, 3, 64, 64), 0.1)
        image[..., 32, 32] = 1e3
        defocus = (-6 + 0.05 * (torch.arange(64.0) - 32)).expand(1, 1, 64, 64)
        layers = fuse_layers(defocus, focus=0.0, strength=1.0, image=image, gamma="linear", layers=None)
        rendered = render(image, layers, slices=slices)[0, 0]
        y, x = torch.meshgrid(torch.arange(64) - 32, torch.arange(64) - 32, indexing="ij")
        distance = torch.sqrt((x * x + y * y).float())
        assert rendered.isfinite().all()
        assert (rendered[distance > 7.5] - 0.1).abs().max() < 1e-3
        disk = rendered[distance < 5]
        assert disk.min() > 0.95 * 1e3 / (math.pi * 36)
        assert disk.max() < 1.05 * 1e3 / (math.pi * 36) + 0.2


class TestMaxRadius:
    """Radii up to 12 px, cut or not."""

    @pytest.fixture
    def scene(self):
        random = torch.Generator().manual_seed(2)
        image, disparity = (torch.rand(1, c, 40, 48, generator=random) for c in (3, 1))
        return [image, disparity.sort(3).values.requires_grad_()]

    @pytest.mark.parametrize("quality", ["fast", "default", "exact"])
    def test_what_is_beyond_is_cut(self, scene, quality):
        image, disparity = (values.detach() for values in scene)
        renderer, largest = BokehRenderer(quality=quality), 15 * float((disparity - 0.2).abs().max())
        render = partial(renderer, image, disparity, focus=0.2, strength=15.0)
        whole = render()
        torch.testing.assert_close(render(max_radius=largest), whole)
        assert (render(max_radius=4.0) - whole).abs().max() > 0.05

    def test_layers_are_cut(self, scene):
        image, disparity = scene
        layers = fuse_layers(disparity, focus=0.2, strength=15.0, layers=None)
        defocus = layers.defocus.detach().requires_grad_()
        layers, cut = (DefocusLayers(layers.alpha.detach(), d) for d in (defocus, defocus.clamp(-4, 4)))
        picture = composite(image, layers, slices=4, max_radius=4.0)
        torch.testing.assert_close(picture, composite(image, cut, slices=4))
        (gradient,) = torch.autograd.grad(picture.square().sum(), defocus)
        assert gradient[defocus.abs() > 4].abs().max() == 0
        assert gradient[defocus.abs() < 4].abs().max() > 0

    @pytest.mark.filterwarnings("ignore")  # torch's own
    def test_compiles_in_one_piece(self, scene):
        torch._dynamo.reset()
        image, disparity = scene
        renderer = BokehRenderer(layers=3)
        compiled = torch.compile(renderer, fullgraph=True, backend="aot_eager")
        found, expected = [], []
        for run, results in ((renderer, expected), (compiled, found)):
            picture = run(image, disparity, focus=0.2, strength=15.0, max_radius=12.0)
            results += [picture.detach(), *torch.autograd.grad(picture.square().sum(), disparity)]
        for value, other in zip(found, expected, strict=True):
            assert (value - other).norm() < 1e-4 * other.norm()

    @pytest.mark.parametrize("quality", ["fast", "default"])
    @pytest.mark.parametrize("bad", [-1.0, math.inf, math.nan])
    def test_bad_ones_are_named(self, scene, quality, bad):
        with pytest.raises(ValueError, match="max_radius must be finite and not negative"):
            BokehRenderer(quality=quality)(*scene, strength=1.0, max_radius=bad)


class TestErrors:
    def test_image_of_another_size(self):
        layers = DefocusLayers(torch.ones(1, 2, 1, 8, 9), torch.zeros(1, 2, 1, 8, 9))
        with pytest.raises(ValueError, match=r"image must be \(1, 3, 8, 9\) floating point"):
            composite(rand(1, 3, 9, 8), layers)

    def test_image_of_integers(self):
        layers = DefocusLayers(torch.ones(1, 2, 1, 8, 9), torch.zeros(1, 2, 1, 8, 9))
        with pytest.raises(ValueError, match=r"image must be .* floating point"):
            composite(torch.zeros(1, 3, 8, 9, dtype=torch.uint8), layers)

    def test_no_slices(self):
        layers = DefocusLayers(torch.ones(1, 2, 1, 8, 9), torch.zeros(1, 2, 1, 8, 9))
        with pytest.raises(ValueError, match="count must be at least 1, got 0"):
            composite(rand(1, 3, 8, 9), layers, slices=0)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"quality": "best"}, "quality must be one of fast, default, exact, got 'best'"),
            ({"layers": 0}, "layers must be at least 1, got 0"),
        ],
    )
    def test_settings_of_the_renderer(self, options, message):
        with pytest.raises(ValueError, match=message):
            BokehRenderer(**options)


def test_layers_come_closer_to_traced_scenes_than_one_scatter():
    gains = []
    for seed in range(3):
        pair = deepen(random_scene(seed, (96, 144))).render()
        radius = pair.defocus.abs()
        light, weight = (scatter_blur(x, radius) for x in (pair.all_in_focus, torch.ones_like(radius)))
        layered = BokehRenderer(gamma="linear")(pair.all_in_focus, pair.defocus, focus=0.0, strength=1.0)
        # A scene is drawn no farther beyond the frame than its own lens sees.
        errors = [
            float((x.clamp(0, 1) - pair.bokeh.clamp(0, 1))[..., 6:-6, 6:-6].square().mean())
            for x in (light / weight, layered)
        ]
        gains.append(10 * math.log10(errors[0] / errors[1]))
    assert sum(gains) / len(gains) > 1
    assert min(gains) > -1  # where hair finer than a pixel is in front, one blur may come closer


class TestGradients:
    def test_wrong_gradient_is_noticed(self):
        """By what the others are checked with: of one value among eighty, by a hundredth."""
        image, wrong = rand(1, 1, 8, 10, dtype=torch.float64), torch.ones(1, 1, 8, 10)
        check_gradients(torch.sin, [image])
        wrong[..., 3, 4] = 1.01
        with pytest.raises(AssertionError, match="not close"):
            check_gradients(lambda x: torch.sin(x.detach() + wrong * (x - x.detach())), [image])

    @pytest.mark.parametrize("with_mask", [True, False])
    def test_gradcheck_to_everything(self, with_mask):
        # Two smooth surfaces with a step between; every defocus lies within 0.6 and 3 px, as below half a pixel a
        # kernel is a point and at 0 the radius has a kink. The mask is nowhere 1/2, where surfaces change places.
        near = torch.zeros(1, 1, 8, 10, dtype=torch.float64)
        near[..., 2:7, 3:8] = 1
        disparity = 0.2 + 0.45 * near + 0.1 * smooth_field(8, 10, 1, seed=5)
        image = 0.25 + 0.5 * smooth_field(8, 10, 3, seed=6)
        mask = 0.1 + 0.6 * near + 0.2 * smooth_field(8, 10, 1, seed=7)
        focus, strength = (torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in (0.9, 4.0))
        renderer = BokehRenderer(gamma=2.2, layers=4)

        def run(image, disparity, focus, strength, mask=None):
            return renderer(image, disparity, mask, focus=focus, strength=strength)

        check_gradients(run, [image, disparity, focus, strength, *([mask] if with_mask else [])])

    def test_gradcheck_to_the_mask_alone(self):
        mask, image = 0.1 + 0.8 * smooth_field(8, 10, 1, seed=8), 0.25 + 0.5 * smooth_field(8, 10, 3, seed=6)
        renderer = BokehRenderer(gamma=2.2, layers=4)
        check_gradients(lambda x, m: renderer(x, None, m, strength=3.0), [image, mask])

    @pytest.mark.parametrize("gamma", ["srgb", 2.2])
    @pytest.mark.parametrize("binary", [True, False])
    def test_gradients_are_finite_and_where_they_matter(self, gamma, binary):
        mask = blob(48, 64)
        mask = (mask > 0.5).float() if binary else 0.05 + 0.9 * mask
        leaves = {
            "image": rand(1, 3, 48, 64).round(decimals=1),  # black and white too
            "disparity": 0.2 + 0.5 * blob(48, 64, right=3),
            "mask": mask,
            "focus": torch.tensor(0.6),
            "strength": torch.tensor(12.0),
        }
        for leaf in leaves.values():
            leaf.requires_grad_()
        image, disparity, mask, focus, strength = leaves.values()
        renderer = BokehRenderer(gamma=gamma, highlights=4.0)
        renderer(image, disparity, mask, focus=focus, strength=strength).square().mean().backward()
        for name, leaf in leaves.items():
            assert leaf.grad.isfinite().all(), name
            assert leaf.grad.abs().sum() > 0, name
        border = (blob(48, 64, grow=1.5) - blob(48, 64, grow=-1.5)) > 0
        assert (mask.grad[border] != 0).float().mean() > 0.9
        assert (image.grad != 0).float().mean() > 0.9


class TestRecovery:
    """From the picture of a lens back to what was wrong."""

    def descend(self, render, target, start, *, rate, steps):
        leaf = start.clone().requires_grad_()
        adam = torch.optim.Adam([leaf], lr=rate)
        for _ in range(steps):
            adam.zero_grad()
            (render(leaf) - target).abs().mean().backward()
            adam.step()
        return leaf.detach()

    @pytest.mark.parametrize(
        "wrong",
        [blob(right=4), F.avg_pool2d(F.pad(blob(grow=3), (4,) * 4), 9, 1)],
        ids=["shifted", "grown and blurred"],
    )
    def test_mask(self, wrong):
        image, true = textured(), (blob() > 0.5).float()
        renderer = BokehRenderer(layers=2)

        def run(mask):
            return renderer(image, None, mask, strength=8.0)

        assert overlap(wrong, true) < 0.85
        with torch.no_grad():
            target = run(true)
        start = wrong.clamp(0.1, 0.9).logit()
        found = self.descend(lambda logits: run(logits.sigmoid()), target, start, rate=0.3, steps=45)
        assert overlap(found.sigmoid(), true) > 0.97

    def test_scale_and_shift_of_disparity(self):
        image, true = textured(), blob()
        y = torch.linspace(0, 1, 64)[:, None]
        disparity = 0.6 * true + 0.3 * y * (1 - true)
        renderer = BokehRenderer(layers=4)

        def run(scale_and_shift):
            scale, shift = scale_and_shift
            return renderer(image, scale * disparity + shift, focus=0.6, strength=10.0)

        with torch.no_grad():
            target = run(torch.tensor([1.0, 0.0]))
        found = self.descend(run, target, torch.tensor([0.6, 0.15]), rate=0.02, steps=60)
        assert found.tolist() == pytest.approx([1.0, 0.0], abs=0.02)
