"""Scenes traced through the lens: against closed forms, the blur operator and brute force; what is written of them."""

from __future__ import annotations

import json
import math

import pytest
import torch
from test_cli import failure, run

from depthbokeh import Aperture, scatter_blur
from depthbokeh.data import Layer, Scene, coarsen_disparity, random_scene
from depthbokeh.photo import read_map, read_photo

SHAPES = [
    "disk",
    "gaussian",
    "polygon:5",
    "polygon:6:10:0.4",
    "ring:0.5",
    "cat_eye:0.6",
    "cat_eye:0.5:30",
    "ellipse:2:40",
]


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def smooth_picture(height, width, generator):
    """Detail at several scales, (3, H, W)."""
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=generator)
    enlarged = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return 0.8 * enlarged + 0.2 * torch.rand(3, height, width, generator=generator)


def psnr(result, expected):
    return -10 * math.log10(float((result - expected).square().mean()))


def full_layer(color, disparity=0.0, **options):
    return Layer(color, torch.ones(1, *color.shape[1:]), disparity, **options)


def single(color, defocus):
    """One upright plane of the frame's size with a constant defocus."""
    return Scene((full_layer(color, defocus),), tuple(color.shape[1:]), focus=0.0, strength=1.0)


class TestSample:
    @pytest.mark.parametrize("name", SHAPES)
    def test_points_fill_the_shape_evenly(self, name):
        radius, half = 9.0, 16
        cells = (Aperture.parse(name).sample(20000) * radius).round().long() + half
        counts = torch.zeros(2 * half + 1, 2 * half + 1).index_put_((cells[:, 1], cells[:, 0]), torch.ones(20000), True)
        point = torch.zeros(1, 1, 2 * half + 1, 2 * half + 1)
        point[..., half, half] = 1
        expected = scatter_blur(point, torch.full_like(point, radius), name)[0, 0]
        assert float((counts / 20000 - expected).abs().sum()) / 2 < 0.03

    def test_count_is_checked(self):
        with pytest.raises(ValueError, match="count must be at least 1, got 0"):
            Aperture.disk().sample(0)


