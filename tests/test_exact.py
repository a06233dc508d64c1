"""Views through points of the lens: against the blur operator, closed forms and scenes traced independently."""

from __future__ import annotations

import math

import pytest
import torch

from depthbokeh import BokehRenderer, DefocusLayers, composite, fuse_layers, scatter_blur
from depthbokeh.data import Layer, Scene
from depthbokeh.exact import render_views


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth(height, width, seed=0):
    coarse = rand(1, 3, height // 4, width // 4, seed=seed)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def plane(image, defocus):
    """One surface, upright where defocus is a number."""
    defocus = torch.as_tensor(defocus, dtype=image.dtype).expand(1, 1, 1, *image.shape[2:])
    return DefocusLayers(torch.ones_like(defocus), defocus)


def psnr(result, expected):
    return -10 * math.log10(float((result - expected).square().mean()))


@pytest.mark.parametrize("aperture", ["disk", "polygon:3:20", "polygon:5:0:0.5", "ring:0.5", "ellipse:2:30"])
@pytest.mark.parametrize("defocus", [6.0, -6.0])
def test_one_plane_is_the_blur_operator(aperture, defocus):
    image = smooth(64, 72)
    rendered = render_views(image, plane(image, defocus), aperture, gamma="linear", views=200)
    expected = scatter_blur(image, torch.full((1, 1, 64, 72), 6.0), aperture)
    assert psnr(rendered[..., 12:-12, 12:-12], expected[..., 12:-12, 12:-12]) > 48
    # Beyond the frame the picture goes on.
    assert psnr(rendered, composite(image, plane(image, defocus), aperture, gamma="linear")) > 44


@pytest.mark.parametrize("defocus", [9.0, -9.0])
def test_a_light_shows_the_aperture_upright_and_evenly(defocus):
    image = torch.zeros(1, 3, 49, 49)
    image[..., 24, 24] = 1
    rendered = render_views(image, plane(image, defocus), "polygon:3", gamma="linear")
    upright, turned = (scatter_blur(image, torch.full((1, 1, 49, 49), 9.0), f"polygon:3:{turn}") for turn in (0, 180))
    assert float(rendered[0, 0].sum()) == pytest.approx(1, abs=1e-4)
    assert float((rendered - upright)[0, 0].abs().sum()) / 2 < 0.15
    assert float((rendered - turned)[0, 0].abs().sum()) / 2 > 0.3
    inside = torch.nn.functional.avg_pool2d(upright, 5, 1, 2) > 0.999 * upright.max()
    assert int(inside[0, 0].sum()) > 80
    assert float(rendered[inside].min()) > 0.5 * float(upright.max())  # no gaps between views


def test_edge_in_front_of_the_focus_is_seen_through():
    """A ray misses a half-plane at the distance t with the share of the disk beyond a chord at t / r."""
    radius, edge, width = 10.0, 40, 80
    image, disparity = torch.ones(1, 3, 40, width), torch.zeros(1, 1, 40, width)
    image[..., edge:], disparity[..., edge:] = 0, 1
    layers = fuse_layers(disparity, focus=0.0, strength=radius, image=image, gamma="linear", layers=None)
    seen = render_views(image, layers, gamma="linear", views=300)[0, 0, 20]
    t = ((edge - 0.5 - torch.arange(width)) / radius).clamp(-1, 1)
    expected = 1 - (torch.acos(t) - t * (1 - t**2).sqrt()) / math.pi
    torch.testing.assert_close(seen, expected, atol=0.04, rtol=0)


def test_sharp_thing_hides_what_is_behind_it_only():
    """The blurred background ends at a thing in focus; no light of either gets into the other."""
    image, disparity = torch.ones(1, 3, 48, 64), torch.zeros(1, 1, 48, 64)
    image[..., 20:40], disparity[..., 20:40] = 0, 1
    layers = fuse_layers(disparity, focus=1.0, strength=8.0, image=image, gamma="linear", layers=None)
    torch.testing.assert_close(render_views(image, layers, gamma="linear", views=100), image, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("focus", "gain"), [(0.0, -0.2), (0.5, 1.0), (1.0, 2.0)])
def test_scene_of_two_planes_follows_the_rays(focus, gain):
    wall = Layer(smooth(96, 112)[0], torch.ones(1, 96, 112), 0.0, origin=(-16, -16))
    alpha = torch.zeros(1, 64, 80)
    alpha[:, 20:44, 12:36], alpha[:, 10:60, 50:56] = 1, 1
    things = Layer(smooth(64, 80, seed=1)[0], alpha, 1.0)
    scene = Scene((wall, things), (64, 80), focus=focus, strength=8.0)
    pair = scene.render(samples=400)
    layers = fuse_layers(
        pair.disparity, focus=focus, strength=8.0, image=pair.all_in_focus, gamma="linear", layers=None
    )
    exact = psnr(render_views(pair.all_in_focus, layers, gamma="linear", views=150), pair.bokeh)
    # With the focus on what is behind, both depend alike on how well the hidden wall is guessed.
    assert exact > psnr(composite(pair.all_in_focus, layers, gamma="linear"), pair.bokeh) + gain


@pytest.mark.parametrize("focus", [0.0, 0.5, 1.0])
def test_slanted_surface_has_no_cracks(focus):
    image = torch.ones(1, 3, 64, 64)
    columns = torch.linspace(0, 1, 64)
    slope = (0.7 * columns[:, None] + 0.3 * columns).view(1, 1, 1, 64, 64)
    layers = DefocusLayers(torch.ones_like(slope), 20 * (slope - focus), image[:, None])
    dark = torch.full_like(layers.alpha, -40.0)
    both = DefocusLayers(
        torch.cat([layers.alpha, layers.alpha], 1),
        torch.cat([dark, layers.defocus], 1),
        torch.stack([0 * image, image], 1),
    )
    rendered = render_views(image, both, gamma="linear", views=64)[..., 24:40, 24:40]
    assert float(rendered.min()) > 1 - 1e-5
    assert float(rendered.max()) < 1 + 1e-5


def test_share_of_a_pixel_in_focus_is_kept():
    image = smooth(32, 40)
    alpha = torch.stack([torch.ones(1, 1, 32, 40), rand(1, 1, 32, 40)], 1)
    color = torch.stack([image, 1 - image], 1)
    rendered = render_views(image, DefocusLayers(alpha, torch.zeros_like(alpha), color), gamma="linear")
    expected = color[:, 1] * alpha[:, 1] + color[:, 0] * (1 - alpha[:, 1])
    torch.testing.assert_close(rendered, expected, atol=1.5 / 320, rtol=0)  # in whole views of 320


def test_bands_do_not_show(monkeypatch):
    image, disparity = smooth(96, 48), rand(1, 1, 96, 48)
    layers = fuse_layers(disparity, focus=0.5, strength=6.0, image=image, layers=None)
    whole = render_views(image, layers, views=20)
    monkeypatch.setattr("depthbokeh.exact._BAND_PIXELS", 1)
    steps = []
    banded = render_views(image, layers, views=20, progress=lambda done, total: steps.append((done, total)))
    torch.testing.assert_close(banded, whole, atol=1e-6, rtol=0)
    assert len(steps) >= 100
    assert steps[-1] == (len(steps), len(steps))


def test_same_result_every_time_and_for_every_picture_of_a_batch():
    image, disparity = rand(2, 3, 24, 32), rand(2, 1, 24, 32, seed=1)
    layers = fuse_layers(disparity, focus=0.2, strength=5.0, image=image, layers=None)
    first, second = (render_views(image, layers, "polygon:5", views=30) for _ in range(2))
    assert torch.equal(first, second)


def test_renderer_calls_it():
    image, disparity, mask = smooth(32, 40), torch.zeros(1, 1, 32, 40), torch.zeros(1, 1, 32, 40)
    disparity[..., 8:24, 10:30] = 1
    mask[..., 8:24, 10:30] = 1
    rendered = BokehRenderer("polygon:5", quality="exact", highlights=2.0)(image, disparity, mask, strength=4.0)
    layers = fuse_layers(disparity, mask, strength=4.0, image=image, layers=None)
    assert torch.equal(rendered, render_views(image, layers, "polygon:5", highlights=2.0))
    assert float((rendered - image)[..., 12:20, 14:26].abs().max()) < 0.02


def test_views_are_checked():
    image = rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match="views must be at least 1, got 0"):
        render_views(image, plane(image, 1.0), views=0)


def test_picture_of_another_size_is_named():
    layers = fuse_layers(torch.rand(1, 1, 8, 8), strength=1.0, layers=None)
    with pytest.raises(ValueError, match=r"image must be \(1, 3, 8, 8\)"):
        render_views(torch.rand(1, 3, 8, 9), layers)
