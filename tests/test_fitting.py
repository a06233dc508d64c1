"""The lens of a pair is found again where there is one, and refused where there is none."""

from __future__ import annotations

import json
import math

import pytest
import torch
from test_cli import failure, run

import depthbokeh.fitting as fitting
from depthbokeh import BokehRenderer, fit_lens
from depthbokeh.alignment import find_shift
from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.data import Layer, Scene
from depthbokeh.fitting import fit_gain
from depthbokeh.photo import read_photo, write_photo

SIZE = (64, 96)
STRENGTH, FOCUS = 8.0, 0.7
RIM = 12


def texture(height, width, seed):
    """Detail at several scales, (3, H, W) linear light."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 4 + 1, width // 4 + 1, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return 0.6 * smooth + 0.3 * torch.rand(3, height, width, generator=generator)


def make_scene(seed=0):
    """A wall, something in the middle, the subject in focus."""
    wall = (SIZE[0] + 2 * RIM, SIZE[1] + 2 * RIM)
    layers = (
        Layer(texture(*wall, seed), torch.ones(1, *wall), 0.0, origin=(-RIM, -RIM)),
        Layer(texture(40, 30, seed + 1), torch.ones(1, 40, 30), 0.35, origin=(8, 10)),
        Layer(texture(44, 32, seed + 2), torch.ones(1, 44, 32), FOCUS, origin=(50, 14)),
    )
    return Scene(layers, SIZE, FOCUS, STRENGTH, subject=2)


@pytest.fixture(scope="module")
def pair():
    """Traced through the lens, sRGB: image, bokeh, disparity, mask."""
    traced = make_scene().render()
    return (linear_to_srgb(traced.all_in_focus), linear_to_srgb(traced.bokeh), traced.disparity, traced.mask)


@pytest.fixture(scope="module")
def found(pair):
    return fit_lens(*pair)


def test_strength_and_focus_of_a_traced_scene_are_recovered(found):
    assert found.strength == pytest.approx(STRENGTH, rel=0.05)
    assert found.focus == pytest.approx(FOCUS, rel=0.05)
    assert found.gain == pytest.approx((1, 1, 1), abs=0.02)
    assert found.psnr_gain_db > found.psnr_input_gain_db + 6
    assert found.fits, found.reason
    assert math.hypot(*found.shift) < 0.2


def test_without_mask_too(pair):
    image, bokeh, disparity, _ = pair
    fit = fit_lens(image, bokeh, disparity)
    assert fit.strength == pytest.approx(STRENGTH, rel=0.05)
    assert fit.focus == pytest.approx(FOCUS, rel=0.1)
    assert fit.fits, fit.reason


def test_focus_may_be_elsewhere_than_the_subject(pair):
    image, _, disparity, mask = pair
    bokeh = BokehRenderer()(image, disparity, mask, focus=0.05, strength=STRENGTH)
    fit = fit_lens(image, bokeh, disparity, mask)
    assert fit.strength == pytest.approx(STRENGTH, rel=0.1)
    assert fit.focus == pytest.approx(0.05, abs=0.05)


def test_gain_is_recovered(pair):
    image, bokeh, disparity, mask = pair
    gain = torch.tensor([0.5, 0.6, 0.45]).view(1, 3, 1, 1)
    darker = linear_to_srgb(srgb_to_linear(bokeh) * gain)
    fit = fit_lens(image, darker, disparity, mask)
    assert fit.gain == pytest.approx((0.5, 0.6, 0.45), rel=0.02)
    assert fit.strength == pytest.approx(STRENGTH, rel=0.05)
    assert fit.psnr_db < fit.psnr_gain_db - 5
    assert fit.fits, fit.reason


def test_what_is_in_one_photo_only_has_little_say(pair):
    image, bokeh, disparity, mask = pair
    passed = bokeh.clone()
    passed[..., 20:50, 4:20] = 1.0  # something white, 8 % of the picture; by least squares the strength would be 9.5
    fit = fit_lens(image, passed, disparity, mask)
    assert fit.strength == pytest.approx(STRENGTH, rel=0.08)
    assert fit.focus == pytest.approx(FOCUS, rel=0.05)
    assert fit.fits, fit.reason


def test_known_focus_is_kept_and_renderer_used(pair):
    image, _, disparity, mask = pair
    renderer = BokehRenderer("polygon:5", quality="fast", gamma=2.2)
    encoded, power = srgb_to_linear(image) ** (1 / 2.2), 2.2
    bokeh = renderer(encoded, disparity, mask, focus=0.6, strength=6.0)
    fit = fit_lens(encoded, bokeh, disparity, mask, gamma=power, renderer=renderer, focus=0.6)
    assert fit.focus == 0.6
    assert fit.strength == pytest.approx(6.0, rel=0.02)


def test_result_is_not_worse_than_the_start(pair, found, monkeypatch):
    monkeypatch.setattr(fitting, "_follow", lambda level, start, steps, **options: [start])
    start = fit_lens(*pair)
    assert found.psnr_gain_db >= start.psnr_gain_db


def test_a_descent_that_goes_astray_is_dropped(pair, monkeypatch):
    astray = fitting._Lens(0.1, 0.0, -1.0)
    honest = fitting._follow
    monkeypatch.setattr(
        fitting, "_follow", lambda level, *rest, **o: [astray] if level.scale < 1 else honest(level, *rest, **o)
    )
    monkeypatch.setattr(fitting, "_COARSE_SIDE", 40)
    image, bokeh, disparity, mask = pair
    fit = fit_lens(image, bokeh, disparity, mask)
    assert fit.strength == pytest.approx(STRENGTH, rel=0.35)


def test_gain_solver_matches_a_known_gain():
    light = texture(*SIZE, 3)[None] * 0.5
    gain = torch.tensor([1.7, 0.4, 1.0]).view(1, 3, 1, 1)
    assert torch.allclose(fit_gain(light, light * gain), gain, rtol=1e-3)


class TestVerdict:
    def test_same_photo_twice(self, pair):
        image, _, disparity, mask = pair
        fit = fit_lens(image, image, disparity, mask)
        assert not fit.fits
        assert "the same" in fit.reason

    def test_the_wrong_way_round(self, pair):
        image, bokeh, disparity, mask = pair
        fit = fit_lens(bokeh, image, disparity, mask)
        assert not fit.fits
        assert "wrong way round" in fit.reason

    def test_shifted_subject(self, pair):
        image, bokeh, disparity, mask = pair
        fit = fit_lens(image, bokeh.roll(3, 3), disparity, mask)
        assert not fit.fits
        assert "off in the bokeh photo" in fit.reason
        assert fit.shift == pytest.approx((3, 0), abs=0.3)

    def test_another_scene(self, pair):
        image, _, disparity, mask = pair
        other = linear_to_srgb(make_scene(seed=20).render().bokeh)
        fit = fit_lens(image, other, disparity, mask)
        assert not fit.fits
        assert "another scene" in fit.reason

    def test_difference_that_is_no_blur(self, pair):
        image, _, disparity, mask = pair
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
        smooth = torch.nn.functional.avg_pool2d(noise, 15, 1, 7)
        fit = fit_lens(image, (image + smooth).clamp(0, 1), disparity, mask)
        assert not fit.fits
        assert "blur explains" in fit.reason


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4, 1)])
def test_shift_is_found(shift):
    light = texture(*SIZE, 5)[None]
    moved = light.roll((shift[1], shift[0]), (2, 3))
    weight = torch.zeros(1, 1, *SIZE)
    weight[..., 16:48, 24:72] = 1
    offset, correlation = find_shift(light, moved, weight)
    assert offset == pytest.approx(shift, abs=0.1)
    assert correlation > 0.99


def test_a_flat_picture_tells_no_shift():
    flat = torch.full((1, 3, *SIZE), 0.5)
    assert find_shift(flat, flat, torch.ones(1, 1, *SIZE))[0] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.rand(2, 3, 64, 96)}, "image must be"),
        ({"bokeh": torch.rand(1, 3, 64, 90)}, "bokeh must have the image's shape"),
        ({"bokeh": torch.full((1, 3, 64, 96), math.nan)}, "bokeh must be finite"),
        ({"disparity": torch.rand(1, 1, 60, 96)}, "disparity must be"),
        ({"disparity": torch.ones(1, 1, 64, 96)}, "disparity must tell near from far"),
        ({"mask": torch.zeros(1, 1, 64, 96)}, "mask must tell near from far"),
        ({"disparity": None, "mask": None}, "disparity or mask must be given"),
        ({"focus": math.inf}, "focus must be finite"),
    ],
)
def test_bad_input_is_named(pair, change, message):
    arguments = dict(zip(("image", "bokeh", "disparity", "mask"), pair, strict=True)) | change
    with pytest.raises(ValueError, match=message):
        fit_lens(**arguments)


@pytest.fixture
def files(pair, tmp_path):
    for name, picture in zip(("photo", "bokeh", "disparity", "mask"), pair, strict=True):
        write_photo(tmp_path / f"{name}.png", picture.clamp(0, 1), bits=16)
    return tmp_path


def options_of(files):
    return ["fit", files / "photo.png", files / "bokeh.png", "--disparity", files / "disparity.png"]


def test_command_prints_the_fit_and_writes_it(files):
    out = files / "fit.json"
    result = run(*options_of(files), "--mask", files / "mask.png", "--json", out)
    assert result.exit_code == 0, result.exception
    assert "fits: blur explains" in result.output
    fit = json.loads(out.read_text())
    assert fit["strength"] == pytest.approx(STRENGTH, rel=0.05)
    assert fit["fits"] is True
    assert "exists already" in failure(*options_of(files), "--json", out)


def test_command_resizes_a_bokeh_photo_of_nearly_the_same_shape(files):
    bokeh = read_photo(files / "bokeh.png").image
    smaller = torch.nn.functional.interpolate(bokeh, (61, 92), mode="bilinear", antialias=True)
    write_photo(files / "bokeh.png", smaller, bits=16, overwrite=True)
    result = run(*options_of(files), "--focus", "0.7")
    assert result.exit_code == 0, result.exception
    assert "resized from 92 x 61 to the photo's 96 x 64" in result.output
    assert "--focus 0.7 " in result.output


def test_max_size_keeps_strength_in_pixels_of_the_photo(files):
    result = run(*options_of(files), "--max-size", "48", "--json", files / "fit.json", "--focus", "70,30")
    assert result.exit_code == 0, result.exception
    assert json.loads((files / "fit.json").read_text())["strength"] == pytest.approx(STRENGTH, rel=0.1)


def test_command_refuses_what_does_not_belong_together(files):
    write_photo(files / "bokeh.png", torch.rand(1, 3, 64, 64), overwrite=True)
    assert "aspect ratio" in failure(*options_of(files))
    assert "--disparity or --mask" in failure("fit", files / "photo.png", files / "photo.png")
