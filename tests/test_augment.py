import math

import pytest
import torch

from depthbokeh import scatter_blur
from depthbokeh.color import linear_to_srgb, srgb_to_linear
from depthbokeh.data.augment import Augmentation, make_generator
from depthbokeh.data.sample import Sample

PLAIN = Augmentation(flip=False)


def make_sample(height=24, width=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    photo = torch.rand(3, height, width, generator=generator)
    where = torch.arange(height * width, dtype=torch.float32).view(1, height, width) / (height * width)
    return Sample("7", photo, photo.clone(), where.clone(), where.clone())


def draws(augmentation, sample, count=32):
    return [augmentation(sample, make_generator(0, 0, index)) for index in range(count)]


def test_without_settings_nothing_changes():
    sample = make_sample()
    (changed,) = draws(PLAIN, sample, 1)
    for name in ("photo", "bokeh", "disparity", "mask"):
        assert torch.equal(getattr(changed, name), getattr(sample, name))


def test_crop_and_flip_are_the_same_for_all():
    sample = make_sample()
    corners = set()
    for changed in draws(Augmentation(crop=(8, 10)), sample, 200):
        assert torch.equal(changed.disparity, changed.mask)
        assert torch.equal(changed.photo, changed.bokeh)
        places = (changed.mask[0] * 24 * 32).round().long()
        assert torch.equal(changed.photo, sample.photo.flatten(1)[:, places])
        corners.add((int(places.min()), bool(places[0, 1] < places[0, 0])))
    assert len(corners) > 100
    assert {flipped for _, flipped in corners} == {True, False}
    rows = {corner // 32 for corner, _ in corners}
    columns = {corner % 32 for corner, _ in corners}
    assert (min(rows), max(rows), min(columns), max(columns)) == (0, 16, 0, 22)


def test_colour_changes_alike_and_commutes_with_blur():
    # Neither so dark nor so bright that something is clipped.
    photo = 0.3 + 0.2 * make_sample().photo
    linear = srgb_to_linear(photo)[None]
    bokeh = linear_to_srgb(scatter_blur(linear, torch.full((1, 1, 24, 32), 3.0)))[0]
    augmentation = Augmentation(flip=False, exposure=0.5, white_balance=0.3, saturation=0.4)
    seen = []
    for changed in draws(augmentation, Sample("1", photo, bokeh), 8):
        blurred = scatter_blur(srgb_to_linear(changed.photo)[None], torch.full((1, 1, 24, 32), 3.0))
        assert (linear_to_srgb(blurred)[0] - changed.bokeh).abs().max() < 2e-3
        seen.append(changed.photo.mean((1, 2)))
    assert torch.stack(seen).std(0).min() > 0.02


def test_exposure_is_a_gain_in_linear_light():
    sample = make_sample().replace(photo=torch.full((3, 4, 4), 0.3), bokeh=torch.full((3, 4, 4), 0.3))
    gains = [
        math.log2(float(srgb_to_linear(changed.photo).mean() / srgb_to_linear(torch.tensor(0.3))))
        for changed in draws(Augmentation(flip=False, exposure=1.0), sample, 64)
    ]
    assert -1 <= min(gains) < -0.7
    assert 0.7 < max(gains) <= 1.0


@pytest.mark.parametrize(
    "setting", [{"disparity_gamma": 1.0}, {"disparity_scale": 0.4}, {"disparity_noise": 0.1}, {"disparity_blur": 0.1}]
)
def test_disparity_is_disturbed_alone(setting):
    sample = make_sample()
    changed = draws(Augmentation(flip=False, **setting), sample, 4)
    for one in changed:
        assert torch.equal(one.photo, sample.photo)
        assert torch.equal(one.mask, sample.mask)
        assert 1e-4 < (one.disparity - sample.disparity).abs().mean() < 0.3
        assert one.disparity.min() >= 0
        assert one.disparity.max() <= 1
    assert not torch.equal(changed[0].disparity, changed[1].disparity)


def test_a_scaled_disparity_keeps_its_order_and_range():
    sample = make_sample()
    for changed in draws(Augmentation(flip=False, disparity_scale=0.4, disparity_gamma=1.0), sample):
        assert (changed.disparity.flatten().diff() >= 0).all()
        low, high = changed.disparity.aminmax()
        assert high - low > 0.55


def test_one_setting_does_not_change_what_others_draw():
    sample = make_sample()
    for index in range(8):
        few, many = (
            augmentation(sample, make_generator(1, 2, index))
            for augmentation in (
                Augmentation(crop=(8, 8)),
                Augmentation(crop=(8, 8), exposure=0.5, disparity_noise=0.1),
            )
        )
        assert torch.equal(few.mask, many.mask)


def test_randomness_goes_by_seed_epoch_and_index():
    numbers = {
        float(torch.rand(1, generator=make_generator(*key)))
        for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)]
    }
    assert len(numbers) == 6


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"exposure": -1.0}, "exposure must be"),
        ({"disparity_noise": math.nan}, "disparity_noise must be"),
        ({"saturation": 1.0}, "saturation must be below 1"),
        ({"crop": (0, 4)}, "crop must be"),
    ],
)
def test_refuses(setting, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**setting)


def test_a_picture_smaller_than_the_crop_is_named():
    with pytest.raises(ValueError, match="pair 7 has 32 x 24 pixels"):
        draws(Augmentation(crop=(25, 8)), make_sample(), 1)