class TestRays:
    @pytest.mark.parametrize("name", ["disk", "polygon:5", "ring:0.5", "gaussian"])
    @pytest.mark.parametrize("radius", [2.3, 7.0])
    def test_one_plane_in_front_is_the_blur_operator(self, name, radius, generator):
        picture = smooth_picture(64, 96, generator)
        bokeh = single(picture, radius).render(name, samples=1024).bokeh
        expected = scatter_blur(picture[None], torch.full((1, 1, 64, 96), radius), name)
        assert psnr(bokeh, expected) > 45

    def test_behind_the_focus_the_aperture_is_upside_down(self, generator):
        picture = smooth_picture(64, 96, generator)
        bokeh = single(picture, -7.0).render("polygon:3", samples=1024).bokeh
        radius = torch.full((1, 1, 64, 96), 7.0)
        upright, turned = (scatter_blur(picture[None], radius, f"polygon:3:{turn}") for turn in (0, 180))
        assert psnr(bokeh, turned) > 45
        assert psnr(bokeh, upright) < 40

    @pytest.mark.parametrize("name", ["disk", "polygon:3", "ring:0.4"])
    def test_point_of_light_shows_the_aperture(self, name):
        radius, size = 12.0, 65
        light = torch.zeros(3, size, size)
        light[:, 32, 32] = 1000.0
        spot = single(light, radius).render(name, samples=8192).bokeh[0, 0]
        assert float(spot.sum()) == pytest.approx(1000, rel=1e-4)
        shown = spot > 500 / (math.pi * radius**2)
        assert int(shown.sum()) == pytest.approx(math.pi * radius**2, rel=0.04)
        outline = scatter_blur(light[None, :1], torch.full((1, 1, size, size), radius), name)[0, 0]
        expected = outline > 500 / (math.pi * radius**2)
        assert float((shown & expected).sum() / (shown | expected).sum()) > 0.93

    def test_few_rays_leave_no_gaps_in_a_point_of_light(self):
        light = torch.zeros(3, 65, 65)
        light[:, 32, 32] = 1.0
        spot = single(light, 14.0).render(samples=96).bokeh[0, 0]
        y, x = torch.meshgrid(torch.arange(65) - 32, torch.arange(65) - 32, indexing="ij")
        assert float(spot[x**2 + y**2 < 12**2].min()) > 0
        assert float(spot.sum()) == pytest.approx(1, rel=1e-4)

    def test_what_is_in_focus_comes_out_as_it_went_in(self, generator):
        picture = smooth_picture(40, 56, generator)
        scene = Scene((full_layer(torch.rand(3, 40, 56)), full_layer(picture, 0.7)), (40, 56), focus=0.7, strength=30.0)
        pair = scene.render(samples=64)
        assert torch.allclose(pair.bokeh[0], picture, atol=1e-5)
        assert torch.allclose(pair.all_in_focus[0], picture, atol=1e-6)

    def test_edge_in_front_of_the_focus_is_seen_through(self):
        """A ray misses a half-plane at the distance t with the share of the disk beyond a chord at t / r."""
        radius, edge, width = 10.0, 40, 80
        wall = full_layer(torch.ones(3, 16, width + 40), origin=(-20, 0))
        screen = full_layer(torch.zeros(3, 60, 60), 1.0, origin=(edge, -22))
        scene = Scene((wall, screen), (16, width), focus=0.0, strength=radius)
        seen = scene.render(samples=4000).bokeh[0, 0, 8]
        t = ((edge - 0.5 - torch.arange(width)) / radius).clamp(-1, 1)
        expected = 1 - (torch.acos(t) - t * (1 - t**2).sqrt()) / math.pi
        assert torch.allclose(seen, expected, atol=0.01)
        assert 0.2 < float(seen[edge + 3]) < 0.5  # behind the edge, where a pinhole sees the screen alone

    def test_light_from_beyond_the_frame_and_none_lost(self, generator):
        picture = torch.full((3, 32 + 24, 48 + 24), 0.4)
        scene = Scene((full_layer(picture, 1.0, origin=(-12, -12)),), (32, 48), focus=0.0, strength=9.0)
        bokeh = scene.render(samples=200).bokeh
        assert torch.allclose(bokeh, torch.full_like(bokeh, 0.4), atol=1e-5)

    def test_slanted_planes_against_brute_force(self, generator):
        size, lens = (20, 28), Aperture.parse("polygon:5").sample(64)
        ground = Layer(torch.rand(3, 40, 48, generator=generator), torch.ones(1, 40, 48), -1.0, (0.04, 0.1), (-10, -10))
        flap_alpha = torch.rand(1, 12, 14, generator=generator)
        flap = Layer(torch.rand(3, 12, 14, generator=generator), flap_alpha, 0.5, (-0.03, 0.07), (6, 4))
        scene = Scene((ground, flap), size, focus=0.4, strength=1.3)
        bokeh = scene.render("polygon:5", samples=64).bokeh[0]
        expected = torch.zeros(3, *size)
        for y in range(size[0]):
            for x in range(size[1]):
                for u in lens.tolist():
                    expected[:, y, x] += follow_ray(scene, x, y, u) / len(lens)
        # Rays that end on the border of two pixels may fall to either side.
        assert float((bokeh - expected).abs().mean()) < 1e-4
        assert float((bokeh - expected).abs().max()) < 1.1 / 64

    def test_truth_of_the_pinhole(self):
        wall = full_layer(torch.ones(3, 10, 12), 0.1)
        ball = Layer(torch.zeros(3, 4, 4), torch.full((1, 4, 4), 0.8), 0.5, origin=(2, 2))
        haze = Layer(torch.zeros(3, 4, 4), torch.full((1, 4, 4), 0.3), 0.9, origin=(4, 2))
        pair = Scene((wall, ball, haze), (10, 12), focus=0.5, strength=10.0, subject=1).render()
        assert pair.disparity[0, 0, 3, [0, 3, 5, 7]].tolist() == pytest.approx([0.1, 0.5, 0.5, 0.1])
        assert pair.defocus[0, 0, 3, [0, 3]].tolist() == pytest.approx([-4.0, 0.0], abs=1e-5)
        assert pair.mask[0, 0, 3, [0, 3, 5, 7]].tolist() == pytest.approx([0.0, 0.8, 0.56, 0.0])
        assert pair.occlusion[0, 0, 3, [0, 3, 5, 7]].tolist() == pytest.approx([0.0, 0.0, 0.3, 0.3])
        assert float(pair.all_in_focus[0, 0, 3, 5]) == pytest.approx(0.2 * 0.7)

    def test_bad_input_is_named(self):
        wall = full_layer(torch.ones(3, 8, 8))
        with pytest.raises(ValueError, match=r"color and alpha must be .* got \(3, 8, 8\) and \(1, 4, 8\)"):
            Layer(torch.ones(3, 8, 8), torch.ones(1, 4, 8), 0.0)
        with pytest.raises(ValueError, match="subject must be one of 1 layers, got 1"):
            Scene((wall,), (8, 8), 0.0, 1.0, subject=1)
        steep = full_layer(torch.ones(3, 8, 8), slope=(0.0, 1.0))
        with pytest.raises(ValueError, match="slope must let the plane clear the lens"):
            Scene((steep,), (8, 8), 0.0, 1.0).render()
        with pytest.raises(ValueError, match="count must be at least 1"):
            Scene((wall,), (8, 8), 0.0, 1.0).render(samples=0)


