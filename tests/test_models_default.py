import pytest
import torch

from depthbokeh.models import (
    create_depth_model,
    create_mask_model,
    list_depth_models,
    list_mask_models,
    register_depth_model,
    register_mask_model,
)
from depthbokeh.models.depth import GroundPlane
from depthbokeh.models.masks import GrabCut


def make_disc(height=120, width=160, x=80.0, y=70.0, radius=30.0, seed=0):
    """A noisy orange disc on noisy blue, and where it is."""
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    disc = ((columns - x) ** 2 + (rows - y) ** 2 < radius**2).float()[None, None]  # (1, 1, H, W)
    subject, surroundings = torch.tensor([0.8, 0.5, 0.2]), torch.tensor([0.2, 0.3, 0.6])
    photo = disc * subject[:, None, None] + (1 - disc) * surroundings[:, None, None]
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(seed))
    return (photo + 0.08 * noise).clamp(0, 1), disc


def measure_iou(mask, truth):
    mask, truth = mask > 0.5, truth > 0.5
    return ((mask & truth).sum() / (mask | truth).sum()).item()


class TestRegistry:
    def test_lists_the_defaults(self):
        assert "grabcut" in list_mask_models()
        assert "ground_plane" in list_depth_models()

    def test_creates_by_name(self):
        assert isinstance(create_mask_model("grabcut"), GrabCut)
        assert create_depth_model("ground_plane", horizon=0.25).horizon == 0.25

    @pytest.mark.parametrize(
        ("create", "known"), [(create_mask_model, "grabcut"), (create_depth_model, "ground_plane")]
    )
    def test_unknown_name_lists_the_known(self, create, known):
        with pytest.raises(ValueError, match=f"'nothing'.*{known}"):
            create("nothing")

    @pytest.mark.parametrize("pretrained", [True, "weights.pt"])
    @pytest.mark.parametrize(("create", "name"), [(create_mask_model, "grabcut"), (create_depth_model, "ground_plane")])
    def test_defaults_refuse_weights(self, create, name, pretrained):
        with pytest.raises(ValueError, match="no weights"):
            create(name, pretrained=pretrained)

    @pytest.mark.parametrize(
        ("register", "name"), [(register_mask_model, "grabcut"), (register_depth_model, "ground_plane")]
    )
    def test_a_name_is_taken_once(self, register, name):
        with pytest.raises(ValueError, match=name):
            register(name)


