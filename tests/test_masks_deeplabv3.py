from __future__ import annotations

from importlib import import_module

import pytest
import torch
from mask_checks import check_dtypes, check_shapes, learn_statistics, list_running, make_photo, reach_first_convolution

from depthbokeh.models import create_mask_model
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.inputs import normalize_photo
from depthbokeh.models.masks.deeplabv3 import VOC_CLASSES, DeepLabV3
from depthbokeh.models.vision import import_torchvision

SMALL = "deeplabv3_mobilenet_v3_large"
NAMES = ["deeplabv3_resnet50", "deeplabv3_resnet101", SMALL]


def build_theirs(name=SMALL, auxiliary=False):
    """torchvision's, with random weights."""
    import_torchvision()
    build = getattr(import_module("torchvision.models.segmentation"), name)
    return build(weights=None, weights_backbone=None, num_classes=21, aux_loss=auxiliary).eval()


def build_lively(name=SMALL):
    """torchvision's, with random weights by which the classes differ from place to place."""
    torch.manual_seed(0)
    model = build_theirs(name)
    photos = make_photo(4) * torch.linspace(1, 0.2, 4).view(4, 1, 1, 1)
    learn_statistics(model, normalize_photo(photos))
    with torch.no_grad():
        model.classifier[4].weight *= 10
    return model


@pytest.fixture(scope="module")
def theirs():
    return build_lively()


@pytest.fixture
def model(theirs):
    model = create_mask_model(SMALL).eval()
    model.load_state_dict(theirs.state_dict())
    return model


class TestLayout:
    @pytest.mark.parametrize("auxiliary", [False, True])
    @pytest.mark.parametrize("name", NAMES)
    def test_keys_and_shapes_are_those_of_torchvision(self, name, auxiliary):
        with torch.device("meta"):
            theirs = build_theirs(name, auxiliary).state_dict()
            ours = create_mask_model(name, auxiliary=auxiliary).state_dict()
        assert [(key, value.shape) for key, value in ours.items()] == [(k, v.shape) for k, v in theirs.items()]

    def test_classes_are_those_of_torchvision(self):
        import_torchvision()
        weights = import_module("torchvision.models.segmentation").DeepLabV3_ResNet50_Weights.DEFAULT
        assert list(VOC_CLASSES) == ["background", *weights.meta["categories"][1:]]

    @pytest.mark.parametrize("name", [NAMES[0], SMALL])
    def test_values_are_those_of_torchvision(self, name):
        theirs = build_lively(name)
        model = create_mask_model(name, classes=["person", "cat"]).eval()
        model.load_state_dict(theirs.state_dict())
        photo = make_photo(2)
        with torch.no_grad():
            wanted = theirs(normalize_photo(photo))["out"].softmax(1)[:, [8, 15]].sum(1, keepdim=True)
            mask = model(photo)
        torch.testing.assert_close(mask, wanted, atol=1e-5, rtol=0)
        assert mask.std() > 0.01

    def test_training_is_that_of_torchvision(self):
        torch.manual_seed(0)
        theirs = build_theirs().train()
        model = create_mask_model(SMALL, classes=["person"]).train()
        model.load_state_dict(theirs.state_dict())
        photo, masks = make_photo(2), []
        for network in (lambda p: theirs(normalize_photo(p))["out"].softmax(1)[:, 15:16], model):
            torch.manual_seed(1)  # dropout
            masks.append(network(photo))
        torch.testing.assert_close(masks[1], masks[0])
        for ours, buffer in zip(list_running(model), list_running(theirs), strict=True):
            torch.testing.assert_close(ours, buffer)


class TestDeepLabV3:
    def test_any_size(self, model):
        check_shapes(model)

    def test_any_dtype(self, model):
        check_dtypes(model)

    def test_odd_size_is_a_part_of_a_larger(self, model):
        photo = make_photo(1, 64, 96)
        photo[..., 90:] = photo[..., 89:90]
        torch.testing.assert_close(model(photo[..., :90]), model(photo)[..., :90], rtol=0, atol=1e-5)

    def test_classes_add_up(self, theirs):
        masks = []
        for classes in (["person"], ["dog"], ["dog", "person"], ["background"], None):
            model = create_mask_model(SMALL, classes=classes).eval()
            model.load_state_dict(theirs.state_dict())
            masks.append(model(make_photo()))
        person, dog, both, background, default = masks
        torch.testing.assert_close(both, person + dog)
        torch.testing.assert_close(default, 1 - background)

    @pytest.mark.parametrize("frozen", [False, True])
    @pytest.mark.parametrize("name", NAMES)
    def test_bokeh_reaches_the_first_convolution(self, name, frozen):
        torch.manual_seed(0)
        model = create_mask_model(name, frozen_bn=frozen).train()
        before = list_running(model)
        gradient = reach_first_convolution(model)
        assert gradient.isfinite().all()
        assert (gradient.abs().amax((1, 2, 3)) > 0).float().mean() > 0.5
        same = all(torch.equal(a, b) for a, b in zip(before, list_running(model), strict=True))
        assert same == frozen

    @pytest.mark.parametrize("classes", ["person", ["human"], []])
    def test_refuses_classes(self, classes):
        with pytest.raises(ValueError, match=r"classes are .*person"):
            create_mask_model(SMALL, classes=classes)

    def test_refuses_a_network(self):
        with pytest.raises(ValueError, match="network is 'resnet'"):
            DeepLabV3("resnet")


class TestWeights:
    @pytest.mark.parametrize("in_file", [False, True])
    @pytest.mark.parametrize("auxiliary", [False, True])
    def test_auxiliary_classifier(self, tmp_path, in_file, auxiliary):
        theirs = build_theirs(auxiliary=in_file)
        torch.save(theirs.state_dict(), tmp_path / "coco.pth")
        if auxiliary and not in_file:
            with pytest.raises(CheckpointError, match="missing: aux_classifier"):
                create_mask_model(SMALL, pretrained=tmp_path / "coco.pth", auxiliary=True)
            return
        model = create_mask_model(SMALL, pretrained=tmp_path / "coco.pth", auxiliary=auxiliary)
        wanted = theirs.state_dict()
        for key, value in model.state_dict().items():
            assert torch.equal(value, wanted[key])

    def test_wrong_checkpoint(self, tmp_path):
        torch.save(build_theirs().backbone.state_dict(), tmp_path / "imagenet.pth")
        with pytest.raises(CheckpointError, match=r"imagenet\.pth.*missing: backbone.*unknown: 0\.0\.weight"):
            create_mask_model(SMALL, pretrained=tmp_path / "imagenet.pth")

    def test_checkpoint_of_other_classes(self, tmp_path):
        state = build_theirs().state_dict()
        state["classifier.4.weight"] = state["classifier.4.weight"][:2]
        torch.save(state, tmp_path / "two.pth")
        with pytest.raises(CheckpointError, match=r"classifier\.4\.weight \(2, 256, 1, 1\) instead of \(21, 256"):
            create_mask_model(SMALL, pretrained=tmp_path / "two.pth")
