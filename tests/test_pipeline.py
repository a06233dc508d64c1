"""The pipeline: what is given, what its models find, and gradients through all of it."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from depthbokeh import BokehRenderer
from depthbokeh.models import create_depth_model, create_mask_model, list_mask_models
from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.depth.base import DepthModel
from depthbokeh.models.tiling import gains_from_tiles
from depthbokeh.photo import PhotoError
from depthbokeh.pipeline import BokehPipeline


class Narrow(nn.Module):
    """A network small enough for tests; photo → map 0..1."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, photo, mask=None, box=None):
        return self.convolution(photo).sigmoid()


@pytest.fixture
def photo():
    return torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))


def make_narrow(**options):
    torch.manual_seed(0)
    return BokehPipeline(BokehRenderer(**options), Narrow(), Narrow())


@pytest.mark.parametrize("quality", ["fast", "default"])
def test_gradients_reach_both_models_and_the_photo(photo, quality):
    pipeline = make_narrow(quality=quality)
    photo.requires_grad_()
    rendering = pipeline(photo, strength=6.0)
    (rendering.bokeh - 0.5).square().mean().backward()
    weights = [module.convolution.weight.grad for module in (pipeline.mask_model, pipeline.depth_model)]
    for gradient in [photo.grad, *weights]:
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


def test_what_is_given_is_taken_and_its_model_not_asked(photo):
    pipeline = make_narrow()
    pipeline.mask_model.forward = pipeline.depth_model.forward = None
    disparity, mask = torch.rand(2, 1, 40, 56), torch.rand(2, 1, 40, 56)
    rendering = pipeline(photo, disparity, mask, strength=3.0)
    assert rendering.disparity is disparity
    assert rendering.mask is mask
    expected = pipeline.renderer(photo, disparity, mask, strength=3.0)
    torch.testing.assert_close(rendering.bokeh, expected)


def test_a_model_left_out_leaves_its_map_out(photo):
    rendering = BokehPipeline(mask_model=None)(photo, strength=3.0)
    assert rendering.mask is None
    assert rendering.disparity is not None
    rendering = BokehPipeline(depth_model=None)(photo, strength=3.0)
    assert rendering.disparity is None
    with pytest.raises(ValueError, match="disparity and mask are missing"):
        BokehPipeline(mask_model=None, depth_model=None)(photo, strength=3.0)


def test_photos_of_different_sizes_are_each_rendered_as_alone():
    pipeline = make_narrow()
    generator = torch.Generator().manual_seed(0)
    photos = [torch.rand(3, height, width, generator=generator) for height, width in ((32, 48), (24, 24), (17, 31))]
    strength = torch.tensor([2.0, 5.0, 3.0])
    renderings = pipeline(photos, strength=strength, focus=torch.tensor([0.2, 0.5, 0.7]))
    for photo, rendering, amount, focus in zip(photos, renderings, (2.0, 5.0, 3.0), (0.2, 0.5, 0.7), strict=True):
        alone = pipeline(photo[None], strength=amount, focus=focus)
        torch.testing.assert_close(rendering.bokeh, alone.bokeh)


class Network(DepthModel):
    """What is bright is near, with a scale of its own for every picture that it sees."""

    kind = "relative_disparity"

    def __init__(self):
        super().__init__()
        self.seen = []

    def predict(self, photo):
        self.seen.append(tuple(photo.shape[2:]))
        return photo.mean(1, keepdim=True)


def test_networks_see_large_photos_in_tiles_too():
    network = Network()
    pipeline = BokehPipeline(mask_model="grabcut", depth_model=network, tile=64)
    ramp = torch.linspace(0, 1, 150).expand(1, 3, 70, 150)
    assert pipeline(ramp[..., :64, :64]).disparity.shape == (1, 1, 64, 64)
    assert network.seen == [(64, 64)]
    disparity = pipeline(ramp).disparity
    assert network.seen[1] == (30, 64)
    assert network.seen[2:] == [(64, 64)] * 6
    torch.testing.assert_close(disparity[..., 5:-5], ramp[:, :1, :, 5:-5], atol=0.02, rtol=0)
    assert not list(pipeline.parameters())  # the network, seen through tiles, is no other one
    with pytest.raises(ValueError, match="tile is 8"):
        BokehPipeline(tile=8)


@pytest.mark.parametrize(
    ("model", "gains"),
    [("deeplab_mobilenet", True), ("mask_rcnn_resnet50_fpn", False), ("grabcut", False), ("xception", True)],
)
def test_which_models_gain_from_tiles(model, gains):
    with torch.device("meta"):
        assert gains_from_tiles(create_mask_model(model)) is gains


