"""What depth sources say, converted to disparity in one place; sources that are files, functions or transformers."""

import json
import math
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from depthbokeh.models import create_depth_model, list_depth_models
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.depth import CallableDepth, FileDepth, convert_to_disparity, read_disparity_file
from depthbokeh.models.depth.base import DepthModel
from depthbokeh.models.depth.transformer import Preparation, _find_kind
from depthbokeh.models.vision import import_transformers
from depthbokeh.photo import PhotoError

KINDS = ("disparity", "relative_disparity", "depth", "log_depth")


def make_depth(*size, seed=0):
    """Positive depths, (B, 1, H, W) float64."""
    return torch.empty(*size, dtype=torch.float64).uniform_(1, 9, generator=torch.Generator().manual_seed(seed))


def say(depth, kind):
    """What a source of the kind says of these depths, with a scale and a shift of its own."""
    return {
        "disparity": 7 / depth,
        "relative_disparity": 7 / depth - 3,
        "depth": 0.2 * depth,
        "log_depth": depth.log() + 4,
    }[kind]


class TestConvert:
    @pytest.mark.parametrize("kind", KINDS)
    def test_all_kinds_say_the_same_of_a_scene(self, kind):
        depth = make_depth(2, 1, 6, 8)
        disparity = depth.amin((2, 3), keepdim=True) / depth
        if kind == "relative_disparity":
            low = disparity.amin((2, 3), keepdim=True)
            disparity = (disparity - low) / (1 - low)
        torch.testing.assert_close(convert_to_disparity(say(depth, kind), kind), disparity)

    @pytest.mark.parametrize("kind", KINDS)
    def test_gradient(self, kind):
        values = say(make_depth(2, 1, 4, 5), kind).requires_grad_()
        assert torch.autograd.gradcheck(lambda v: convert_to_disparity(v, kind), (values,))

    @pytest.mark.parametrize("kind", KINDS)
    def test_gradient_with_a_speck_that_is_clipped(self, kind):
        depth = make_depth(1, 1, 25, 44)  # 1100 pixels: the second nearest counts
        depth[..., 3, 3] = 0.01
        values = say(depth, kind).requires_grad_()
        weight = make_depth(1, 1, 25, 44, seed=1)
        assert torch.autograd.gradcheck(lambda v: (convert_to_disparity(v, kind) * weight).sum(), (values,))

    @pytest.mark.parametrize(("kind", "value"), [("relative_disparity", 0), ("depth", 1), ("log_depth", 1)])
    @pytest.mark.parametrize("level", [0.3, 1.0, 80.0])
    def test_constant_maps(self, kind, value, level):
        values = torch.full((1, 1, 40, 40), level, requires_grad=True)
        disparity = convert_to_disparity(values, kind)
        assert disparity.eq(value).all()
        disparity.sum().backward()
        assert values.grad.isfinite().all()

    @pytest.mark.parametrize(("level", "value"), [(0.0, 0), (-1.0, 0), (0.3, 1)])
    def test_constant_disparity(self, level, value):
        values = torch.full((1, 1, 40, 40), level, requires_grad=True)
        disparity = convert_to_disparity(values, "disparity")
        assert disparity.eq(value).all()
        disparity.sum().backward()
        assert values.grad.isfinite().all()

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_keeps_dtype(self, kind, dtype):
        disparity = convert_to_disparity(say(make_depth(1, 1, 40, 40), kind).to(dtype), kind)
        assert disparity.dtype == dtype
        assert disparity.min() >= 0
        assert disparity.max() == 1

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("factor", [1e-4, 1e4])
    def test_a_speck_leaves_the_others_half_the_range(self, kind, factor):
        depth = make_depth(1, 1, 64, 64)
        clean = convert_to_disparity(say(depth, kind), kind)
        depth[..., 5, 5] = depth.min() * factor
        disparity = convert_to_disparity(say(depth, kind), kind)
        others = torch.ones(64, 64, dtype=torch.bool)
        others[5, 5] = False
        spread = disparity[..., others].max() - disparity[..., others].min()
        assert spread > 0.45 * (clean.max() - clean.min())
        assert disparity[..., 5, 5] == (1 if factor < 1 else disparity.min())

    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_twice_as_near_is_exact(self, kind):
        """Within the bound nothing is clipped, however few pixels it has."""
        disparity = torch.linspace(0.2, 0.5, 4096, dtype=torch.float64).view(1, 1, 64, 64)
        disparity[..., 7, 7] = 0.75
        expected = disparity / 0.75
        if kind == "relative_disparity":
            expected = (disparity - 0.2) / 0.55
        torch.testing.assert_close(convert_to_disparity(say(1 / disparity, kind), kind), expected)

    @pytest.mark.parametrize("kind", ["disparity", "relative_disparity"])
    def test_small_subject_before_the_sky_is_kept(self, kind):
        values = torch.zeros(1, 1, 64, 64)
        values[..., 3, 3:5] = 0.5
        assert torch.equal(convert_to_disparity(values, kind), values * 2)

    @pytest.mark.parametrize("kind", ["depth", "log_depth"])
    def test_the_sky_is_infinitely_far(self, kind):
        values = torch.tensor([1.0, 2.0, math.inf]).view(1, 1, 1, 3)
        values = (values if kind == "depth" else values.log()).requires_grad_()
        disparity = convert_to_disparity(values, kind)
        torch.testing.assert_close(disparity.flatten(), torch.tensor([1.0, 0.5, 0.0]))
        disparity[..., 1:].sum().backward()
        assert values.grad.isfinite().all()
        assert convert_to_disparity(torch.full((1, 1, 2, 2), math.inf), kind).eq(0).all()

    def test_log_depth_does_not_overflow(self):
        values = torch.tensor([-500.0, -500.0 + math.log(2), 500.0]).view(1, 1, 1, 3)
        torch.testing.assert_close(convert_to_disparity(values, "log_depth").flatten(), torch.tensor([1.0, 0.5, 0.0]))

    def test_each_picture_has_its_own_scale(self):
        depth = make_depth(1, 1, 5, 5)
        both = convert_to_disparity(torch.cat([depth, 30 * depth]), "depth")
        torch.testing.assert_close(both[0], both[1])

    @pytest.mark.parametrize("kind", KINDS)
    def test_empty_batch(self, kind):
        assert convert_to_disparity(torch.zeros(0, 1, 4, 4), kind).shape == (0, 1, 4, 4)

    @pytest.mark.parametrize(
        ("values", "kind", "message"),
        [
            (torch.ones(1, 1, 2, 2), "metres", "kind is 'metres': expected one of disparity, relative_disparity"),
            (torch.ones(1, 3, 2, 2), "depth", "values have shape"),
            (torch.ones(2, 2), "depth", "values have shape"),
            (torch.ones(1, 1, 0, 2), "depth", "values have shape"),
            (torch.ones(1, 1, 2, 2, dtype=torch.int64), "depth", "values are torch.int64"),
            (torch.zeros(1, 1, 2, 2), "depth", "values reach down to 0: expected positive depth"),
            (torch.full((1, 1, 2, 2), -math.inf), "log_depth", "values reach down to -inf"),
            (torch.full((1, 1, 2, 2), math.inf), "disparity", "only depth may be infinite"),
            (torch.full((1, 1, 2, 2), math.inf), "relative_disparity", "only depth may be infinite"),
            *((torch.tensor([[[[1.0, math.nan]]]]), kind, "1 of 2 values are NaN") for kind in KINDS),
        ],
    )
    def test_refuses(self, values, kind, message):
        with pytest.raises(ValueError, match=message):
            convert_to_disparity(values, kind)


