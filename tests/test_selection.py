from __future__ import annotations

import pytest
import torch

from depthbokeh.models.masks.selection import keep_subject


def make_two(height=20, width=30):
    """Two soft-edged bars, left and right."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., 4:16, 3:10] = 0.4
    mask[..., 5:15, 4:9] = 1.0
    mask[..., 4:16, 18:28] = 0.4
    mask[..., 5:15, 19:27] = 0.8
    return mask


def test_without_a_choice_the_mask_is_the_same():
    mask = make_two()
    assert keep_subject(mask) is mask


class TestBox:
    def test_inside_stays_and_outside_goes(self):
        mask = keep_subject(torch.ones(1, 1, 20, 30), box=(5, 4, 10, 10))
        assert mask[..., 4:14, 5:15].eq(1).all()
        assert mask[..., :2, :].eq(0).all()
        assert mask[..., 17:].eq(0).all()

    def test_fades_over_a_tenth_of_the_sides(self):
        mask = keep_subject(torch.ones(1, 1, 4, 200), box=(50, 0, 100, 4))
        torch.testing.assert_close(mask[0, 0, 2, 150:160], 1 - (torch.arange(10) + 0.5) / 10)
        assert mask[0, 0, 2, 160:].eq(0).all()

    def test_one_for_each(self):
        boxes = torch.tensor([[2.0, 3.0, 9.0, 14.0], [17.0, 3.0, 12.0, 14.0]])
        both = keep_subject(make_two().expand(2, 1, 20, 30), box=boxes)
        assert both[0, ..., 18:].eq(0).all()
        assert both[1, ..., :10].eq(0).all()
        torch.testing.assert_close(both.sum(0), make_two()[0])

    def test_box_that_reaches_out_of_the_frame_does_not_fade_at_it(self):
        mask = keep_subject(torch.ones(1, 1, 20, 30), box=(-5, -5, 20, 40))
        assert mask[..., :15].eq(1).all()

    @pytest.mark.parametrize("box", [(1, 2, 3), (40, 0, 5, 5), (0, 0, 0, 5)])
    def test_refuses(self, box):
        with pytest.raises(ValueError, match="box"):
            keep_subject(make_two(), box=box)


class TestPoint:
    @pytest.mark.parametrize(("point", "kept"), [((6, 10), 0), ((22, 10), 1), ((0, 0), 0), ((30, 20), 1), ((13, 2), 0)])
    def test_keeps_the_region_there_or_nearest(self, point, kept):
        mask = make_two()
        found = keep_subject(mask, point=point)
        sides = (slice(0, 14), slice(14, 30))
        torch.testing.assert_close(found[..., sides[kept]], mask[..., sides[kept]], rtol=0, atol=0)
        assert found[..., sides[1 - kept]].eq(0).all()

    def test_one_for_each(self):
        points = torch.tensor([[6.0, 10.0], [22.0, 10.0]])
        found = keep_subject(make_two().expand(2, 1, 20, 30), point=points)
        torch.testing.assert_close(found.sum(0), make_two()[0])
        assert found[0, ..., 14:].eq(0).all()

    def test_single_region_and_none_stay(self):
        one = make_two()
        one[..., 14:] = 0
        for mask in (one, torch.full((1, 1, 5, 6), 0.3), torch.ones(1, 1, 5, 6)):
            assert torch.equal(keep_subject(mask, point=(1, 1)), mask)

    def test_box_first_then_point(self):
        # The box leaves the right bar alone, which is then what the point, though on the left, is nearest to.
        found = keep_subject(make_two(), box=(17, 0, 12, 20), point=(6, 10))
        assert found[..., :14].eq(0).all()
        assert found[0, 0, 10, 22] > 0.7

    def test_diagonal_neighbours_are_one_region(self):
        mask = torch.eye(6)[None, None]
        mask[..., 0, 5] = 1
        found = keep_subject(mask, point=(0, 0))
        torch.testing.assert_close(found, torch.eye(6)[None, None])

    @pytest.mark.parametrize("point", [(1, 2, 3), (31, 0), (float("nan"), 0)])
    def test_refuses(self, point):
        with pytest.raises(ValueError, match="point"):
            keep_subject(make_two(), point=point)


class TestBoth:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_keeps_dtype(self, dtype):
        found = keep_subject(make_two().to(dtype), box=(2, 3, 9, 14), point=(6, 10))
        assert found.dtype == dtype
        assert found[0, 0, 10, 6] == 1

    def test_gradient(self):
        mask = make_two().double().requires_grad_()
        weights = torch.autograd.grad(keep_subject(mask, point=(6, 10)).sum(), mask)[0]
        assert weights[..., :13].eq(1).all()
        assert weights[..., 15:].eq(0).all()
        chosen = torch.rand(
            1, 1, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        ).requires_grad_()
        assert torch.autograd.gradcheck(lambda m: keep_subject(m, (1, 1, 3, 3), (2, 2)), (chosen,))

    def test_empty_batch(self):
        assert keep_subject(torch.zeros(0, 1, 4, 4), box=(0, 0, 2, 2)).shape == (0, 1, 4, 4)
        assert keep_subject(torch.zeros(0, 1, 4, 4), point=(1, 1)).shape == (0, 1, 4, 4)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1)])
    def test_smallest_masks(self, shape):
        mask = torch.ones(2, 1, *shape)
        assert torch.equal(keep_subject(mask, (0, 0, 1, 1), (0, 0)).amax((1, 2, 3)), torch.ones(2))