class TestGrabCut:
    @pytest.mark.parametrize("box", [None, (45, 35, 70, 70)])
    def test_finds_the_disc(self, box):
        photo, disc = make_disc()
        mask = GrabCut()(photo, box)
        assert measure_iou(mask, disc) > 0.95
        assert mask.min() >= 0
        assert mask.max() <= 1
        assert mask[0, 0, 70, 80] == 1
        assert mask[0, 0, 5, 5] == 0

    def test_finds_the_astronaut(self):
        data = pytest.importorskip("skimage.data")
        photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
        mask = GrabCut()(photo)[0, 0]
        head, suit, flag, shuttle, wall = (110, 225), (360, 120), (100, 15), (190, 410), (60, 330)
        assert [mask[at].item() for at in (head, suit, flag, shuttle, wall)] == [1, 1, 0, 0, 0]

    def test_box_finds_a_small_subject_off_centre(self):
        photo, disc = make_disc(400, 600, x=90, y=60, radius=12)
        assert measure_iou(GrabCut()(photo, box=(74, 44, 33, 33)), disc) > 0.9

    def test_box_over_the_edge_of_the_frame_is_clipped(self):
        photo, disc = make_disc(x=10, y=110)
        assert measure_iou(GrabCut()(photo, box=(-30, 75, 80, 80)), disc) > 0.95

    def test_one_box_for_each_photo(self):
        left, left_disc = make_disc(x=40)
        right, right_disc = make_disc(x=120)
        boxes = torch.tensor([[5.0, 35.0, 70.0, 70.0], [85.0, 35.0, 70.0, 70.0]])
        mask = GrabCut()(torch.cat([left, right]), boxes)
        assert measure_iou(mask, torch.cat([left_disc, right_disc])) > 0.95

    def test_large_photo_keeps_its_edge(self):
        photo, disc = make_disc(900, 1100, x=500, y=550, radius=250)
        mask = GrabCut()(photo)
        assert measure_iou(mask, disc) > 0.98
        assert (mask - disc).abs().mean() < 0.02

    def test_holes_are_filled_and_specks_dropped(self):
        photo, disc = make_disc()
        photo[..., 66:74, 76:84] = photo[..., :8, :8]  # a hole
        photo[..., 10:20, 140:150] = photo[..., 66:76, 60:70]  # a speck
        mask = GrabCut()(photo)
        assert mask[0, 0, 70, 80] > 0.9
        assert mask[0, 0, 15, 145] == 0
        assert measure_iou(mask, disc) > 0.93

    @pytest.mark.parametrize("box", [None, (0, 0, 1, 1)])
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 37), (41, 1), (2, 3), (7, 5), (3, 700), (63, 101)])
    def test_odd_sizes(self, height, width, box):
        photo = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
        mask = GrabCut()(photo, box)
        assert mask.shape == (2, 1, height, width)
        assert mask.min() >= 0
        assert mask.max() <= 1

    @pytest.mark.parametrize("level", [0.0, 0.5, 1.0, 7.0])
    def test_constant_photo_falls_back_to_the_prior(self, level):
        mask = GrabCut()(torch.full((1, 3, 80, 100), level))
        assert mask[0, 0, 50, 50] == 1
        assert mask[0, 0, -1, 50] == 1  # cut off by the lower edge
        assert mask[0, 0, 2, 2] == 0

    def test_constant_photo_falls_back_to_the_box(self):
        mask = GrabCut()(torch.full((1, 3, 80, 100), 0.5), box=(10, 20, 30, 40))
        assert mask[0, 0, 40, 25] == 1
        assert mask[0, 0, 40, 60] == 0

    def test_nan_stays_where_it_is(self):
        photo, disc = make_disc()
        photo[..., 0, 0] = float("nan")
        assert measure_iou(GrabCut()(photo), disc) > 0.95

    def test_empty_batch(self):
        assert GrabCut()(torch.zeros(0, 3, 8, 8)).shape == (0, 1, 8, 8)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_keeps_dtype(self, dtype):
        photo, disc = make_disc()
        mask = GrabCut()(photo.to(dtype))
        assert mask.dtype == dtype
        assert measure_iou(mask, disc) > 0.95

    def test_is_deterministic_and_non_contiguous_input_is_the_same(self):
        photo, _ = make_disc()
        first = GrabCut()(photo)
        torch.testing.assert_close(GrabCut()(photo), first, rtol=0, atol=0)
        columns_first = photo.transpose(2, 3).contiguous().transpose(2, 3)
        torch.testing.assert_close(GrabCut()(columns_first), first, rtol=0, atol=1e-5)

    def test_a_point_is_refused(self):
        with pytest.raises(ValueError, match="expected a box round the subject"):
            GrabCut()(torch.rand(1, 3, 8, 8), point=(3, 3))

    def test_has_no_gradient(self):
        photo, _ = make_disc()
        assert not GrabCut()(photo.requires_grad_()).requires_grad

    @pytest.mark.parametrize(
        ("photo", "box", "message"),
        [
            (torch.zeros(3, 8, 8), None, "photo has shape"),
            (torch.zeros(1, 1, 8, 8), None, "photo has shape"),
            (torch.zeros(1, 3, 0, 8), None, "photo has shape"),
            (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), None, "photo is torch.uint8"),
            (torch.zeros(1, 3, 8, 8), (1, 2, 3), "box has shape"),
            (torch.zeros(1, 3, 8, 8), torch.zeros(2, 4), "box has shape"),
            (torch.zeros(1, 3, 8, 8), (9, 0, 4, 4), "inside the 8 x 8 photo"),
            (torch.zeros(1, 3, 8, 8), (0, 0, 0, 4), "inside the 8 x 8 photo"),
            (torch.zeros(1, 3, 8, 8), (0, float("nan"), 4, 4), "inside the 8 x 8 photo"),
        ],
    )
    def test_refuses(self, photo, box, message):
        with pytest.raises(ValueError, match=message):
            GrabCut()(photo, box)