class TestFile:
    photo = torch.zeros(1, 3, 24, 36)
    ramp = np.linspace(0.5, 9.5, 24 * 36, dtype=np.float32).reshape(24, 36)

    def test_a_file(self, tmp_path):
        np.save(tmp_path / "a.npy", self.ramp)
        model = create_depth_model("from_file", path=tmp_path / "a.npy", kind="depth")
        torch.testing.assert_close(model(self.photo)[0, 0], torch.from_numpy(0.5 / self.ramp))
        assert model(self.photo.double().expand(3, -1, -1, -1)).shape == (3, 1, 24, 36)
        assert model(self.photo.double()).dtype == torch.float64

    def test_disparity_within_the_range_is_taken_as_it_is(self, tmp_path):
        cv2.imwrite(str(tmp_path / "a.png"), (self.ramp * 10).astype(np.uint8))
        expected = torch.from_numpy((self.ramp * 10).astype(np.uint8) / np.float32(255))
        torch.testing.assert_close(FileDepth(tmp_path / "a.png")(self.photo)[0, 0], expected)

    def test_disparity_in_pixels_is_divided_by_its_maximum(self, tmp_path):
        np.save(tmp_path / "a.npy", self.ramp)
        torch.testing.assert_close(FileDepth(tmp_path / "a.npy")(self.photo)[0, 0], torch.from_numpy(self.ramp / 9.5))

    def test_of_an_unknown_kind_it_is_stretched(self, tmp_path):
        np.save(tmp_path / "a.npy", self.ramp - 3)
        torch.testing.assert_close(
            read_disparity_file(tmp_path / "a.npy", None)[0, 0], torch.from_numpy((self.ramp - 0.5) / 9)
        )

    def test_is_resized_as_disparity(self, tmp_path):
        """Between the subject and an infinitely far sky lies a disparity, not infinity."""
        depth = np.full((24, 36), np.inf)
        depth[:, :18] = 2.0
        np.save(tmp_path / "a.npy", depth)
        disparity = FileDepth(tmp_path / "a.npy", "depth")(torch.zeros(1, 3, 48, 72))
        assert disparity.isfinite().all()
        torch.testing.assert_close(disparity[0, 0, 5, 34:38], torch.tensor([1, 0.75, 0.25, 0]))

    def test_a_folder_by_the_photos_names(self, tmp_path):
        np.save(tmp_path / "near.npy", self.ramp)
        cv2.imwrite(str(tmp_path / "far.png"), self.ramp.astype(np.uint8))
        model = FileDepth(tmp_path)
        disparity = model(self.photo.expand(2, -1, -1, -1), names=["photos/far.JPG", "near.jpg"])
        torch.testing.assert_close(disparity[1, 0], torch.from_numpy(self.ramp / 9.5))
        torch.testing.assert_close(disparity[0, 0], torch.from_numpy(self.ramp.astype(np.uint8) / np.float32(255)))

    def test_refuses(self, tmp_path):
        np.save(tmp_path / "a.npy", self.ramp - 1)
        with pytest.raises(PhotoError, match=r"a\.npy: values reach down to -0.5: expected positive depth"):
            FileDepth(tmp_path / "a.npy", "depth")(self.photo)
        with pytest.raises(PhotoError, match=r"a\.npy: the map is 36 x 24 pixels, expected 24 x 24"):
            FileDepth(tmp_path / "a.npy")(torch.zeros(1, 3, 24, 24))
        with pytest.raises(ValueError, match="names are none: expected 1"):
            FileDepth(tmp_path)(self.photo)
        with pytest.raises(ValueError, match="names are 1: expected 2"):
            FileDepth(tmp_path)(self.photo.expand(2, -1, -1, -1), names=["a.jpg"])
        with pytest.raises(PhotoError, match=r"holds no map for b\.jpg \(b with \.png, .*\.exr"):
            FileDepth(tmp_path)(self.photo, names=["b.jpg"])
        with pytest.raises(PhotoError, match="nowhere: no such file or folder"):
            FileDepth(tmp_path / "nowhere")
        with pytest.raises(ValueError, match="kind is 'metres'"):
            FileDepth(tmp_path, "metres")
        with pytest.raises(ValueError, match="no weights"):
            create_depth_model("from_file", path=tmp_path, pretrained=True)