def follow_ray(scene, x, y, u):
    """Finds where a ray meets every plane by iteration, and composites front to back; (3,)."""
    light, through = torch.zeros(3), 1.0
    for layer in reversed(scene.layers):
        at_x, at_y = float(x), float(y)
        for _ in range(60):
            disparity = layer.disparity + layer.slope[0] * at_x + layer.slope[1] * at_y
            defocus = scene.strength * (disparity - scene.focus)
            at_x, at_y = x - u[0] * defocus, y - u[1] * defocus
        column, row = round(at_x) - layer.origin[0], round(at_y) - layer.origin[1]
        if 0 <= row < layer.alpha.shape[1] and 0 <= column < layer.alpha.shape[2]:
            alpha = float(layer.alpha[0, row, column])
            light = light + through * alpha * layer.color[:, row, column]
            through *= 1 - alpha
    return light


class TestRandomScene:
    def test_same_seed_same_scene(self):
        first, again, other = (random_scene(seed, (48, 72)).render(samples=8) for seed in (3, 3, 4))
        assert torch.equal(first.bokeh, again.bokeh)
        assert torch.equal(first.disparity, again.disparity)
        assert not torch.equal(first.bokeh, other.bokeh)

    @pytest.mark.parametrize("seed", range(6))
    def test_scene_is_what_it_promises(self, seed):
        scene = random_scene(seed, (64, 96), photos=seed % 2 == 0)
        assert 4 / 16 * 0.99 <= scene.largest_radius() <= 40 / 16 * 1.01
        pair = scene.render(samples=16)
        for picture in (pair.all_in_focus, pair.bokeh):
            assert bool(picture.isfinite().all())
            assert float(picture.min()) >= 0
        # The backdrop is opaque and goes on beyond the frame.
        backdrop = scene.layers[0]
        reach = math.ceil(scene.largest_radius()) + 1
        assert backdrop.origin[0] <= -reach
        assert backdrop.origin[1] <= -reach
        assert float(backdrop.alpha.min()) == 1
        assert 0.01 < float(pair.mask.mean()) < 0.9
        depths = [layer.disparity for layer in scene.layers if layer.slope == (0.0, 0.0)]
        assert depths == sorted(depths)

    def test_pictures_are_neither_noise_nor_blank(self):
        pair = random_scene(4, (64, 96)).render(samples=32)
        assert float(pair.all_in_focus.std()) > 0.02
        assert 10 < psnr(pair.bokeh.clamp(0, 1), pair.all_in_focus.clamp(0, 1)) < 45

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
            random_scene(-1)
        with pytest.raises(ValueError, match="size must be at least 32 x 32, got 96 x 16"):
            random_scene(0, (16, 96))


