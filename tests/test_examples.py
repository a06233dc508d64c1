"""Every script of ``examples/`` in its short form, held to what it claims."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from accelerate.state import AcceleratorState
from PIL import Image

from depthbokeh.photo import read_photo
from depthbokeh.pipeline import BokehPipeline

EXAMPLES = Path(__file__).parents[1] / "examples"


class Short(NamedTuple):
    """How a script is run in seconds, and what must come of it."""

    arguments: str
    check: Callable[[Any], None]


def finds_masks(ious):
    assert ious[0] > 0.5


def finds_disparity(errors):
    constant, found = errors
    assert found < 0.35 * constant


def finds_the_lens(lenses):
    found, true = lenses
    assert found.shape == true.shape
    assert found.strength == pytest.approx(true.strength, rel=0.05)
    assert found.gain == pytest.approx(true.gain, rel=0.02)
    # In pixels of blur, which is all that shows.
    assert abs(found.focus - true.focus) * true.strength < 0.1


def finds_the_radius(radii):
    assert radii[0] == pytest.approx(radii[1], rel=0.01)


def rests(flicker):
    single, steady = flicker
    assert 0 < steady < 0.5 * single


def sees_depth(outcome):
    same, correlation = outcome
    assert same
    assert correlation > 0.7


def learns(scores):
    before, after = scores
    assert before.psnr > 10
    assert after.psnr > 10
    lines = [json.loads(line) for line in Path("run", "log.jsonl").read_text().splitlines()]
    losses = [line["l1"] for line in lines if "l1" in line]
    assert len(losses) == 12
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    photo = read_photo("run_pairs/Training/original/0.jpg").image
    assert BokehPipeline.from_pretrained("run/best")(photo).bokeh.shape == photo.shape


SHORT = {
    "depth_from_defocus": Short("--size 96x64 --steps 40", finds_disparity),
    "finetune_ebb": Short("--pairs 4 --size 48x32 --steps 12 run", learns),
    "loss_layer": Short("--pairs 3 --size 48x32 --steps 120", finds_masks),
    "recover_lens": Short("--size 96x64 --shapes disk ring:0.5", finds_the_lens),
    "recover_radius": Short("--size 48x48", finds_the_radius),
    "swap_depth_model": Short("--size 96x64", sees_depth),
    "video": Short("--frames 5 --size 96x64", rests),
}


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _fresh_state():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_every_example_has_a_short_form():
    assert sorted(SHORT) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", SHORT)
def test_example(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = SHORT[name]
    short.check(load(name).main(short.arguments.split()))
    assert capsys.readouterr().out
    pictures = [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".webp") and "pairs" not in str(path)]
    assert pictures
    for path in pictures:
        with Image.open(path) as picture:
            low, high = picture.convert("L").getextrema()
        assert high > low + 50
