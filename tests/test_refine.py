"""Coarse disparity against the one it was made from."""

import subprocess
import sys

import pytest
import torch

from depthbokeh import refine_disparity
from depthbokeh.color import linear_to_srgb
from depthbokeh.data import coarsen_disparity, random_scene
from depthbokeh.pipeline import BokehPipeline


def rand(*shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def circle(height=96, width=128, radius=30.0):
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return ((x - width / 2) ** 2 + (y - height / 2) ** 2 < radius**2).float()[None, None]


def photograph(mask, seed=0):
    """Two materials with some texture, sRGB."""
    near, far = torch.tensor([0.8, 0.3, 0.2]).view(1, 3, 1, 1), torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    return (mask * near + (1 - mask) * far + 0.06 * (rand(1, 3, *mask.shape[2:], seed=seed) - 0.5)).clamp(0, 1)


def soften(disparity, reach):
    padded = torch.nn.functional.pad(disparity, (reach,) * 4, mode="replicate")
    return torch.nn.functional.avg_pool2d(padded, 2 * reach + 1, 1)


def fit_range(disparity, truth):
    """Scale and shift that bring one nearest to the other: coarse disparity has none of its own."""
    columns = torch.stack([disparity.flatten(), torch.ones(disparity.numel())], 1)
    return (columns @ torch.linalg.lstsq(columns, truth.flatten()[:, None]).solution).view_as(truth)


def error(disparity, truth):
    return float((disparity - truth).abs().mean())


class TestRefineDisparity:
    @pytest.mark.parametrize("shift", [0, 3])
    @pytest.mark.parametrize("reach", [2, 4])
    def test_soft_and_misplaced_edges_come_closer(self, shift, reach):
        truth = circle()
        coarse = soften(truth, 3).roll(shift, 3)
        refined = refine_disparity(coarse, photograph(truth), reach=reach)
        # Both the disparity and where it says the edge is.
        assert error(refined, truth) < (0.5 if reach > shift else 0.8) * error(coarse, truth)
        wrong = ((refined > 0.5) != (truth > 0.5)).sum()
        assert wrong < 0.25 * max(((coarse > 0.5) != (truth > 0.5)).sum(), 40) + (200 if reach < shift else 0)

    def test_coarse_disparity_of_made_up_scenes_comes_closer(self):
        before, after = [], []
        for seed in range(4):
            pair = random_scene(seed, (128, 192)).render(samples=1)
            coarse = coarsen_disparity(pair.disparity, torch.Generator().manual_seed(seed), drift=0.0)
            coarse = fit_range(coarse, pair.disparity)
            refined = refine_disparity(coarse, linear_to_srgb(pair.all_in_focus).clamp(0, 1))
            before.append(error(coarse, pair.disparity))
            after.append(error(refined, pair.disparity))
        assert sum(after) < 0.9 * sum(before)

    def test_constant_stays(self):
        disparity = torch.full((1, 1, 40, 60), 0.3)
        assert torch.allclose(refine_disparity(disparity, rand(1, 3, 40, 60)), disparity, atol=1e-6)

    def test_picture_without_edges_moves_nothing_far(self):
        slope = torch.linspace(0, 1, 60).expand(1, 1, 40, 60)
        refined = refine_disparity(slope, torch.full((1, 3, 40, 60), 0.5))
        assert (refined - slope)[..., 8:-8].abs().max() < 0.01

    def test_range_and_unit_are_kept(self):
        mask = circle()
        photo, coarse = photograph(mask), soften(mask, 3)
        refined = refine_disparity(coarse, photo)
        assert 0 <= refined.min() <= refined.max() <= 1
        assert torch.allclose(refine_disparity(5 - 20 * coarse, photo), 5 - 20 * refined, atol=1e-4)

    def test_batches_equal_single_pictures(self):
        disparity, photo = soften(rand(2, 1, 33, 47), 3), rand(2, 3, 33, 47)
        both = refine_disparity(disparity, photo)
        for i in range(2):
            single = refine_disparity(disparity[i, None], photo[i, None])
            assert torch.allclose(both[i, None], single, atol=1e-5)

    def test_half_precision_is_kept(self):
        refined = refine_disparity(rand(1, 1, 24, 32).half(), rand(1, 3, 24, 32).half())
        assert refined.dtype == torch.float16
        assert refined.isfinite().all()

    def test_gradcheck(self):
        disparity = rand(1, 1, 6, 8, dtype=torch.float64).requires_grad_()
        photo = (0.5 + 0.05 * rand(1, 3, 6, 8, seed=1, dtype=torch.float64)).requires_grad_()
        assert torch.autograd.gradcheck(lambda d, p: refine_disparity(d, p, reach=4), (disparity, photo))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((rand(1, 24, 32), rand(1, 3, 24, 32)), "disparity must be"),
            ((rand(1, 1, 24, 32), rand(1, 1, 24, 32)), "image must be"),
            ((rand(1, 1, 24, 32), rand(1, 3, 24, 30)), "image must be"),
        ],
    )
    def test_bad_shapes_are_named(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            refine_disparity(*arguments)

    @pytest.mark.parametrize("reach", [0.5, 33, float("nan")])
    def test_bad_reach_is_named(self, reach):
        with pytest.raises(ValueError, match="reach must be"):
            refine_disparity(rand(1, 1, 24, 32), rand(1, 3, 24, 32), reach=reach)


def test_pipeline_hands_the_refined_disparity_on():
    mask = circle()
    photo, coarse = photograph(mask), soften(mask, 3)
    rendering = BokehPipeline(refine=True)(photo, coarse, strength=3.0, focus=1.0)
    assert torch.equal(rendering.disparity, refine_disparity(coarse, photo))
    assert not torch.equal(rendering.bokeh, BokehPipeline()(photo, coarse, strength=3.0, focus=1.0).bokeh)


def test_kornia_is_loaded_by_those_who_refine_only():
    code = "import sys, depthbokeh.refine, depthbokeh.pipeline; sys.exit('kornia' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