class TestCallable:
    photo = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(3))

    @pytest.mark.parametrize("kind", KINDS)
    def test_declares_what_it_returns(self, kind):
        depth = make_depth(2, 1, 8, 12).float()
        model = create_depth_model("from_callable", function=lambda photo: say(depth, kind), kind=kind)
        torch.testing.assert_close(model(self.photo), convert_to_disparity(say(depth, kind), kind))

    def test_without_the_channel_and_of_another_size(self):
        small = torch.linspace(1, 2, 6).expand(2, 4, 6)
        disparity = CallableDepth(lambda photo: small, "relative_disparity")(self.photo)
        assert disparity.shape == (2, 1, 8, 12)
        assert (disparity[..., 1:] >= disparity[..., :-1]).all()

    def test_depth_of_another_size_may_be_infinite(self):
        depth = torch.tensor([1.0, 1.0, math.inf, math.inf]).expand(2, 1, 2, 4)
        disparity = CallableDepth(lambda photo: depth, "depth")(self.photo)
        torch.testing.assert_close(disparity[0, 0, 0, 3:9], torch.tensor([1, 1, 2 / 3, 1 / 3, 0, 0]))

    def test_weights_of_a_module_are_trained_through_it(self):
        model = CallableDepth(torch.nn.Conv2d(3, 1, 3, padding=1), "log_depth")
        model(self.photo)[..., 3].sum().backward()
        assert len(list(model.parameters())) == 2
        assert model.function.weight.grad.abs().sum() > 0

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            (None, "function returned NoneType"),
            (torch.zeros(2, 1, 8, 12, dtype=torch.uint8), "function returned torch.uint8"),
            (torch.zeros(2, 3, 8, 12), r"function returned shape \(2, 3, 8, 12\): expected \(2, 1, H, W\)"),
            (torch.zeros(8, 12), r"function returned shape \(8, 12\)"),
            (torch.zeros(1, 1, 8, 12), r"function returned shape"),
        ],
    )
    def test_refuses(self, result, message):
        with pytest.raises(ValueError, match=message):
            CallableDepth(lambda photo: result, "depth")(self.photo)

    def test_refuses_a_kind(self):
        with pytest.raises(ValueError, match="kind is 'metres'"):
            create_depth_model("from_callable", function=torch.mean, kind="metres")