class TestCoarseDisparity:
    @pytest.fixture
    def scene(self):
        """Background, a broad subject, a thin pole."""
        disparity = torch.full((1, 1, 96, 144), 0.1)
        disparity[..., 30:80, 40:100] = 0.6
        disparity[..., :, 120:122] = 0.9
        return disparity

    @pytest.mark.parametrize("seed", range(4))
    def test_order_is_kept_and_an_affine_fit_recovers_the_map(self, scene, seed):
        coarse = coarsen_disparity(scene, torch.Generator().manual_seed(seed))
        assert coarse.shape == scene.shape
        assert 0 <= float(coarse.min()) < float(coarse.max()) <= 1
        assert float(coarse[..., 45:65, 55:85].min()) > float(coarse[..., :, :20].max())
        matrix = torch.stack([coarse.flatten(), torch.ones(coarse.numel())], 1)
        fit = matrix @ torch.linalg.lstsq(matrix, scene.flatten()[:, None]).solution
        left = (fit.flatten() - scene.flatten()).square().mean() / scene.var()
        assert 0.01 < float(left) < 0.45

    def test_thin_things_are_lost_and_edges_soft(self, scene, generator):
        coarse = coarsen_disparity(scene, generator, drift=0.0)
        span = float(coarse.max() - coarse.min())
        assert float(coarse[..., 5:20, 121].mean() - coarse[..., 5:20, 135].mean()) < 0.1 * span
        assert float(coarse.diff(dim=3).abs().max()) < 0.35 * span

    def test_generator_decides(self, scene):
        first, again, other = (coarsen_disparity(scene, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_bad_input_is_named(self, generator):
        with pytest.raises(ValueError, match=r"disparity must be \(B, 1, H, W\)"):
            coarsen_disparity(torch.ones(8, 8), generator)
        with pytest.raises(ValueError, match="reduction must be two factors"):
            coarsen_disparity(torch.ones(1, 1, 8, 8), generator, reduction=(0.5, 2.0))


class TestCommand:
    def synthesize(self, out, *options):
        return run("synthesize", "--out", out, "--size", "48x32", "--samples", "9", *options)

    def contents(self, out):
        return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}

    def test_writes_pairs_resumes_and_does_not_depend_on_workers(self, tmp_path):
        one, two = tmp_path / "one", tmp_path / "two"
        assert self.synthesize(one, "--pairs", "2", "--workers", "1").exit_code == 0
        before = self.contents(one)
        result = self.synthesize(one, "--pairs", "3", "--workers", "1")
        assert "1 pairs written, 2 were there" in result.output
        after = self.contents(one)
        assert all(after[path] == before[path] for path in before if path.name != "manifest.jsonl")
        assert self.synthesize(two, "--pairs", "3", "--workers", "2").exit_code == 0
        assert self.contents(two) == after

        folder = one / "Training"
        sharp, bokeh = (read_photo(folder / kind / "2.jpg") for kind in ("original", "bokeh"))
        assert sharp.image.shape == bokeh.image.shape == (1, 3, 32, 48)
        exact, coarse = (read_map(folder / kind / "2.png") for kind in ("disparity", "coarse_disparity"))
        mask = read_map(folder / "mask" / "2.png")
        records = [json.loads(line) for line in (one / "manifest.jsonl").read_text().splitlines()]
        assert [record["id"] for record in records] == [0, 1, 2]
        assert records[2]["aperture"] == "disk"
        scene = random_scene(records[2]["scene_seed"], (32, 48))
        truth = scene.render(samples=9)
        assert records[2]["strength"] == pytest.approx(scene.strength)
        assert records[2]["focus"] == pytest.approx(scene.focus)
        assert torch.allclose(exact * records[2]["disparity_scale"], truth.disparity, atol=1e-4)
        assert torch.allclose(mask, truth.mask, atol=0.01)
        assert coarse.shape == exact.shape

    def test_incomplete_pair_is_made_again(self, tmp_path):
        self.synthesize(tmp_path, "--pairs", "1", "--workers", "1")
        before = self.contents(tmp_path)
        (tmp_path / "Training" / "bokeh" / "0.jpg").unlink()
        assert "1 pairs written" in self.synthesize(tmp_path, "--pairs", "1", "--workers", "1").output
        assert self.contents(tmp_path) == before

    def test_folder_of_another_recipe_is_refused(self, tmp_path):
        self.synthesize(tmp_path, "--pairs", "1", "--workers", "1")
        options = ("--out", tmp_path, "--size", "48x32", "--samples", "9", "--pairs", "1")
        assert "made with seed 0, not 5" in failure("synthesize", *options, "--seed", "5")

    def test_bad_input_is_named(self, tmp_path):
        assert "size must be WxH" in failure("synthesize", "--out", tmp_path, "--size", "big")
        assert "size must be at least 32x32" in failure("synthesize", "--out", tmp_path, "--size", "8x8")
        assert "aperture must be one of" in failure("synthesize", "--out", tmp_path, "--aperture", "star")
        (tmp_path / "file").write_text("")
        assert "cannot be made" in failure("synthesize", "--out", tmp_path / "file" / "out", "--size", "48x32")