class TestGroundPlane:
    photo = torch.zeros(1, 3, 100, 40)

    def test_is_linear_below_the_horizon(self):
        disparity = GroundPlane(horizon=0.4)(self.photo)
        assert disparity.shape == (1, 1, 100, 40)
        assert disparity[..., -1, :].eq(1).all()
        ground = disparity[0, 0, 60:, 0]
        torch.testing.assert_close(ground.diff(), torch.full((39,), 1 / 60))
        # Extended upwards, the line meets 0 at the horizon.
        torch.testing.assert_close(ground[0] - (61 - 40) / 60, torch.tensor(0.0), atol=1e-6, rtol=0)

    def test_backdrop_recedes_above_the_horizon(self):
        column = GroundPlane()(self.photo)[0, 0, :, 0]
        assert (column.diff() > 0).all()
        assert column[0] > 0
        assert column[40] < 0.1

    def test_subject_takes_the_disparity_of_its_contact_row(self):
        mask = torch.zeros(1, 1, 100, 40)
        mask[..., 20:80, 10:20] = 1
        plain = GroundPlane()(self.photo)
        disparity = GroundPlane()(self.photo, mask)
        torch.testing.assert_close(disparity[mask == 1], plain[0, 0, 79, 0].expand(600))
        torch.testing.assert_close(disparity[mask == 0], plain[mask == 0])

    def test_no_pixel_lies_between_subject_and_plane(self):
        mask = torch.zeros(1, 1, 100, 40)
        mask[..., 20:80, 10:20] = 1
        mask[..., 20:95, 9] = 0.25  # too weak to touch the ground
        mask[..., 20:80, 20] = 0.75
        plain = GroundPlane()(self.photo)
        disparity = GroundPlane()(self.photo, mask)
        assert torch.equal(disparity[..., 9], plain[..., 9])
        assert torch.equal(disparity[..., 20:80, 20], plain[..., 79:80, 20].expand(1, 1, 60))

    def test_subject_cut_off_by_the_frame_is_nearest(self):
        mask = torch.zeros(1, 1, 100, 40)
        mask[..., 30:, 10:20] = 1
        assert GroundPlane()(self.photo, mask)[mask == 1].eq(1).all()

    def test_subject_above_the_horizon_stands_out(self):
        mask = torch.zeros(1, 1, 100, 40)
        mask[..., 10:20, 10:20] = 1
        disparity = GroundPlane()(self.photo, mask)
        assert disparity[mask == 1].min() > 2 * disparity[..., :20, :][mask[..., :20, :] == 0].max()

    def test_subjects_of_a_batch_are_apart(self):
        masks = torch.zeros(2, 1, 100, 40)
        masks[0, ..., 50:80, :] = 1
        masks[1, ..., 50:, :] = 1
        photo = self.photo.expand(2, 3, 100, 40)
        together = GroundPlane()(photo, masks)
        for i in range(2):
            torch.testing.assert_close(together[i], GroundPlane()(self.photo, masks[i : i + 1])[0])

    def test_empty_and_full_mask(self):
        plain = GroundPlane()(self.photo)
        torch.testing.assert_close(GroundPlane()(self.photo, torch.zeros(1, 1, 100, 40)), plain)
        assert GroundPlane()(self.photo, torch.ones(1, 1, 100, 40)).eq(1).all()

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (3, 2)])
    @pytest.mark.parametrize("horizon", [0.0, 0.4, 0.99])
    def test_odd_sizes(self, height, width, horizon):
        photo, mask = torch.zeros(2, 3, height, width), torch.full((2, 1, height, width), 0.7)
        for disparity in (GroundPlane(horizon)(photo), GroundPlane(horizon)(photo, mask)):
            assert disparity.shape == (2, 1, height, width)
            assert disparity.min() >= 0
            assert disparity.max() <= 1

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_keeps_dtype(self, dtype):
        photo = self.photo.to(dtype)
        assert GroundPlane()(photo).dtype == dtype
        assert GroundPlane()(photo, torch.ones(1, 1, 100, 40)).dtype == dtype

    @pytest.mark.parametrize("horizon", [-0.1, 1.0, float("nan")])
    def test_refuses_a_horizon(self, horizon):
        with pytest.raises(ValueError, match="horizon is"):
            GroundPlane(horizon)

    def test_refuses_shapes(self):
        with pytest.raises(ValueError, match="photo has shape"):
            GroundPlane()(torch.zeros(3, 4, 4))
        with pytest.raises(ValueError, match="mask has shape"):
            GroundPlane()(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 5))


def test_subject_stands_out_from_its_surroundings():
    photo, disc = make_disc()
    mask = create_mask_model("grabcut")(photo)
    disparity = create_depth_model("ground_plane")(photo, mask)
    above = (disc == 0) & (torch.arange(120)[:, None] < 60)
    assert disparity[disc == 1].median() > 3 * disparity[above].max()
