"""Lens parameters, losses, batches and configuration of fine-tuning."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.finetune_cli import describe_settings, parse_flags
from depthbokeh.training.batches import StepSampler
from depthbokeh.training.checkpoints import collect_state, restore_state
from depthbokeh.training.config import FinetuneConfig, read_config
from depthbokeh.training.lens import LensParameters
from depthbokeh.training.losses import BokehLoss, LossWeights, area_loss, match_gain, smoothness_loss, sparsity_loss
from depthbokeh.training.model import split_subject
from depthbokeh.training.setup import build_trainer, parse_split
from depthbokeh.training.validation import measure_iou


def make_photo(seed=0, size=24):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


class TestLensParameters:
    def test_a_photo_never_seen_gets_the_mean_of_those_learned_from(self):
        lens = LensParameters(strength=0.03, photos=2, learned=["strength"], per_photo=["strength"])
        with torch.no_grad():
            lens.strength_per_photo.copy_(torch.tensor([[0.1], [0.5]]))
        assert lens(None).strength.item() == pytest.approx(0.03 * torch.tensor(0.3).exp().item())
        assert lens(torch.tensor([1])).strength.item() == pytest.approx(0.03 * torch.tensor(0.5).exp().item())

    def test_only_what_is_learned_has_gradients(self):
        lens = LensParameters(strength=0.03, photos=3, learned=["gain"], per_photo=["gain"])
        names = {name for name, parameter in lens.named_parameters() if parameter.requires_grad}
        assert names == {"gain", "gain_per_photo"}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"strength": 0.0}, "strength is 0"),
            ({"strength": 0.1, "learned": ["zoom"]}, "learned has 'zoom'"),
            ({"strength": 0.1, "per_photo": ["gain"]}, "learned has not"),
        ],
    )
    def test_refuses(self, options, message):
        with pytest.raises(ValueError, match=message):
            LensParameters(**options)


class TestLosses:
    def test_exposure_does_not_count_where_it_is_matched(self):
        photo = make_photo() * 0.7
        gain = torch.tensor([1.3, 0.8, 1.1]).view(1, 3, 1, 1)
        target = linear_to_srgb(srgb_to_linear(photo) * gain)
        torch.testing.assert_close(match_gain(photo, target), target, atol=1e-5, rtol=0)
        mask = torch.full((2, 1, 24, 24), 0.5)
        parts = BokehLoss(LossWeights(), match_exposure=True)(photo, target, mask, photo)
        assert parts["l1"] < 1e-5
        assert BokehLoss()(photo, target, mask, photo)["l1"] > 0.02

    def test_all_sharp_and_all_blurred_are_pushed_off(self):
        for value, sign in ((0.001, -1), (0.99, 1)):
            mask = torch.full((1, 1, 8, 8), value, requires_grad=True)
            area_loss(mask).sum().backward()
            assert (mask.grad * sign > 0).all()
        mask = torch.full((1, 1, 8, 8), 0.3, requires_grad=True)
        area_loss(mask).sum().backward()
        assert (mask.grad == 0).all()

    @pytest.mark.parametrize("settled", [1.0, 0.25, 0.0])
    def test_parts_are_weighed(self, settled):
        photo, target = make_photo(), make_photo(1)
        mask = torch.rand(2, 1, 24, 24)
        weights = LossWeights(l1=0.5, ssim=0.3, area=1.0, sparsity=0.2, smoothness=0.1, binary=0.7)
        parts = BokehLoss(weights)(photo, target, mask, photo, settled=settled)
        total = parts.pop("total")
        counts = {name: settled if name in ("sparsity", "smoothness") else 1.0 for name in parts}
        expected = sum(counts[name] * getattr(weights, name) * value for name, value in parts.items())
        assert set(parts) == {"l1", "ssim", "area", "sparsity", "smoothness", "binary"}
        assert total.item() == pytest.approx(expected.item(), rel=1e-5)
        assert parts["sparsity"].item() == pytest.approx(mask.mean().item(), rel=1e-5)

    def test_an_edge_costs_less_where_the_photo_has_one(self):
        mask = torch.zeros(1, 1, 6, 6)
        mask[..., 3:] = 1
        photo = mask.expand(-1, 3, -1, -1)
        assert smoothness_loss(mask, photo) < 1e-3 * smoothness_loss(mask, torch.zeros_like(photo))
        assert sparsity_loss(mask).item() == 0.5

    @pytest.mark.parametrize("weights", [{"l1": -1}, {"l1": 0, "ssim": 0}, {"ssim": float("nan")}])
    def test_useless_weights_are_refused(self, weights):
        with pytest.raises(ValueError, match="expected"):
            LossWeights(**weights)


class TestSplitSubject:
    def test_the_mask_alone_decides_what_is_sharp(self):
        disparity = torch.rand(1, 1, 8, 8)
        layers = split_subject(
            disparity, torch.rand(1, 1, 8, 8), torch.full((1, 1, 1, 1), 0.5), torch.tensor([10.0]), gap=0.2
        )
        behind, subject = layers.defocus.unbind(1)
        assert (subject == 0).all()
        assert (behind.abs() >= 2 - 1e-5).all()
        assert (behind[disparity > 0.7] > 0).all()
        assert (behind[disparity < 0.7] < 0).all()

    def test_without_disparity_all_but_the_subject_is_equally_far(self):
        layers = split_subject(None, torch.rand(2, 1, 4, 4), None, torch.tensor([3.0, 5.0]), gap=0.2)
        assert layers.defocus[:, 0].amax((1, 2, 3)).tolist() == [-3.0, -5.0]


class TestStepSampler:
    def take(self, count, **options):
        return list(itertools.islice(StepSampler(7, 4, seed=3, **options), count))

    def test_goes_on_from_any_step(self):
        assert self.take(9)[4:] == self.take(5, start=4)

    def test_processes_share_each_batch(self):
        whole = self.take(5)
        parts = [self.take(5, rank=rank, processes=2) for rank in (0, 1)]
        assert [first + second for first, second in zip(*parts, strict=True)] == whole

    def test_an_epoch_has_no_photo_twice_and_the_next_another_order(self):
        batches = list(itertools.islice(StepSampler(8, 4, seed=0), 4))
        first, second = batches[:2], batches[2:]
        for epoch, steps in enumerate((first, second)):
            assert sorted(itertools.chain(*steps)) == [(epoch, index) for index in range(8)]
        orders = [[index for _, index in itertools.chain(*steps)] for steps in (first, second)]
        assert orders[0] != orders[1]

    def test_fewer_photos_than_a_batch_repeat(self):
        batch = next(iter(StepSampler(3, 8, seed=0)))
        assert len(batch) == 8
        assert {index for _, index in batch} == {0, 1, 2}

    @pytest.mark.parametrize(("count", "batch", "processes"), [(0, 4, 1), (8, 3, 2), (8, 0, 1)])
    def test_refuses(self, count, batch, processes):
        with pytest.raises(ValueError, match="expected"):
            StepSampler(count, batch, seed=0, processes=processes)


def test_a_state_is_restored_where_some_parameters_had_no_gradient_yet(tmp_path):
    """As in Mask R-CNN, of which the levels without an instance learn nothing."""

    def build(seed):
        torch.manual_seed(seed)
        model = torch.nn.ModuleDict({"used": torch.nn.Linear(2, 1), "idle": torch.nn.Linear(2, 1)})
        return model, torch.optim.Adam(model.parameters(), 0.1)

    def step(model, optimizer, *names):
        sum(model[name](torch.ones(1, 2)).sum() for name in names).backward()
        optimizer.step()
        optimizer.zero_grad()

    model, optimizer = build(0)
    step(model, optimizer, "used")
    again, its_optimizer = build(1)
    restore_state(again, its_optimizer, copy.deepcopy(collect_state(model, optimizer)), tmp_path)
    for one, other in ((model, optimizer), (again, its_optimizer)):
        step(one, other, "used", "idle")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


class TestConfig:
    def test_yaml_holds_all_of_it(self, tmp_path):
        import yaml

        config = FinetuneConfig(lr=2e-4, crop=(32, 48), learn=("strength", "gain"), loss=LossWeights(ssim=0.5))
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
        assert FinetuneConfig.from_dict(read_config(tmp_path / "config.yaml")) == config

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"speed": 3}, "unknown setting 'speed'"),
            ({"loss": {"l3": 1}}, "unknown part of the loss 'l3'"),
            ({"steps": 0}, "steps is 0"),
            ({"schedule": "step"}, "schedule is 'step'"),
            ({"precision": "fp8"}, "precision is 'fp8'"),
            ({"ema": 1.0}, "ema is 1.0"),
            ({"aperture": "star"}, "aperture"),
            ({"steps": True}, "steps is True"),
            ({"steps": "many"}, "another type"),
        ],
    )
    def test_refuses(self, settings, message):
        with pytest.raises(ValueError, match=message):
            FinetuneConfig.from_dict(settings)

    def test_a_blur_too_small_to_learn_from_is_refused(self, tmp_path):
        config = FinetuneConfig(data=str(tmp_path), size=(96, 144), strength=0.01, gap=0.3)
        with pytest.raises(ValueError, match=r"by 0\.43 px at first"):
            build_trainer(config, tmp_path)

    def test_flags(self):
        told = parse_flags(["--lr", "1e-4", "--crop", "64,96", "--no-such=x", "--train-depth", "--learn=strength,gain"])
        assert told == {
            "lr": 1e-4, "crop": [64, 96], "no_such": "x", "train_depth": True, "learn": ["strength", "gain"],
        }  # fmt: skip
        assert parse_flags(["--augment-exposure", "0", "--loss-l1=2"]) == {
            "augment": {"exposure": 0},
            "loss": {"l1": 2},
        }
        with pytest.raises(ValueError, match="expected --name value"):
            parse_flags(["lr", "3"])

    def test_every_setting_is_described(self):
        assert [name for name, _ in describe_settings()] == list(FinetuneConfig().to_dict())

    def test_splits(self):
        assert parse_split("3-5") == ["3", "4", "5"]
        assert parse_split("train4400") == "train4400"


def test_iou():
    mask = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).view(2, 1, 1, 4)
    truth = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).view(2, 1, 1, 4)
    assert measure_iou(mask, truth).tolist() == [pytest.approx(1 / 3), 1.0]
