"""The command ``depthbokeh finetune`` from pairs on disk to a pipeline that renders."""

from __future__ import annotations

import sys

import pytest
import torch
from accelerate.state import AcceleratorState
from test_cli import failure, run

from depthbokeh.data.synthesize import Recipe, write_pairs
from depthbokeh.evaluation.metrics import psnr
from depthbokeh.photo import read_photo
from depthbokeh.pipeline import BokehPipeline


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, 6, Recipe(size=(32, 48), portraits=True, samples=16), workers=1)
    return folder


@pytest.fixture(autouse=True)
def _fresh_state():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def make_flags(pairs, steps):
    return [
        "--data", pairs, "--train-split", "2-5", "--val-split", "0-1", "--disparity", "coarse_disparity",
        "--size", "32,48", "--mask-model", "deeplab_mobilenet", "--mask-options", "{backbone: test_resnet, width: 8}",
        "--strength", "0.06", "--learn-per-photo", "strength", "--batch", "2", "--steps", steps, "--workers", "0",
        "--validate-every", "2",
    ]  # fmt: skip


def test_trains_resumes_and_what_it_learned_renders(pairs, tmp_path):
    folder = tmp_path / "run"
    result = run("finetune", folder, *make_flags(pairs, 3))
    assert result.exit_code == 0, result.exception
    assert "finished at step 3" in result.output
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "log.jsonl", "pictures", "checkpoints", "best"} <= names
    pipeline = BokehPipeline.from_pretrained(folder / "best")
    assert 0 < pipeline.strength < 1
    photo = pairs / "Training" / "original" / "0.jpg"
    output = tmp_path / "bokeh.png"
    assert run("render", photo, "-o", output, "--weights", folder / "best").exit_code == 0
    assert psnr(read_photo(output).image, read_photo(photo).image) > 10
    AcceleratorState._reset_state(reset_partial_state=True)
    assert "holds a run already" in failure("finetune", folder, *make_flags(pairs, 3))
    assert "not what the run was begun with" in failure("finetune", folder, "--resume", "--lr", "1")
    result = run("finetune", folder, "--resume")
    assert result.exit_code == 0, result.exception
    assert "goes on from step 3" in result.output


def test_the_seed_decides_on_fresh_weights_too(pairs, tmp_path):
    logs = []
    for number, flags in enumerate([(), (), ("--seed", "1")]):
        torch.rand(1)  # wherever torch's generator is
        assert run("finetune", tmp_path / str(number), *make_flags(pairs, 2), *flags).exit_code == 0
        logs.append((tmp_path / str(number) / "log.jsonl").read_text())
        AcceleratorState._reset_state(reset_partial_state=True)
    assert logs[0] == logs[1] != logs[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mask-model", "nothing"], "'nothing'"),
        (["--speed", "3"], "unknown setting 'speed'"),
        (["--lr", "-1"], "lr is -1"),
        (["--train-split", "7-9"], "no pair '7'"),
        (["--mask-options", "{widht: 3}"], "widht"),
    ],
)
def test_mistakes_are_told(pairs, tmp_path, flags, message):
    assert message in failure("finetune", tmp_path / "run", *make_flags(pairs, 2), *flags)


def test_a_missing_extra_is_named(pairs, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "accelerate"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "depthbokeh.training.setup", raising=False)
    assert "pip install 'depthbokeh[train]'" in failure("finetune", tmp_path / "run", *make_flags(pairs, 2))


def test_a_run_that_is_not_there_cannot_go_on(tmp_path):
    assert "no run to go on with" in failure("finetune", tmp_path, "--resume")


def test_settings_are_listed():
    result = run("finetune", "x", "--settings")
    assert '--mask-model: Name of the mask model. Default: "deeplab_vgg16".' in result.output
