from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mask_checks import make_photo, reach_first_convolution
from torch import nn

from depthbokeh.files import PhotoError
from depthbokeh.models import create_mask_model, list_mask_models
from depthbokeh.models import vision as vision_module
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.masks.transformer import TransformersMask, find_size
from depthbokeh.photo import write_photo


def make_mask(height=8, width=12):
    mask = torch.zeros(1, 1, height, width)
    mask[..., 2:6, 3:9] = 1
    return mask


class TestFile:
    @pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
    def test_reads_one_for_all_photos(self, tmp_path, suffix):
        path = tmp_path / f"mask{suffix}"
        np.save(path, make_mask()[0, 0].numpy()) if suffix == ".npy" else write_photo(path, make_mask())
        mask = create_mask_model("from_file", path=path)(torch.rand(3, 3, 8, 12))
        torch.testing.assert_close(mask, make_mask().expand(3, 1, 8, 12), rtol=0, atol=0)

    def test_is_resized_and_keeps_dtype(self, tmp_path):
        write_photo(tmp_path / "mask.png", make_mask())
        mask = create_mask_model("from_file", path=tmp_path / "mask.png")(torch.rand(1, 3, 16, 24).double())
        assert mask.dtype == torch.float64
        assert mask.shape == (1, 1, 16, 24)
        assert mask[0, 0, 8, 12] == 1
        assert mask[0, 0, 0, 0] == 0

    def test_folder_goes_by_name(self, tmp_path):
        write_photo(tmp_path / "a.png", make_mask())
        np.save(tmp_path / "b.npy", 1 - make_mask()[0, 0].numpy())
        model = create_mask_model("from_file", path=tmp_path)
        mask = model(torch.rand(2, 3, 8, 12), names=["elsewhere/b.jpg", "a.jpeg"])
        torch.testing.assert_close(mask, torch.cat([1 - make_mask(), make_mask()]), rtol=0, atol=0)

    def test_box_and_point(self, tmp_path):
        mask = make_mask()
        mask[..., 11] = 1
        write_photo(tmp_path / "mask.png", mask)
        model, photo = create_mask_model("from_file", path=tmp_path / "mask.png"), torch.rand(1, 3, 8, 12)
        torch.testing.assert_close(model(photo, point=(5, 4)), make_mask())
        assert model(photo, box=(9, 0, 3, 8))[..., :8].eq(0).all()

    @pytest.mark.parametrize("single", [False, True])
    def test_empty_batch(self, tmp_path, single):
        write_photo(tmp_path / "a.png", make_mask())
        model = create_mask_model("from_file", path=tmp_path / "a.png" if single else tmp_path)
        assert model(torch.zeros(0, 3, 8, 12), names=[]).shape == (0, 1, 8, 12)

    @pytest.mark.parametrize("names", [None, [], ["a.jpg", "b.jpg"]])
    def test_folder_needs_a_name_for_each(self, tmp_path, names):
        with pytest.raises(ValueError, match=r"names are .*expected 1"):
            create_mask_model("from_file", path=tmp_path)(torch.rand(1, 3, 8, 12), names=names)

    def test_refuses(self, tmp_path):
        np.save(tmp_path / "wide.npy", np.full((8, 12), 255))
        write_photo(tmp_path / "square.png", torch.zeros(1, 1, 8, 8))
        photo = torch.rand(1, 3, 8, 12)
        for name, message in (
            ("wide.npy", r"wide\.npy: values of 255 to 255"),
            ("square.png", "aspect ratio"),
        ):
            with pytest.raises(PhotoError, match=message):
                create_mask_model("from_file", path=tmp_path / name)(photo)
        with pytest.raises(PhotoError, match=r"no map for c\.jpg"):
            create_mask_model("from_file", path=tmp_path)(photo, names=["c.jpg"])
        with pytest.raises(PhotoError, match="no such file or folder"):
            create_mask_model("from_file", path=tmp_path / "nothing")
        with pytest.raises(ValueError, match="no weights to load"):
            create_mask_model("from_file", path=tmp_path, pretrained=True)


