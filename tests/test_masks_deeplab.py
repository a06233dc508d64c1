from __future__ import annotations

import pytest
import torch
from mask_checks import check_dtypes, check_shapes, list_running, make_photo, reach_first_convolution
from torch import nn

from depthbokeh.models import create_mask_model, list_mask_models
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.masks import DeepLab
from depthbokeh.models.masks.backbones import Backbone
from depthbokeh.models.masks.feathering import Feathering
from depthbokeh.models.masks.segmentation import PooledBatchNorm
from depthbokeh.models.vision import import_timm

BACKBONES = {
    "deeplab_mobilenet": "mobilenetv2_100",
    "deeplab_resnet50": "resnet50",
    "deeplab_vgg16": "vgg16",
    "deeplab_xception65": "xception65",
}
NARROW = "mobilenetv2_035"


@pytest.fixture(scope="module", params=BACKBONES)
def named(request):
    torch.manual_seed(0)
    return request.param, create_mask_model(request.param, width=16)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DeepLab(NARROW, width=16).eval()


class TestNamed:
    def test_is_listed(self):
        assert set(BACKBONES) <= set(list_mask_models())

    @pytest.mark.parametrize("frozen", [False, True])
    def test_bokeh_reaches_the_first_convolution(self, named, frozen):
        _, model = named
        model.frozen_bn = frozen
        before = list_running(model)
        gradient = reach_first_convolution(model.train())
        assert gradient.isfinite().all()
        # Every filter of the first layer that is not dead learns.
        assert (gradient.abs().amax((1, 2, 3)) > 0).float().mean() > 0.5
        same = all(torch.equal(a, b) for a, b in zip(before, list_running(model), strict=True))
        assert same == frozen

    def test_keys_of_the_backbone_are_those_of_timm(self, named):
        name, model = named
        with torch.device("meta"):
            whole = import_timm().create_model(BACKBONES[name]).state_dict()
        ordinary = {key: value.shape for key, value in whole.items()}
        ours = {key: value.shape for key, value in model.backbone.network.state_dict().items()}
        assert ours.items() <= ordinary.items()
        left_out = {key.partition(".")[0] for key in ordinary.keys() - ours.keys()}
        assert left_out <= {"classifier", "conv_head", "bn2", "fc", "head", "pre_logits"}

    def test_published_weights_are_refused(self, named):
        name, _ = named
        with pytest.raises(CheckpointError, match=r"no published weights.*backbone_weights=True"):
            create_mask_model(name, pretrained=True, width=16)


class TestDeepLab:
    def test_any_size(self, model):
        check_shapes(model)

    def test_any_dtype(self, model):
        check_dtypes(model)

    def test_double_weights(self, model):
        photo = make_photo().double()
        mask = model.double()(photo)
        assert mask.dtype == torch.float64
        torch.testing.assert_close(model.float()(photo.float()).double(), mask, atol=1e-4, rtol=0)

    def test_training_differs_from_evaluation(self, model):
        photo = make_photo(2)
        quiet = model(photo)
        torch.testing.assert_close(model(photo), quiet, rtol=0, atol=0)
        assert not torch.equal(model.train()(photo), quiet)

    def test_frozen_is_the_same_in_training(self):
        model = DeepLab(NARROW, width=16, frozen_bn=True)
        photo = make_photo(2)
        torch.testing.assert_close(model.train()(photo), model.eval()(photo), rtol=0, atol=0)

    def test_photos_of_a_batch_are_apart(self, model):
        photos = make_photo(2)
        torch.testing.assert_close(model(photos)[1:], model(photos[1:]), rtol=0, atol=1e-5)

    def test_box_and_point(self, model):
        photo = make_photo()
        mask = model(photo, box=(10, 10, 20, 20))
        assert mask[..., 50:, :].eq(0).all()
        assert mask[..., 15:25, 15:25].gt(0).all()

    def test_gradient_to_the_photo(self, model):
        photo = make_photo().requires_grad_()
        model(photo).mean().backward()
        assert photo.grad.abs().sum() > 0

    def test_checkpointing_changes_no_gradient(self):
        torch.manual_seed(0)
        plain = DeepLab(NARROW, width=16, frozen_bn=True)
        twice = DeepLab(NARROW, width=16, frozen_bn=True, gradient_checkpointing=True)
        twice.load_state_dict(plain.state_dict())
        gradients = [reach_first_convolution(model.train()) for model in (plain, twice)]
        torch.testing.assert_close(*gradients)

    def test_learns_a_disc(self):
        torch.manual_seed(0)
        model = DeepLab(NARROW, width=16)
        photo = make_photo(2)
        rows, columns = torch.arange(64)[:, None] + 0.5, torch.arange(96) + 0.5
        disc = ((columns - 48) ** 2 + (rows - 32) ** 2 < (64 / 3) ** 2).float().expand(2, 1, 64, 96)
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(20):
            loss = nn.functional.binary_cross_entropy(model(photo), disc)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = model(photo) > 0.5
        overlap = (found & (disc > 0.5)).sum() / (found | (disc > 0.5)).sum()
        assert overlap > 0.9

    @pytest.mark.parametrize("photo", [torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)])
    def test_refuses_what_is_no_photo(self, model, photo):
        with pytest.raises(ValueError, match="photo"):
            model(photo)


