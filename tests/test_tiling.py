"""Tiles: what they agree on is joined without seams, what only one of them says does not reach the map."""

from itertools import pairwise

import pytest
import torch

from depthbokeh.models.depth import MegaDepth
from depthbokeh.models.depth.base import DepthModel
from depthbokeh.models.masks.base import MaskModel
from depthbokeh.models.tiling import TiledModel, _cut, predict_tiled


def make_scene(height=96, width=160):
    """A smooth layout with a step and fine texture, the same in all channels, (1, 3, H, W), 0..1."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    layout = 0.2 + 0.3 * y + 0.2 * (3 * x).sin() + 0.15 * (x > 0.6)
    texture = 0.03 * torch.sin(torch.arange(width) * 1.3) * torch.sin(torch.arange(height) * 1.1)[:, None]
    return (layout + texture).expand(1, 3, height, width).contiguous()


class Wayward:
    """Returns the photo's brightness, each time with another scale and shift."""

    def __init__(self, shift=True, seed=0):
        self.generator = torch.Generator().manual_seed(seed)
        self.shift = shift
        self.sizes = []

    def __call__(self, photo):
        self.sizes.append(tuple(photo.shape[2:]))
        scale, shift = (torch.rand(len(photo), 1, 1, 1, generator=self.generator) for _ in range(2))
        values = photo.mean(1, keepdim=True)
        if len(self.sizes) == 1:
            return values
        return values * (0.3 + 3 * scale) + (5 * shift - 2 if self.shift else 0)


def find_seams(values):
    """Largest second difference along either axis: a step between tiles would show."""
    return max(values.diff(n=2, dim=axis).abs().max().item() for axis in (2, 3))


class TestJoining:
    @pytest.mark.parametrize(("align", "shift"), [("scale_and_shift", True), ("scale", False)])
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_wayward_tiles_become_one_seamless_map(self, align, shift, seed):
        scene = torch.cat([make_scene(), make_scene().flip(3)])
        truth = scene.mean(1, keepdim=True)
        model = Wayward(shift, seed)
        joined = predict_tiled(model, scene, align, size=64)
        coarse = torch.nn.functional.interpolate(scene, model.sizes[0], mode="bilinear", antialias=True)
        blurred = torch.nn.functional.interpolate(coarse, (96, 160), mode="bilinear", antialias=True).mean(1, True)
        error = (joined - truth).abs()
        assert error.mean() < 0.3 * (blurred - truth).abs().mean()  # the tiles' detail is there
        assert error.max() < 0.04
        assert find_seams(joined - truth) < 0.01

    def test_without_alignment_the_same_tiles_have_other_levels(self):
        """The test above can fail."""
        scene = make_scene()
        joined = predict_tiled(Wayward(), scene, "none", size=64)
        assert (joined - scene.mean(1, keepdim=True)).abs().max() > 0.04

    @pytest.mark.parametrize("align", ["scale_and_shift", "scale", "none"])
    def test_exact_tiles_stay_exact_where_the_whole_is_exact(self, align):
        """A ramp is the same at all sizes, but for its ends."""
        ramp = torch.linspace(0.1, 0.9, 160).expand(1, 3, 96, 160)
        joined = predict_tiled(lambda part: part.mean(1, keepdim=True), ramp, align, size=64)
        torch.testing.assert_close(joined[..., 3:-3], ramp[:, :1, :, 3:-3], atol=2e-3, rtol=0)

    def test_a_mask_gets_the_tiles_edge(self):
        y, x = torch.meshgrid(torch.arange(160.0), torch.arange(160.0), indexing="ij")
        disc = ((x - 80).hypot(y - 85) < 40).float().expand(1, 3, 160, 160)
        joined = predict_tiled(lambda part: part.mean(1, keepdim=True), disc, "none", size=64)
        reduced = torch.nn.functional.interpolate(disc[:, :1], (64, 64), mode="bilinear", antialias=True)
        blurred = torch.nn.functional.interpolate(reduced, (160, 160), mode="bilinear", antialias=True)
        assert (joined - disc[:, :1]).abs().mean() < 0.2 * (blurred - disc[:, :1]).abs().mean()

    @pytest.mark.parametrize("align", ["scale_and_shift", "scale", "none"])
    @pytest.mark.parametrize("lie", ["inverted", "noise", "constant"])
    def test_tiles_that_contradict_the_whole_do_not_count(self, align, lie):
        scene = make_scene()
        generator = torch.Generator().manual_seed(0)
        calls = []

        def predict(part):
            calls.append(part.shape)
            values = part.mean(1, keepdim=True)
            if len(calls) == 1:
                return values
            noise = torch.rand(values.shape, generator=generator)
            return {"inverted": 1 - 2 * values, "noise": noise, "constant": torch.zeros_like(values)}[lie]

        joined = predict_tiled(predict, scene, align, size=64)
        reduced = torch.nn.functional.interpolate(scene, calls[0][2:], mode="bilinear", antialias=True)
        whole = torch.nn.functional.interpolate(reduced, scene.shape[2:], mode="bilinear", antialias=True)[:, :1]
        assert (joined - whole).abs().max() < 0.03

    def test_a_map_that_is_flat_stays_flat(self):
        """Networks that stretch what they see make relief of nothing, in the sky for instance."""
        calls = []

        def predict(part):
            calls.append(part)
            flat = torch.full_like(part[:, :1], 0.4)
            return flat if len(calls) == 1 else torch.rand(flat.shape, generator=torch.Generator().manual_seed(1))

        joined = predict_tiled(predict, make_scene(), "scale_and_shift", size=64)
        torch.testing.assert_close(joined, torch.full_like(joined, 0.4), atol=1e-3, rtol=0)