class TestCallable:
    @pytest.mark.parametrize(
        "function",
        [
            lambda photo: photo.mean(1, keepdim=True),
            lambda photo: photo.mean(1),
            lambda photo: photo.mean(1, keepdim=True).double(),
        ],
    )
    def test_takes_shapes_and_dtypes(self, function):
        photo = make_photo(2)
        mask = create_mask_model("from_callable", function=function)(photo)
        torch.testing.assert_close(mask, photo.mean(1, keepdim=True))

    def test_takes_booleans(self):
        mask = create_mask_model("from_callable", function=lambda photo: photo.mean(1) > 0.5)(make_photo())
        assert set(mask.unique().tolist()) == {0.0, 1.0}

    def test_is_resized(self):
        mask = create_mask_model("from_callable", function=lambda photo: photo[:, :1, ::4, ::4])(make_photo())
        assert mask.shape == (1, 1, 64, 96)

    def test_module_is_a_part_and_learns_from_bokeh(self):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1), nn.Sigmoid())
        model = create_mask_model("from_callable", function=network)
        assert "function.0.weight" in model.state_dict()
        gradient = reach_first_convolution(model)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0

    def test_box_and_point(self):
        model = create_mask_model("from_callable", function=lambda photo: torch.ones_like(photo[:, :1]))
        assert model(make_photo(), box=(10, 10, 20, 20))[..., 60:].eq(0).all()

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda photo: None, "returned NoneType"),
            (lambda photo: photo.mul(255).byte()[:, :1], "returned torch.uint8"),
            (lambda photo: photo, r"returned shape \(1, 3, 64, 96\)"),
            (lambda photo: photo[0, 0], r"returned shape \(64, 96\)"),
            (lambda photo: 0 * photo[:, :1] - 2, "values of -2 to -2"),
            (lambda photo: photo[:, :1] * float("nan"), "values of nan"),
        ],
    )
    def test_refuses(self, function, message):
        with pytest.raises(ValueError, match=message):
            create_mask_model("from_callable", function=function)(make_photo())


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("transformers")
    return vision_module.import_transformers()


@pytest.fixture(scope="module")
def segformer(transformers):
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        id2label={0: "background", 1: "Person", 2: "tree"},
        label2id={"background": 0, "Person": 1, "tree": 2},
        initializer_range=0.3,
    )
    return transformers.SegformerForSemanticSegmentation(config).eval()


@pytest.fixture(scope="module")
def folder(transformers, segformer, tmp_path_factory):
    """The network as it would come from the hub."""
    folder = tmp_path_factory.mktemp("segformer")
    segformer.save_pretrained(folder)
    processor = transformers.SegformerImageProcessor(
        size={"height": 64, "width": 96}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.25, 0.3]
    )
    processor.save_pretrained(folder)
    return folder