class TestWeights:
    def test_checkpoint(self, tmp_path):
        torch.manual_seed(0)
        first = create_mask_model("deeplab_mobilenet", width=16).eval()
        torch.save({"state_dict": first.state_dict()}, tmp_path / "tuned.pth")
        second = create_mask_model("deeplab_mobilenet", pretrained=tmp_path / "tuned.pth", width=16).eval()
        torch.testing.assert_close(second(make_photo()), first(make_photo()), rtol=0, atol=0)

    def test_wrong_checkpoint(self, tmp_path):
        torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match=r"other\.pth.*DeepLab.*missing: backbone.*unknown: conv1\.weight"):
            create_mask_model("deeplab_mobilenet", pretrained=tmp_path / "other.pth", width=16)

    def test_missing_checkpoint(self, tmp_path):
        with pytest.raises(CheckpointError, match="no such file"):
            create_mask_model("deeplab_mobilenet", pretrained=tmp_path / "nothing.pth", width=16)

    def test_of_the_backbone_and_of_all(self, tmp_path):
        model = create_mask_model("deeplab_mobilenet", width=16)
        torch.save(model.state_dict(), tmp_path / "all.pth")
        torch.save(model.backbone.network.state_dict(), tmp_path / "backbone.pth")
        with pytest.raises(ValueError, match="expected one of them"):
            create_mask_model(
                "deeplab_mobilenet",
                pretrained=tmp_path / "all.pth",
                backbone_weights=tmp_path / "backbone.pth",
                width=16,
            )

    @pytest.mark.parametrize("name", ["resnet10t", NARROW])
    def test_backbone_takes_ordinary_checkpoints(self, tmp_path, name):
        torch.manual_seed(0)
        ordinary = import_timm().create_model(name).eval()  # with its classifier
        torch.save(ordinary.state_dict(), tmp_path / "imagenet.pth")
        backbone = Backbone(name, (4, 16), weights=tmp_path / "imagenet.pth").eval()
        photo = make_photo()
        with torch.no_grad():
            theirs = ordinary.forward_intermediates(photo, intermediates_only=True)
            fine, coarse = backbone(photo)
        torch.testing.assert_close(fine, theirs[1])
        assert coarse.shape[2:] == (4, 6)
        state = ordinary.state_dict()
        for key, value in backbone.network.state_dict().items():
            torch.testing.assert_close(value, state[key], rtol=0, atol=0)

    def test_backbone_refuses_another_network(self, tmp_path):
        torch.save(import_timm().create_model("resnet10t").state_dict(), tmp_path / "resnet.pth")
        with pytest.raises(CheckpointError, match=r"resnet\.pth.*missing: conv_stem"):
            Backbone(NARROW, (4, 16), weights=tmp_path / "resnet.pth")

    def test_backbone_that_cannot_be_downloaded(self, monkeypatch):
        timm = import_timm()

        def fail(*_, **options):
            assert options["pretrained"] is True
            raise OSError("no route to host")

        monkeypatch.setattr(timm, "create_model", fail)
        with pytest.raises(CheckpointError, match=r"backbone_weights is True.*no route to host"):
            create_mask_model("deeplab_resnet50", backbone_weights=True)

    def test_backbone_without_such_features(self):
        with pytest.raises(ValueError, match=r"reductions are \(3, 16\)"):
            Backbone(NARROW, (3, 16))

    def test_backbone_that_cannot_compute_twice(self):
        with pytest.raises(ValueError, match="'legacy_xception' does not know how"):
            Backbone("legacy_xception", (32,), checkpointing=True)


class TestFeathering:
    def test_begins_as_the_coarse_mask(self):
        logit = 9 * torch.randn(2, 1, 20, 30, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(Feathering()(logit, make_photo(2, 20, 30)), logit.sigmoid(), rtol=0, atol=0)

    def test_all_of_it_learns_after_a_step(self):
        torch.manual_seed(0)
        block, logit = Feathering(), torch.randn(1, 1, 20, 30)
        optimizer = torch.optim.SGD(block.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            block(logit, make_photo(1, 20, 30)).square().mean().backward()
            optimizer.step()
        assert all(parameter.grad.abs().sum() > 0 for parameter in block.parameters())

    def test_brings_a_coarse_edge_to_that_of_the_photo(self):
        torch.manual_seed(0)
        rows, columns = torch.arange(48)[:, None] + 0.5, torch.arange(64) + 0.5
        disc = ((columns - 30) ** 2 + (rows - 24) ** 2 < 15**2).float()[None, None]
        photo = 0.2 + 0.6 * disc.expand(1, 3, 48, 64) + 0.05 * torch.randn(1, 3, 48, 64)
        small = nn.functional.interpolate(disc, scale_factor=1 / 8, mode="area")
        coarse = 8 * nn.functional.interpolate(small, scale_factor=8, mode="bilinear") - 4
        block = Feathering()
        optimizer = torch.optim.Adam(block.parameters(), 2e-2)
        for _ in range(60):
            loss = nn.functional.binary_cross_entropy(block(coarse, photo), disc)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        # Sharpening alone would leave the edge where it is.
        wrong, wrong_before = (((logit > 0) != (disc > 0.5)).sum() for logit in (block(coarse, photo) - 0.5, coarse))
        assert wrong < 0.5 * wrong_before


class TestPooledBatchNorm:
    def test_several_photos_are_the_ordinary(self):
        ours, theirs = PooledBatchNorm(3), nn.BatchNorm2d(3)
        pooled = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(0))
        for mode in (True, False):
            torch.testing.assert_close(ours.train(mode)(pooled), theirs.train(mode)(pooled))
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        torch.testing.assert_close(ours.running_var, theirs.running_var)

    def test_one_photo_is_normalized_as_in_evaluation(self):
        norm = PooledBatchNorm(3)
        norm(torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(0)))
        pooled = torch.ones(1, 3, 1, 1)
        torch.testing.assert_close(norm.train()(pooled), norm.eval()(pooled), rtol=0, atol=0)
