"""The quality report's measures, and one whole run over a scene made up here."""

import json
import math
import sys

import numpy as np
import pytest
import quality
import torch
from quality_pairs import Pair, fit_strength, match_gain, maximize, ssim
from quality_scenes import list_scenes, psnr
from schemes import Renderer, Shot

from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.photo import read_photo, write_photo


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def data(tmp_path):
    """One scene, 20 x 28: the left half in focus, the right half behind, blurred by this library itself."""
    folder = tmp_path / "data" / "ground_truth" / "tiny"
    folder.mkdir(parents=True)
    linear, depth = rand(1, 3, 20, 28), torch.full((1, 1, 20, 28), 2.0)
    depth[..., 14:] = 4.0
    mask = (depth < 3).float()
    radii = [0.01, 0.02, 0.03]
    arrays = {"aif": linear, "z": depth}
    for index, aperture in enumerate(radii):
        shot = Shot(linear, 1 / depth, mask, 1 / 2.0, aperture * 400.0, exact=True)
        arrays[f"blur{index}"] = Renderer()("default", shot)
    arrays = {name: tensor[0].movedim(0, 2).squeeze(2).numpy() for name, tensor in arrays.items()}
    np.savez(folder / "scene.npz", **arrays, alpha=(255 * mask[0, 0]).byte().numpy())
    write_photo(folder / "aif.png", linear_to_srgb(linear))
    meta = {"focal_px": 400.0, "focus_distance": 2.0, "aperture_radii": radii}
    classes = {"highlights": False, "fg_occluder": True}
    (folder / "meta.json").write_text(json.dumps(meta | {"classes": classes}))
    return tmp_path / "data"


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["quality.py", *map(str, arguments)])
    return quality.main()


def test_report_holds_every_picture_and_the_gain(data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    schemes = ("input", "bokehme", "default")
    assert run(monkeypatch, "--data", data, "--out", out, "--pictures", "--schemes", *schemes) == 0
    report = json.loads((out / "quality.json").read_text())
    assert {(s["scheme"], s["input"], s["aperture"]) for s in report["scenes"]} == {
        (scheme, source, aperture) for scheme in schemes for source in ("hdr", "8bit") for aperture in range(3)
    }
    assert "torch" in report["machine"]
    value = {s["scheme"]: s["psnr_db"] for s in report["scenes"] if (s["input"], s["aperture"]) == ("hdr", 2)}
    assert value["input"] < value["bokehme"] < value["default"]
    assert value["default"] > 100  # the truth is its own
    eight = [s["psnr_db"] for s in report["scenes"] if (s["scheme"], s["input"]) == ("default", "8bit")]
    assert all(45 < value < 65 for value in eight)  # rounding to 8 bits costs that much
    text = (out / "quality.md").read_text()
    assert "| scheme | near occluder | gain | mean | gain | s/picture |" in text
    assert "+0.00" in text
    assert "bokehme" in capsys.readouterr().out
    comparison = read_photo(out / "pictures" / "tiny_2_hdr_input.png").image
    assert comparison.shape == (1, 3, 20, 84)
    picture, truth, error = comparison.split(28, 3)
    torch.testing.assert_close(
        error, (5 * (picture - truth).abs()).clamp(max=1), atol=6 / 255, rtol=0
    )  # rounding, amplified


def test_chosen_scheme_runs_alone_and_writes_nothing(data, tmp_path, monkeypatch, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert run(monkeypatch, "--data", data, "--schemes", "default", "--scenes", "tiny", "--inputs", "hdr") == 0
    assert sorted(tmp_path.rglob("*")) == before
    shown = capsys.readouterr().out
    assert "bokehme" not in shown
    assert "8-bit" not in shown


def test_unknown_scene_is_named(data):
    with pytest.raises(FileNotFoundError, match=r"scenes \['huge'\] expected, found tiny"):
        list_scenes(data, ["huge"])
    with pytest.raises(FileNotFoundError, match="found none"):
        list_scenes(data / "ground_truth")


def test_pictures_need_a_place(data, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "--data", data, "--pictures")
    assert "--pictures and --reuse need --out" in capsys.readouterr().err


def test_reuse_takes_baselines_from_the_folder_and_ours_never(tmp_path):
    linear, disparity = rand(1, 3, 8, 9), rand(1, 1, 8, 9, seed=1)
    shot = Shot(linear, disparity, torch.zeros_like(disparity), 0.5, 6.0, exact=True)
    renderer = Renderer(tmp_path / "cache")
    fresh = renderer("bokehme", shot)
    (kept,) = (tmp_path / "cache").iterdir()
    torch.testing.assert_close(renderer("bokehme", shot), fresh, atol=0, rtol=0)
    np.save(kept, 0 * fresh.numpy())
    assert renderer("bokehme", shot).sum() == 0  # it is the file that is read
    stronger = Shot(linear, disparity, torch.zeros_like(disparity), 0.5, 6.1, exact=True)
    assert renderer("bokehme", stronger).sum() > 0  # other defocus, other picture
    assert Renderer()("bokehme", shot).sum() > 0
    renderer("default", shot)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_psnr_is_that_of_clipped_pictures():
    assert psnr(torch.full((1, 3, 4, 4), 0.6), torch.full((1, 3, 4, 4), 0.5)) == pytest.approx(20, abs=1e-4)
    assert psnr(torch.full((1, 3, 4, 4), 3.0), torch.ones(1, 3, 4, 4)) == math.inf


def test_ssim_is_one_for_equals_and_follows_its_formula():
    picture, truth = rand(1, 3, 11, 11), rand(1, 3, 11, 11, seed=1)
    assert ssim(picture, picture) == pytest.approx(1)
    # On 11 x 11 pixels the window fits once.
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for x, y in zip(picture[0].double(), truth[0].double(), strict=True):
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy, vxy = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2, (window * x * y).sum() - mx * my
        top = (2 * mx * my + 0.01**2) * (2 * vxy + 0.03**2)
        values.append(float(top / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2))))
    assert ssim(picture, truth) == pytest.approx(sum(values) / 3, abs=1e-6)


def test_gain_of_every_channel_is_fitted():
    picture = rand(1, 3, 6, 7)
    target = picture * torch.tensor([0.5, 1.0, 1.7]).view(1, 3, 1, 1)
    torch.testing.assert_close(match_gain(picture, target), target)


def test_maximum_is_found_with_the_steps_allowed():
    calls = []

    def judge(x: float) -> float:
        calls.append(x)
        return -((x - 0.3) ** 2)

    assert maximize(judge, -1.0, 1.0, 12) == pytest.approx(0.3, abs=0.02)
    assert len(calls) == 12


@pytest.mark.parametrize("strength", [3.0, 8.0])
def test_strength_of_a_rendered_pair_is_found_again(strength):
    photo, disparity, mask = rand(1, 3, 40, 60), torch.zeros(1, 1, 40, 60), torch.zeros(1, 1, 40, 60)
    photo = torch.nn.functional.avg_pool2d(photo, 5, 1, 2)
    mask[..., 10:30, 20:40] = 1
    disparity[..., 10:30, 20:40] = 0.9
    shot = Shot.of_pair(srgb_to_linear(photo), disparity, mask, strength)
    target = linear_to_srgb(Renderer()("default", shot))
    pair = Pair("ebb", "made", 1.8, photo, target, disparity, mask)
    assert fit_strength("default", pair, Renderer()) == pytest.approx(strength, rel=0.06)