def test_the_way_of_a_gradient_is_tested_for_every_mask_network():
    """From a loss of the bokeh to the first convolution, with frozen batch norm and without, in the tests of each."""
    from test_masks_deeplab import BACKBONES
    from test_masks_deeplabv3 import NAMES as DEEPLABV3
    from test_masks_xception import NAMES as XCEPTION

    tested = {*BACKBONES, *DEEPLABV3, *XCEPTION, "mask_rcnn_resnet50_fpn", "from_transformers"}
    assert tested == set(list_mask_models()) - {"grabcut", "from_file", "from_callable"}


@pytest.mark.parametrize("maps", [torch.rand(2, 1, 8, 8), [torch.rand(1, 8, 8)]])
def test_maps_of_a_list_of_photos_are_a_list_of_as_many(maps):
    with pytest.raises(ValueError, match="expected a list of 2"):
        make_narrow()([torch.rand(3, 8, 8)] * 2, maps, strength=1.0)


def test_under_autocast_models_run_in_half_and_the_renderer_in_full_precision(photo):
    pipeline = make_narrow()
    seen = []
    pipeline.mask_model.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        rendering = pipeline(photo, strength=4.0)
    assert seen == [torch.bfloat16]
    assert rendering.bokeh.dtype == torch.float32
    full = pipeline(photo, strength=4.0).bokeh
    assert (rendering.bokeh - full).abs().mean() < 0.01


@pytest.mark.filterwarnings("ignore")  # torch's own, about the breaks
def test_compiles(photo):
    torch._dynamo.reset()
    pipeline = make_narrow(quality="fast")
    compiled = torch.compile(pipeline, backend="eager")
    torch.testing.assert_close(compiled(photo, strength=4.0).bokeh, pipeline(photo, strength=4.0).bokeh)


def test_moves_to_another_dtype(photo):
    rendering = make_narrow().double()(photo.double(), strength=3.0)
    assert rendering.bokeh.dtype == torch.float64


class TestSaving:
    def make(self):
        renderer = BokehRenderer("polygon:7:15", highlights=3.0, quality="fast", gamma=2.2, slab=0.1)
        return BokehPipeline(
            renderer,
            create_mask_model("grabcut"),
            create_depth_model("ground_plane", horizon=0.25),
            refine=True,
            tile=512,
        )

    def test_what_was_saved_renders_the_same(self, tmp_path, photo):
        pipeline = self.make()
        pipeline.save_pretrained(tmp_path / "saved")
        loaded = BokehPipeline.from_pretrained(tmp_path / "saved")
        assert not loaded.training
        assert loaded.depth_model.horizon == 0.25
        assert loaded.tile == 512
        assert torch.equal(loaded(photo, strength=3.0).bokeh, pipeline(photo, strength=3.0).bokeh)

    def test_a_model_that_is_none_stays_none(self, tmp_path):
        BokehPipeline(mask_model=None).save_pretrained(tmp_path)
        assert BokehPipeline.from_pretrained(tmp_path).mask_model is None

    def test_nothing_is_overwritten_unasked(self, tmp_path):
        self.make().save_pretrained(tmp_path)
        before = (tmp_path / "config.json").read_bytes()
        with pytest.raises(PhotoError, match="exists already"):
            BokehPipeline().save_pretrained(tmp_path)
        assert (tmp_path / "config.json").read_bytes() == before
        BokehPipeline().save_pretrained(tmp_path, overwrite=True)
        assert (tmp_path / "config.json").read_bytes() != before

    def test_a_model_made_by_hand_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="mask_model is a Narrow: expected one created by its name"):
            make_narrow().save_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ("{", "cannot be read"),
            ("[]", "format None, expected 1"),
            (json.dumps({"format": 99}), "format 99, expected 1"),
            (json.dumps({"format": 1}), "not the settings of a pipeline"),
        ],
    )
    def test_other_folders_are_refused(self, tmp_path, config, message):
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(CheckpointError, match=message):
            BokehPipeline.from_pretrained(tmp_path)

    def test_a_model_that_does_not_exist_is_named(self, tmp_path):
        self.make().save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        config["mask_model"]["name"] = "os.system"
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError, match=r"os\.system"):
            BokehPipeline.from_pretrained(tmp_path)

    def test_neither_folder_nor_repository(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(CheckpointError, match="neither a folder nor"):
            BokehPipeline.from_pretrained(tmp_path / "nowhere")
