"""Which models serve: those named, those whose weights are here, or those that need none; never a random network."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from depthbokeh import cli
from depthbokeh.models import choice, list_depth_models, list_mask_models, weights
from depthbokeh.models.choice import choose_depth_model, choose_mask_model
from depthbokeh.models.depth.megadepth import MegaDepth
from depthbokeh.models.download import hash_file
from depthbokeh.models.masks.deeplabv3 import DeepLabV3
from depthbokeh.models.registry import create_mask_model
from depthbokeh.models.weights_table import WEIGHTS

SMALL = "deeplabv3_mobilenet_v3_large"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no way to fill it."""

    def refuse(*arguments, **options):
        raise AssertionError("something is downloaded")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(weights, "download_file", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def publish(monkeypatch, cache, name, model):
    """Puts a model's random weights where the published ones would lie, and its hash into the table."""
    path = cache / WEIGHTS[name].file
    torch.save(model.state_dict(), path)
    changed = {**WEIGHTS, name: replace(WEIGHTS[name], sha256=hash_file(path)[:8])}
    monkeypatch.setattr(weights, "WEIGHTS", changed)
    return path


def fail(name, choose=choose_mask_model, checkpoint=None):
    with pytest.raises(ValueError, match=r".") as caught:
        choose(name, checkpoint)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestAuto:
    def test_without_weights_the_defaults_serve_and_it_is_said(self):
        mask, note = choose_mask_model()
        assert type(mask).__name__ == "GrabCut"
        assert "no weights of a mask model are here" in note
        depth, note = choose_depth_model()
        assert type(depth).__name__ == "GroundPlane"
        assert "`depthbokeh weights get megadepth` fetches some" in note

    def test_what_the_note_advises_is_published_and_needs_no_extra(self):
        for choose in (choose_mask_model, choose_depth_model):
            name = choose()[1].split("weights get ")[1].split("`")[0]
            assert name in WEIGHTS
            assert name not in choice._REQUIRES

    def test_weights_that_are_here_are_taken(self, monkeypatch, cache):
        torch.manual_seed(1)
        network = DeepLabV3(SMALL).eval()
        publish(monkeypatch, cache, SMALL, network)
        monkeypatch.setattr(choice, "_MASK", choice._MASK._replace(networks=("mask_rcnn_resnet50_fpn", SMALL)))
        model, note = choose_mask_model()
        assert note is None
        assert not model.training
        photo = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(model(photo), network(photo))

    def test_depth_weights_that_are_here_are_taken(self, monkeypatch, cache):
        publish(monkeypatch, cache, "megadepth", MegaDepth())
        model, note = choose_depth_model()
        assert type(model).__name__ == "MegaDepth"
        assert note is None

    def test_other_files_in_their_place_are_no_weights(self, monkeypatch, cache):
        path = publish(monkeypatch, cache, SMALL, torch.nn.Linear(1, 1))
        torch.save({"weight": torch.zeros(2)}, path)
        monkeypatch.setattr(choice, "_MASK", choice._MASK._replace(networks=(SMALL,)))
        assert f"not the published weights of '{SMALL}'" in fail("auto")

    def test_weights_alone_do_not_say_of_what(self, tmp_path):
        assert "weights of which mask model?" in fail("auto", checkpoint=tmp_path / "a.pth")


class TestNamed:
    @pytest.mark.parametrize(
        "name", [name for name in list_mask_models() if name not in WEIGHTS and not name.startswith("from_")]
    )
    def test_nothing_is_random(self, name):
        """Every mask model without published weights is refused, or has nothing that was learned."""
        if name == "grabcut":
            assert not list(choose_mask_model(name)[0].parameters())
        else:
            told = fail(name)
            assert f"no published weights of the mask model '{name}'" in told
            assert "expected a checkpoint of it beside its name" in told

    @pytest.mark.parametrize("name", [name for name in WEIGHTS if WEIGHTS[name].repo is None])
    def test_with_downloading_switched_off(self, name, monkeypatch):
        monkeypatch.setenv("DEPTHBOKEH_OFFLINE", "1")
        choose = choose_depth_model if name in list_depth_models() else choose_mask_model
        told = fail(name, choose)
        assert f"the weights of '{name}' are not here and downloading is switched off" in told
        assert WEIGHTS[name].url in told

    def test_a_checkpoint_is_loaded(self, tmp_path):
        torch.manual_seed(2)
        torch.save(DeepLabV3(SMALL).state_dict(), tmp_path / "a.pth")
        model, note = choose_mask_model(SMALL, tmp_path / "a.pth")
        assert note is None
        for key, value in torch.load(tmp_path / "a.pth", weights_only=True).items():
            assert torch.equal(model.state_dict()[key], value)

    @pytest.mark.parametrize(
        ("name", "choose", "expected"),
        [
            ("nothing", choose_mask_model, "mask model is 'nothing': expected auto, deeplab_mobilenet"),
            ("from_file", choose_mask_model, "mask model is 'from_file': expected auto"),
            ("from_callable", choose_depth_model, "depth model is 'from_callable': expected auto"),
            ("from_transformers", choose_depth_model, "transformers:OWNER/MODEL"),
            ("grabcut", choose_depth_model, "depth model is 'grabcut'"),
            ("transformers:", choose_mask_model, "mask model is 'transformers:'"),
        ],
    )
    def test_other_names(self, name, choose, expected):
        assert expected in fail(name, choose)

    @pytest.mark.parametrize("name", ["grabcut", "transformers:owner/model"])
    def test_weights_of_what_has_none(self, name, tmp_path):
        assert "a.pth: weights of the mask model" in fail(name, checkpoint=tmp_path / "a.pth")

    def test_another_models_checkpoint(self, tmp_path):
        torch.save(torch.nn.Linear(1, 1).state_dict(), tmp_path / "a.pth")
        assert "a.pth: not a checkpoint of DeepLabV3; missing:" in fail(SMALL, checkpoint=tmp_path / "a.pth")


class TestTransformers:
    @pytest.fixture(autouse=True)
    def _need_the_library(self):
        pytest.importorskip("transformers")

    def test_a_network_in_a_folder(self, tmp_path):
        from depthbokeh.models.vision import import_transformers

        transformers = import_transformers()
        names = {0: "background", 1: "person"}
        config = transformers.SegformerConfig(
            num_encoder_blocks=1, depths=[1], sr_ratios=[1], hidden_sizes=[8], patch_sizes=[7], strides=[4],
            num_attention_heads=[1], mlp_ratios=[1], decoder_hidden_size=8, id2label=names,
            label2id={name: index for index, name in names.items()},
        )  # fmt: skip
        transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
        model, note = choose_mask_model(f"transformers:{tmp_path}")
        assert note is None
        assert not model.training
        with torch.no_grad():
            assert model(torch.rand(1, 3, 32, 40)).shape == (1, 1, 32, 40)
        told = fail(f"transformers:{tmp_path}", choose_depth_model)
        assert "of the kind 'segformer': expected one that estimates depth" in told

    def test_with_downloading_switched_off(self, monkeypatch):
        monkeypatch.setenv("DEPTHBOKEH_OFFLINE", "1")
        monkeypatch.setattr("socket.getaddrinfo", None)  # whoever asks for an address fails otherwise
        for choose in (choose_mask_model, choose_depth_model):
            assert "'owner/model': cannot be loaded" in fail("transformers:owner/model", choose)

    def test_without_the_library_the_extra_is_named(self, monkeypatch):
        def refuse(name, **options):
            raise ImportError("this model needs transformers: pip install 'depthbokeh[transformers]'")

        monkeypatch.setattr(choice, "_DEPTH", choice._DEPTH._replace(create=refuse))
        assert "pip install 'depthbokeh[transformers]'" in fail("depth_anything_v2", choose_depth_model)


def test_the_recipe_of_a_hub_model_is_kept(tmp_path):
    from depthbokeh.pipeline import BokehPipeline

    network = create_mask_model("from_callable", function=torch.nn.Conv2d(3, 1, 1))
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        BokehPipeline(mask_model=network).save_pretrained(tmp_path / "a")
    BokehPipeline(mask_model=create_mask_model("from_file", path=tmp_path)).save_pretrained(tmp_path / "b")
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["mask_model"] == {"name": "from_file", "options": {"path": str(tmp_path)}}


def test_the_command_says_it_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHBOKEH_OFFLINE", "1")
    from depthbokeh.photo import write_photo

    write_photo(tmp_path / "a.png", torch.rand(1, 3, 16, 24))
    for model in ("deeplab_vgg16", "mask_rcnn_resnet50_fpn", "from_file"):
        command = ["render", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--mask-model", model]
        result = CliRunner().invoke(cli.app, command)
        assert isinstance(result.exception, ValueError), result.exception
        assert not (tmp_path / "b.png").exists()