class TestTiles:
    @pytest.mark.parametrize("overlap", [0.1, 0.25, 0.5])
    @pytest.mark.parametrize(("length", "size"), [(65, 64), (160, 64), (100, 99), (7, 2), (1000, 64), (40, 64)])
    def test_cover_the_line_and_overlap(self, length, size, overlap):
        covered, ends = torch.zeros(length), []
        for part, window in _cut(length, size, overlap):
            assert window.min() > 0
            covered[part] += window
            ends.append((part.start, part.stop))
        assert covered.min() > 0
        assert (ends[0][0], ends[-1][1]) == (0, length)
        for (_, stop), (start, _) in pairwise(ends):
            assert stop - start >= max(1, int(size * overlap)) or size == 2

    def test_windows_of_two_neighbours_add_up_to_one(self):
        covered = torch.zeros(110)
        for part, window in _cut(110, 64, 0.25):
            covered[part] += window
        torch.testing.assert_close(covered, torch.ones(110))

    def test_no_part_is_larger_than_the_size(self):
        """So memory is bounded, whatever the photo."""
        model = Wayward()
        predict_tiled(model, torch.rand(1, 3, 50, 300), "scale_and_shift", size=64)
        assert max(max(size) for size in model.sizes) == 64
        assert model.sizes[0] == (11, 64)
        assert len(model.sizes) == 1 + 6

    def test_small_photo_is_seen_once(self):
        model, scene = Wayward(), make_scene(40, 64)
        assert torch.equal(predict_tiled(model, scene, "none", size=64), scene.mean(1, keepdim=True))
        assert model.sizes == [(40, 64)]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"size": 1}, "size is 1"),
            ({"overlap": 0}, "overlap is 0"),
            ({"overlap": 0.6}, "overlap is 0.6"),
            ({"overlap": float("nan")}, "overlap is nan"),
        ],
    )
    def test_refuses(self, options, message):
        with pytest.raises(ValueError, match=message):
            TiledModel(MegaDepth(), **options)
        with pytest.raises(ValueError, match=message):
            predict_tiled(Wayward(), make_scene(), "none", **options)
        with pytest.raises(ValueError, match="align is 'shift'"):
            predict_tiled(Wayward(), make_scene(), "shift")


class Brightness(DepthModel):
    """Disparity is brightness."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.weight = torch.nn.Parameter(torch.ones(()))

    def predict(self, photo):
        near = photo.mean(1, keepdim=True) * self.weight
        values = {"disparity": near, "relative_disparity": 3 * near - 8, "depth": 5 / near, "log_depth": -near.log()}
        return values[self.kind]


class Bright(MaskModel):
    """What is bright is the subject."""

    def predict(self, photo):
        return (photo.mean(1, keepdim=True) > 0.5).to(photo)


class TestModels:
    @pytest.mark.parametrize("kind", ["disparity", "relative_disparity", "depth", "log_depth"])
    def test_depth(self, kind):
        scene = make_scene()
        model = Brightness(kind)
        at_once = model(scene)
        tiled = TiledModel(model, size=64)(scene)
        assert not tiled.requires_grad
        assert (tiled.min() >= 0) & (tiled.max() <= 1)
        assert (tiled - at_once).abs().mean() < 0.03
        correlation = torch.corrcoef(torch.stack([tiled.flatten(), at_once.detach().flatten()]))[0, 1]
        assert correlation > 0.995

    def test_mask_with_a_box_in_pixels_of_the_photo(self):
        photo = torch.zeros(1, 3, 100, 200)
        photo[..., 30:70, 20:60] = 1
        photo[..., 30:70, 120:170] = 1
        model = TiledModel(Bright(), size=64)
        mask = model(photo)
        assert (mask - photo[:, :1]).abs().mean() < 0.01
        chosen = model(photo, (110, 20, 70, 60))
        assert chosen[..., 120:170].sum() > 0.95 * mask[..., 120:170].sum()
        assert chosen[..., :100].sum() == 0
        assert torch.equal(model(photo, point=(40, 50))[..., :100], mask[..., :100])

    def test_refuses_a_photo(self):
        with pytest.raises(ValueError, match="photo has shape"):
            TiledModel(Bright())(torch.zeros(3, 8, 8))
