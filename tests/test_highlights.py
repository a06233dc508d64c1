"""Lamps and the sky, told apart."""

import pytest
import torch

from depthbokeh import BokehRenderer
from depthbokeh.highlights import weigh_lamps


def night(height=60, width=90, lamps=((20, 20),), sky=None):
    """Dark, with white lamps of one pixel and, from a column on, a white sky."""
    light = torch.full((1, 3, height, width), 0.05)
    for y, x in lamps:
        light[..., y, x] = 1
    if sky is not None:
        light[..., sky:] = 1
    return light


class TestWeighLamps:
    def test_lamps_count_and_the_sky_does_not(self):
        weight = weigh_lamps(night(sky=60))
        assert weight[0, 0, 20, 20] == 1
        assert weight[..., 60:].max() == 0

    def test_what_shines_through_leaves_is_sky(self):
        light = night(lamps=())
        light[..., ::2, ::2] = 1
        assert weigh_lamps(light).max() < 0.05

    def test_size_of_a_lamp_is_relative_to_the_picture(self):
        small, large = night(), night(240, 360, lamps=[(80 + i, 80 + j) for i in range(4) for j in range(4)])
        assert weigh_lamps(small)[0, 0, 20, 20] == weigh_lamps(large)[0, 0, 80, 80] == 1

    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (31, 64)])
    def test_any_size(self, size):
        assert weigh_lamps(torch.rand(2, 3, *size)).shape == (2, 1, *size)

    def test_gradient_is_finite(self):
        light = (night() + 0.93 * (night() > 0.5) - 1.0 * (night() > 0.5)).requires_grad_()
        weigh_lamps(light).sum().backward()
        assert light.grad.isfinite().all()


@pytest.mark.parametrize("quality", ["fast", "default"])
def test_sky_out_of_focus_is_not_made_brighter(quality):
    image, disparity = night(lamps=(), sky=45), torch.zeros(1, 1, 60, 90)
    plain, recovered = (
        BokehRenderer(gamma="linear", quality=quality, highlights=gain)(image, disparity, focus=1.0, strength=4.0)
        for gain in (None, 8.0)
    )
    assert torch.allclose(plain, recovered, atol=1e-5)
