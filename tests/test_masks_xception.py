from __future__ import annotations

import pytest
import torch
from mask_checks import check_shapes, learn_statistics, list_running, make_photo, reach_first_convolution

from depthbokeh.models import create_mask_model
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.masks import Xception
from depthbokeh.models.masks.xception import find_threshold, soften_threshold
from depthbokeh.models.vision import import_timm

NAMES = ["xception", "legacy_xception"]


@pytest.fixture(scope="module", params=NAMES)
def named(request):
    torch.manual_seed(0)
    return create_mask_model(request.param, width=16)


@pytest.fixture
def model():
    """On a narrow backbone, whose batch norm knows photos."""
    torch.manual_seed(0)
    model = Xception("mobilenetv2_035", width=16)
    model.train()
    learn_statistics(model, make_photo(4) * torch.linspace(1, 0.2, 4).view(4, 1, 1, 1))
    return model


class TestNamed:
    @pytest.mark.parametrize("frozen", [False, True])
    def test_bokeh_reaches_the_first_convolution(self, named, frozen):
        named.frozen_bn = frozen
        before = list_running(named)
        gradient = reach_first_convolution(named.train())
        assert gradient.isfinite().all()
        assert (gradient.abs().amax((1, 2, 3)) > 0).float().mean() > 0.5
        same = all(torch.equal(a, b) for a, b in zip(before, list_running(named), strict=True))
        assert same == frozen

    def test_any_size(self, named):
        named.frozen_bn = False
        check_shapes(named)

    @pytest.mark.parametrize("name", NAMES)
    def test_published_weights_are_refused(self, name):
        with pytest.raises(CheckpointError, match=rf"no published weights of '{name}'.*backbone_weights=True"):
            create_mask_model(name, pretrained=True)

    def test_legacy_backbone_takes_ordinary_checkpoints(self, tmp_path):
        torch.manual_seed(0)
        ordinary = import_timm().create_model("legacy_xception").state_dict()
        torch.save(ordinary, tmp_path / "imagenet.pth")
        model = create_mask_model("legacy_xception", backbone_weights=tmp_path / "imagenet.pth", width=16)
        state = model.backbone.network.state_dict()
        assert set(ordinary) - set(state) == {"fc.weight", "fc.bias"}
        assert all(torch.equal(value, ordinary[key]) for key, value in state.items())


class TestXception:
    def test_hard_in_evaluation_soft_in_training(self):
        torch.manual_seed(0)
        model = Xception("mobilenetv2_035", width=16, frozen_bn=True)
        learn_statistics(model, make_photo(4) * torch.linspace(1, 0.2, 4).view(4, 1, 1, 1))
        photo = make_photo(2)
        hard = model.eval()(photo)
        assert set(hard.unique().tolist()) == {0.0, 1.0}
        assert not hard.requires_grad
        soft = model.train()(photo)
        assert soft.requires_grad
        assert torch.equal((soft > 0.5).float(), hard)
        assert ((soft > 0.01) & (soft < 0.99)).any()

    def test_any_dtype(self, model):
        photo = make_photo()
        with torch.no_grad():
            for dtype in (torch.float16, torch.bfloat16, torch.float64):
                assert model.eval()(photo.to(dtype)).dtype == dtype
                assert model.train()(photo.to(dtype)).dtype == dtype
            for dtype in (torch.float16, torch.bfloat16):
                with torch.autocast("cpu", dtype):
                    agree = model.eval()(photo) == model.float().eval()(photo)
                assert agree.float().mean() > 0.9

    def test_box_and_point(self, model):
        mask = model.eval()(make_photo(), box=(10, 10, 20, 20))
        assert mask[..., 50:, :].eq(0).all()

    def test_learns_a_disc(self):
        torch.manual_seed(0)
        model = Xception("mobilenetv2_035", width=16)
        photo = make_photo(2)
        rows, columns = torch.arange(64)[:, None] + 0.5, torch.arange(96) + 0.5
        disc = ((columns - 48) ** 2 + (rows - 32) ** 2 < (64 / 3) ** 2).float().expand(2, 1, 64, 96)
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(25):
            loss = torch.nn.functional.mse_loss(model(photo), disc)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = model(photo) > 0.5
        assert (found & (disc > 0.5)).sum() / (found | (disc > 0.5)).sum() > 0.7

    def test_checkpoint(self, tmp_path, named):
        name = NAMES[named.stride // 32]
        torch.save(named.state_dict(), tmp_path / "tuned.pth")
        again = create_mask_model(name, pretrained=tmp_path / "tuned.pth", width=16)
        assert all(torch.equal(value, again.state_dict()[key]) for key, value in named.state_dict().items())
        with pytest.raises(CheckpointError, match=r"tuned\.pth.*Xception.*backbone"):
            create_mask_model(NAMES[1 - named.stride // 32], pretrained=tmp_path / "tuned.pth", width=16)


def best_split(values):
    """The largest variance between two classes that any threshold gives, and how much of the values lies above it."""
    found = []
    for threshold in values.unique()[:-1]:
        above = values > threshold
        share = above.double().mean()
        found.append((share * (1 - share) * (values[above].mean() - values[~above].mean()) ** 2).item())
    return max(found)


class TestThreshold:
    """What is taken of kornia's Otsu."""

    @pytest.mark.parametrize("shape", [(1, 2), (2, 2), (3, 3), (5, 7), (32, 48)])
    @pytest.mark.parametrize("low", [0.0, 0.499, -3.0])
    def test_parts_as_well_as_any(self, shape, low):
        generator = torch.Generator().manual_seed(0)
        maps = low + 1e-2 * torch.rand(6, 1, *shape, dtype=torch.float64, generator=generator) ** 3
        thresholds = find_threshold(maps)
        assert thresholds.shape == (6, 1, 1, 1)
        for values, threshold in zip(maps, thresholds, strict=True):
            above = values > threshold
            share = above.double().mean()
            variance = share * (1 - share) * (values[above].mean() - values[~above].mean()) ** 2
            # Within what 256 bins can tell apart.
            assert variance > 0.97 * best_split(values)

    def test_two_values(self):
        values = torch.tensor([0.2, 0.2, 0.2, 0.7]).view(1, 1, 2, 2)
        assert (values > find_threshold(values)).flatten().tolist() == [False, False, False, True]

    def test_two_normal_distributions(self):
        generator = torch.Generator().manual_seed(0)
        values = torch.cat([torch.randn(5000, generator=generator), 6 + torch.randn(5000, generator=generator)])
        assert abs(find_threshold(values.view(1, 1, 100, 100)).item() - 3) < 0.2

    @pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
    def test_constant_map_has_no_subject(self, level, shape):
        values = torch.full((1, 1, *shape), level)
        assert not (values > find_threshold(values)).any()
        assert soften_threshold(values).isfinite().all()

    def test_maps_of_a_batch_are_apart(self):
        maps = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 2, 3]).view(
            3, 1, 1, 1
        )
        single = torch.cat([find_threshold(plane[None]) for plane in maps])
        torch.testing.assert_close(find_threshold(maps), single, rtol=0, atol=0)

    def test_soft_mask_keeps_threshold_and_scale_constant(self):
        values = torch.rand(
            1, 1, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        ).requires_grad_()
        soft = soften_threshold(values)
        (gradient,) = torch.autograd.grad(soft.sum(), values)
        # d sigmoid(a (s - t)) / ds = a m (1 - m) at each pixel apart, with one a.
        slope = gradient / (soft * (1 - soft))
        torch.testing.assert_close(slope, slope.mean().expand_as(slope))
        assert torch.equal(soft > 0.5, values > find_threshold(values))