@pytest.fixture(scope="module")
def transformers():
    try:
        return import_transformers()
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(transformers, tmp_path_factory):
    """A tiny Depth Anything with random weights, as it would lie on the disk."""
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        image_size=28, hidden_size=16, num_attention_heads=2, num_hidden_layers=4, out_indices=[1, 2, 3, 4],
        apply_layernorm=True, reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8, head_hidden_size=4,
    )  # fmt: skip
    network = transformers.DepthAnythingForDepthEstimation(config)
    torch.nn.init.constant_(network.head.conv3.bias, 1.0)  # above the ReLU at the end
    folder = tmp_path_factory.mktemp("tiny")
    network.save_pretrained(folder)
    processor = {
        "image_processor_type": "DPTImageProcessor", "do_resize": True, "do_rescale": True, "do_normalize": True,
        "size": {"height": 42, "width": 42}, "ensure_multiple_of": 14, "keep_aspect_ratio": True, "resample": 3,
        "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "rescale_factor": 1 / 255,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


class TestTransformers:
    photo = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(4))

    def test_does_what_transformers_does(self, transformers, folder):
        x, y = torch.linspace(0, 3, 60), torch.linspace(0, 2, 40)[:, None]
        photo = (torch.stack([(x + y).sin(), (x * y).cos(), (x - y).cos()]) * 100 + 120).round()[None]
        processor = transformers.DPTImageProcessor.from_pretrained(folder)
        network = transformers.AutoModelForDepthEstimation.from_pretrained(folder).eval()
        model = create_depth_model("from_transformers", model=str(folder)).eval()
        seen = processor(photo[0].to(torch.uint8), return_tensors="pt")["pixel_values"]
        assert seen.shape == (1, 3, 42, 56)
        torch.testing.assert_close(model.prepare(photo / 255), seen, atol=0.03, rtol=0)  # there of 8 bits
        with torch.no_grad():
            values = network(pixel_values=model.prepare(photo / 255)).predicted_depth
            expected = torch.nn.functional.interpolate(values[:, None], (40, 60), mode="bilinear", antialias=True)
            torch.testing.assert_close(model.predict(photo / 255), expected)
            disparity = model(photo / 255)
        assert disparity.shape == (1, 1, 40, 60)
        assert (disparity.min(), disparity.max()) == (0, 1)

    def test_kinds(self, folder):
        assert create_depth_model("from_transformers", model=folder).kind == "relative_disparity"
        assert create_depth_model("from_transformers", model=folder, kind="depth").kind == "depth"
        metric = SimpleNamespace(model_type="depth_anything", depth_estimation_type="metric")
        assert _find_kind(SimpleNamespace(config=metric)) == "depth"
        for family, kind in (("dpt", "relative_disparity"), ("zoedepth", "depth"), ("depth_pro", "disparity")):
            assert _find_kind(SimpleNamespace(config=SimpleNamespace(model_type=family))) == kind
        with pytest.raises(ValueError, match="kind is not given, and not known of 'newest'"):
            _find_kind(SimpleNamespace(config=SimpleNamespace(model_type="newest")))

    def test_a_network_that_is_loaded_already(self, transformers, folder):
        network = transformers.AutoModelForDepthEstimation.from_pretrained(folder)
        model = create_depth_model("from_transformers", model=network).eval()
        with torch.no_grad():
            assert model(self.photo).shape == (1, 1, 40, 60)
        with pytest.raises(ValueError, match="kind is not given, and not known of 'Conv2d'"):
            create_depth_model("from_transformers", model=torch.nn.Conv2d(3, 1, 1))

    def test_gradient_reaches_photo_and_weights_and_a_frozen_model_lets_it_pass(self, folder):
        photo = self.photo.clone().requires_grad_()
        model = create_depth_model("from_transformers", model=folder)
        model(photo)[..., 7].sum().backward()
        assert photo.grad.abs().sum() > 0
        assert model.network.neck.fusion_stage.layers[0].projection.weight.grad.abs().sum() > 0
        frozen = create_depth_model("from_transformers", model=folder, frozen=True)
        photo = self.photo.clone().requires_grad_()
        frozen(photo)[..., 7].sum().backward()
        assert photo.grad.abs().sum() > 0
        assert all(weight.grad is None for weight in frozen.parameters())

    def test_a_dpt(self, transformers, tmp_path):
        config = transformers.DPTConfig(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=32,
            patch_size=16, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        )  # fmt: skip
        transformers.DPTForDepthEstimation(config).save_pretrained(tmp_path)
        (tmp_path / "preprocessor_config.json").write_text('{"size": {"height": 32, "width": 32}}')
        model = create_depth_model("from_transformers", model=tmp_path).eval()
        assert (model.kind, model.prepare.find_size(40, 60)) == ("relative_disparity", (32, 32))
        with torch.no_grad():
            assert model(self.photo).shape == (1, 1, 40, 60)

    def test_an_incomplete_model_is_refused(self, folder, tmp_path):
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "model.safetensors")
        del state["head.conv1.weight"]
        save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
        for name in ("config.json", "preprocessor_config.json"):
            (tmp_path / name).write_text((folder / name).read_text())
        with pytest.raises(CheckpointError, match=r"1 tensors are missing, first head\.conv1\.weight"):
            create_depth_model("from_transformers", model=tmp_path)

    def test_another_networks_checkpoint_is_refused(self, transformers, folder):
        with pytest.raises(CheckpointError, match="not a checkpoint of DepthAnythingForDepthEstimation"):
            create_depth_model("depth_anything_v2", pretrained=folder)

    def test_what_cannot_be_had(self, tmp_path, transformers):
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            create_depth_model("from_transformers", model=tmp_path)
        with pytest.raises(ValueError, match="pretrained is True, but 'from_transformers'"):
            create_depth_model("from_transformers", model=tmp_path, pretrained=True)
        with pytest.raises(CheckpointError, match="no such file"):
            create_depth_model("depth_anything_v2", pretrained="nowhere.safetensors")

    def test_without_the_library_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(ImportError, match=r"depthbokeh\[transformers\]"):
            create_depth_model("depth_anything_v2")

    @pytest.mark.parametrize(
        ("photo", "seen"),
        [((1024, 1536), (518, 784)), ((1536, 1024), (784, 518)), ((300, 400), (392, 518)), ((400, 1000), (518, 1288))],
    )
    def test_size_that_is_seen(self, photo, seen):
        assert Preparation().find_size(*photo) == seen
        assert Preparation(size=(384, 512), multiple=32, keep_aspect=False).find_size(*photo) == (384, 512)

    @pytest.mark.parametrize("given", [{"size": (0, 5)}, {"multiple": 0}])
    def test_preparation_refuses(self, given):
        with pytest.raises(ValueError, match="expected pixels, at least 1"):
            Preparation(**given)


def test_all_sources_are_registered():
    expected = {"depth_anything_v2", "from_callable", "from_file", "from_transformers", "ground_plane", "megadepth"}
    assert expected <= set(list_depth_models())


def test_frozen_model_stays_frozen_within_a_trained_one():
    class Network(DepthModel):
        kind = "disparity"

        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)

        def predict(self, photo):
            return self.norm(photo).mean(1, keepdim=True) + 5

    model = Network().freeze()
    torch.nn.ModuleList([model]).train()
    assert not model.norm.training
    assert not any(weight.requires_grad for weight in model.parameters())
    photo = torch.rand(1, 3, 4, 4, requires_grad=True)
    model(photo)[..., 0].sum().backward()
    assert photo.grad.abs().sum() > 0
