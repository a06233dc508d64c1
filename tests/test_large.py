"""Large photos rendered from reduced ones: close to the whole rendering, and sharp where the photo is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from depthbokeh import BokehRenderer, large
from depthbokeh.large import find_reduction, render_large
from depthbokeh.pipeline import BokehPipeline


@pytest.fixture
def photo():
    generator = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.rand(1, 3, 24, 36, generator=generator), (95, 143), mode="bicubic").clamp(0, 1)
    mask = torch.zeros(1, 1, 95, 143)
    mask[..., 20:80, 40:100] = 1
    return image, 0.2 + 0.6 * mask, mask


@pytest.fixture
def reduced(monkeypatch):
    monkeypatch.setattr(large, "_MOST_PIXELS", 95 * 143 // 9 + 1)


def psnr(a, b):
    return float(-10 * (a - b).square().mean().log10())


@pytest.mark.parametrize(("pixels", "step"), [(4_000_000, 1), (4_000_001, 2), (16_000_000, 2), (24_000_000, 3)])
def test_reduction(pixels, step):
    assert find_reduction(1, pixels) == step


@pytest.mark.parametrize("quality", ["default", "fast"])
def test_close_to_the_whole_rendering(photo, reduced, quality):
    image, disparity, mask = photo
    renderer = BokehRenderer(quality=quality)
    assert find_reduction(95, 143) == 3
    whole = renderer(image, disparity, mask, strength=20.0)
    rendered = render_large(renderer, image, disparity, mask, strength=20.0)
    assert rendered.shape == image.shape
    assert psnr(rendered, whole) > 30
    assert psnr(rendered, whole) > psnr(image, whole) + 10


def test_what_is_in_focus_keeps_its_detail(photo, reduced):
    image, disparity, mask = photo
    rendered = render_large(BokehRenderer(), image, disparity, mask, strength=20.0)
    inside = (slice(None), slice(None), slice(26, 74), slice(46, 94))
    assert torch.allclose(rendered[inside], image[inside], atol=0.02)


def test_focus_point_is_in_pixels_of_the_photo(photo, reduced):
    image, disparity, _ = photo
    renderer = BokehRenderer()
    at_point = render_large(renderer, image, disparity, focus=(90.0, 70.0), strength=20.0)
    by_value = render_large(renderer, image, disparity, focus=0.8, strength=20.0)
    assert torch.allclose(at_point, by_value)


def test_mask_alone(photo, reduced):
    image, _, mask = photo
    rendered = render_large(BokehRenderer(), image, None, mask, strength=8.0)
    assert psnr(rendered, BokehRenderer()(image, None, mask, strength=8.0)) > 30


def test_small_photos_are_rendered_as_they_are(photo):
    image, disparity, mask = photo
    whole = BokehRenderer()(image, disparity, mask, strength=9.0)
    assert torch.equal(render_large(BokehRenderer(), image, disparity, mask, strength=9.0), whole)


def test_pipeline_reduces_when_asked_to(photo, reduced):
    image, disparity, mask = photo
    plain, asked = (
        BokehPipeline(reduce_large=wanted)(image, disparity, mask, strength=20.0) for wanted in (False, True)
    )
    assert torch.equal(plain.bokeh, BokehRenderer()(image, disparity, mask, focus=None, strength=20.0))
    assert torch.equal(asked.bokeh, render_large(BokehRenderer(), image, disparity, mask, strength=20.0))