class TestTransformers:
    def test_is_listed(self):
        assert {"from_callable", "from_file", "from_transformers"} <= set(list_mask_models())

    def test_semantic_segmentation(self, segformer, folder):
        photo = make_photo(2)
        model = create_mask_model("from_transformers", model=folder, classes=["person"]).eval()
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3]))
        with torch.no_grad():
            logits = segformer(pixel_values=(photo - mean) / std).logits
            mask = model(photo)
        small = logits.softmax(1)[:, 1:2]
        wanted = nn.functional.interpolate(small, (64, 96), mode="bilinear", antialias=True)
        torch.testing.assert_close(mask, wanted)
        assert mask.std() > 1e-3

    def test_default_is_all_but_the_background(self, folder):
        photo = make_photo()
        with torch.no_grad():
            parts = [
                create_mask_model("from_transformers", model=folder, classes=classes).eval()(photo)
                for classes in (["person"], ["tree"], None)
            ]
        torch.testing.assert_close(parts[0] + parts[1], parts[2])

    def test_network_that_is_loaded_already(self, segformer):
        model = create_mask_model("from_transformers", model=segformer, size={"shortest_edge": 32})
        mask = model(make_photo(1, 50, 70).double())
        assert mask.dtype == torch.float64
        assert mask.shape == (1, 1, 50, 70)

    def test_bokeh_reaches_the_first_convolution(self, segformer):
        gradient = reach_first_convolution(create_mask_model("from_transformers", model=segformer))
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0

    def test_masks_of_queries(self, transformers):
        torch.manual_seed(0)
        swin = transformers.SwinConfig(
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=4,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        )
        detr = transformers.DetrConfig(
            num_queries=4,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
        )
        config = transformers.MaskFormerConfig(
            backbone_config=swin,
            decoder_config=detr,
            fpn_feature_size=32,
            mask_feature_size=32,
            id2label={0: "person", 1: "dog", 2: "sky"},
            label2id={"person": 0, "dog": 1, "sky": 2},
        )
        network = transformers.MaskFormerForInstanceSegmentation(config).eval()
        model = create_mask_model("from_transformers", model=network, classes=["person", "dog"]).eval()
        gradient = reach_first_convolution(model)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
        with pytest.raises(ValueError, match=r"none is the background.*person, dog, sky"):
            create_mask_model("from_transformers", model=network)

    def test_union_of_queries(self):
        classes = torch.tensor([[[9.0, -9.0, -9.0], [-9.0, 9.0, -9.0], [-9.0, -9.0, 9.0]]])  # person, dog, nothing
        masks = torch.tensor([[-9.0, 0.0, 9.0, -9.0], [-9.0, 0.0, -9.0, 9.0], [9.0, 9.0, 9.0, 9.0]]).view(1, 3, 1, 4)
        for output in (
            SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks),
            SimpleNamespace(logits=classes, pred_masks=masks),
        ):
            network = Constant(output)
            both = TransformersMask(network, labels={0: "person", 1: "dog"}, classes=["person", "dog"])
            torch.testing.assert_close(
                both(torch.rand(1, 3, 1, 4)).flatten(), torch.tensor([0.0, 0.75, 1.0, 1.0]), atol=1e-3, rtol=0
            )
            person = TransformersMask(network, labels={0: "person", 1: "dog"}, classes=["person"])
            torch.testing.assert_close(
                person(torch.rand(1, 3, 1, 4)).flatten(), torch.tensor([0.0, 0.5, 1.0, 0.0]), atol=1e-3, rtol=0
            )

    def test_matting_and_saliency(self):
        logits = torch.tensor([-9.0, 0.0, 9.0]).view(1, 1, 1, 3)
        for output in (SimpleNamespace(alphas=logits.sigmoid()), logits, [logits * 0, logits], (([logits],),)):
            mask = TransformersMask(Constant(output))(torch.rand(1, 3, 1, 3))
            torch.testing.assert_close(mask, logits.sigmoid())

    @pytest.mark.parametrize("output", [torch.zeros(1, 5), SimpleNamespace(last_hidden_state=1), []])
    def test_refuses_other_outputs(self, output):
        with pytest.raises(ValueError, match=r"network returned .*expected logits"):
            TransformersMask(Constant(output))(torch.rand(1, 3, 4, 4))

    def test_refuses_classes(self, segformer):
        for classes in (["human"], "person", []):
            with pytest.raises(ValueError, match=r"classes are .*background, person, tree"):
                create_mask_model("from_transformers", model=segformer, classes=classes)
        with pytest.raises(ValueError, match="of 3 that the network tells apart"):
            TransformersMask(Constant(torch.zeros(1, 3, 4, 4)))(torch.rand(1, 3, 4, 4))

    def test_no_such_model(self, transformers, tmp_path):
        with pytest.raises(CheckpointError, match=r"model is .*nothing'.*cannot be loaded"):
            create_mask_model("from_transformers", model=tmp_path / "nothing")

    def test_model_that_finds_no_masks(self, transformers, tmp_path):
        config = transformers.Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
        transformers.Dinov2Model(config).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"'dinov2'.*expected one that segments"):
            create_mask_model("from_transformers", model=tmp_path)

    def test_a_network_whose_head_was_not_trained_is_refused(self, folder, tmp_path):
        """transformers would make up numbers for it, and warn of it at most."""
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "model.safetensors")
        heads = [key for key in state if "classifier" in key]
        save_file({key: value for key, value in state.items() if key not in heads}, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text((folder / "config.json").read_text())
        with pytest.raises(CheckpointError, match=f"{len(heads)} tensors are missing, first .*classifier"):
            create_mask_model("from_transformers", model=tmp_path)

    def test_code_that_comes_with_a_model_is_not_run(self, transformers, tmp_path):
        (tmp_path / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}')
        (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            create_mask_model("from_transformers", model=tmp_path)
        assert not (tmp_path / "ran").exists()

    def test_names_the_extra(self, monkeypatch):
        real = vision_module.import_module

        def fail(name):
            if name == "transformers":
                raise ModuleNotFoundError("No module named 'transformers'", name=name)
            return real(name)

        monkeypatch.setattr(vision_module, "import_module", fail)
        with pytest.raises(ImportError, match=r"depthbokeh\[transformers\]"):
            create_mask_model("from_transformers", model="any/model")

    @pytest.mark.parametrize(
        ("size", "wanted"),
        [
            (None, (96, 160)),
            ({"height": 20, "width": 30}, (20, 30)),
            ({"shortest_edge": 64}, (64, 96)),
            ({"shortest_edge": 64, "longest_edge": 64}, (32, 64)),
        ],
    )
    def test_size(self, size, wanted):
        assert find_size(size, 100, 160) == wanted


class Constant(nn.Module):
    """A network that returns the same for all photos."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, photo):
        return self.output
