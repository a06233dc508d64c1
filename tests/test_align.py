import cv2
import numpy as np
import pytest
import torch

from depthbokeh.data.align import align_pair, apply_alignment
from depthbokeh.data.sharpness import SharpComparison

HEIGHT, WIDTH = 240, 320
MARGIN = 24
TURN = np.array([[1.004, 0.006, -2.4], [-0.004, 0.997, 2.1], [6e-6, -4e-6, 1.0]])


@pytest.fixture(scope="module")
def wide():
    """A texture larger than the frame, (H, W, 3), so that moved pictures are filled to their borders."""
    rng = np.random.default_rng(0)
    shape = (HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN, 3)
    noise = sum(s * cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), s) for s in (1.5, 4, 9))
    return (noise - noise.min()) / (noise.max() - noise.min())


def to_tensor(picture):
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()


def take(wide, matrix=None):
    """The frame's part; with a matrix, what the other picture shows if it moves by that onto this one."""
    inner = np.array([[1, 0, MARGIN], [0, 1, MARGIN], [0, 0, 1.0]])
    total = inner @ (np.eye(3) if matrix is None else matrix)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(wide, total, (WIDTH, HEIGHT), flags=flags).clip(0, 1)


def shift(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def blur_outside(picture, radius, sigma=6.0, centre=(WIDTH / 2, HEIGHT / 2)):
    """What a fast lens focused on a disk would make of it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    sharp = (((x - centre[0]) ** 2 + (y - centre[1]) ** 2) < radius**2).astype(np.float32)
    sharp = cv2.GaussianBlur(sharp, (0, 0), 1.5)[..., None]
    return sharp * picture + (1 - sharp) * cv2.GaussianBlur(picture, (0, 0), sigma)


def corner_error(found, true):
    corners = np.array([[0, 0], [WIDTH - 1, 0], [WIDTH - 1, HEIGHT - 1], [0, HEIGHT - 1]], np.float64)[None]
    return np.linalg.norm(cv2.perspectiveTransform(corners, found) - cv2.perspectiveTransform(corners, true), axis=2)


def test_homography_is_recovered(wide):
    found = align_pair(to_tensor(take(wide)), to_tensor(take(wide, TURN)))
    assert found.kind == "homography"
    assert corner_error(found.matrix, TURN).max() < 0.5
    assert found.error_after < 0.2 * found.error_before


@pytest.mark.parametrize("move", [(4.6, -2.3), (-0.9, 0.5), (7.0, 0.0)])
def test_translation_is_recovered_from_a_sharp_subject_before_a_blurred_background(wide, move):
    bokeh = blur_outside(take(wide, shift(*move)), 55)
    found = align_pair(to_tensor(take(wide)), to_tensor(bokeh))
    assert found.kind == "translation"
    assert np.abs(found.matrix[:2, 2] - move).max() < 0.5
    assert np.array_equal(found.matrix[:2, :2], np.eye(2))


def test_gain_does_not_matter(wide):
    bokeh = 0.6 * blur_outside(take(wide, shift(3.0, 1.0)), 55)
    found = align_pair(to_tensor(take(wide)), to_tensor(bokeh))
    assert found.kind == "translation"
    assert np.abs(found.matrix[:2, 2] - (3, 1)).max() < 0.5


@pytest.mark.parametrize("radius", [1000, 55, 0])
def test_an_aligned_pair_stays_as_it_is(wide, radius):
    photo = take(wide)
    found = align_pair(to_tensor(photo), to_tensor(blur_outside(photo, radius)))
    assert found.kind == "none"
    assert np.array_equal(found.matrix, np.eye(3))
    assert found.crop == (0, 0, WIDTH, HEIGHT)


def test_matches_in_the_middle_do_not_make_a_homography(wide):
    # The subject turns, the background does not: a homography of the subject would throw the corners about.
    turned = np.array([[1.0, 0.03, -4.0], [-0.03, 1.0, 4.5], [0, 0, 1.0]])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    subject = (((x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2) < 55**2)[..., None]
    bokeh = np.where(subject, take(wide, turned), cv2.GaussianBlur(take(wide), (0, 0), 6))
    found = align_pair(to_tensor(take(wide)), to_tensor(bokeh))
    assert found.matches > 40
    assert found.kind != "homography"


def test_a_blurred_background_that_moves_does_not_decide(wide):
    # Leaves in the wind: most of the frame has moved, but it is blurred; the sharp subject has not.
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    subject = (((x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2) < 55**2)[..., None]
    moved = cv2.GaussianBlur(take(wide, shift(6.0, 0.0)), (0, 0), 2.5)
    found = align_pair(to_tensor(take(wide)), to_tensor(np.where(subject, take(wide), moved)))
    assert found.kind == "none"


def test_a_gain_in_one_part_of_the_frame_is_not_typical(wide):
    left = np.arange(WIDTH) < WIDTH / 4
    other = cv2.GaussianBlur(np.random.default_rng(1).standard_normal((HEIGHT, WIDTH)), (0, 0), 1.5)
    photo, moved = ((take(wide, matrix).mean(2) * 255).astype(np.float32) for matrix in (None, shift(3, 0)))
    bokeh = np.where(left, moved, 128 + 12 * other / other.std()).astype(np.float32)
    change = SharpComparison(photo, bokeh).measure(shift(3, 0))
    assert change.after < 0.98 * change.before
    assert 0.97 < change.typical < 1.1


def test_another_picture_is_left_alone(wide):
    other = np.random.default_rng(1).random((HEIGHT, WIDTH, 3), np.float32)
    found = align_pair(to_tensor(take(wide)), to_tensor(cv2.GaussianBlur(other, (0, 0), 2)))
    assert found.kind == "none"


def test_pictures_without_features():
    found = align_pair(torch.full((1, 3, 40, 50), 0.5), torch.full((1, 3, 40, 50), 0.4))
    assert (found.kind, found.matches, found.reason) == ("none", 0, "too few matches")


def test_result_lies_on_the_photo_and_crop_is_what_both_show(wide):
    photo, bokeh = to_tensor(take(wide)), to_tensor(take(wide, TURN))
    found = align_pair(photo, bokeh)
    left, top, width, height = found.crop
    cut = apply_alignment(photo, np.eye(3), found.crop)
    assert torch.equal(cut, photo[..., top : top + height, left : left + width])
    moved = apply_alignment(bokeh, found.matrix, found.crop)
    assert (moved - cut).abs().mean() < 0.005
    assert (bokeh[..., top : top + height, left : left + width] - cut).abs().mean() > 0.03
    corners = np.array([[left, top], [left + width - 1, top + height - 1.0]])[None]
    back = cv2.perspectiveTransform(corners, np.linalg.inv(found.matrix))[0]
    assert (back >= -0.01).all()
    assert (back <= (WIDTH - 0.99, HEIGHT - 0.99)).all()
    assert width > WIDTH - 8


@pytest.mark.parametrize("size", [(240, 322), (120, 160), (90, 120)])
def test_resizing_keeps_the_edges(size):
    ramp = torch.linspace(0, 1, WIDTH).expand(1, 1, HEIGHT, WIDTH)
    resized = apply_alignment(ramp, np.eye(3), (0, 0, WIDTH, HEIGHT), size)
    expected = torch.nn.functional.interpolate(ramp, size, mode="bilinear", antialias=True)
    assert resized.shape == (1, 1, *size)
    assert (resized - expected).abs().max() < 0.003


def test_error_ignores_exposure_and_sees_a_shift(wide):
    grey = (take(wide).mean(2) * 255).astype(np.float32)
    comparison = SharpComparison(grey, 0.7 * grey + 20)
    change = comparison.measure(shift(2, 0))
    assert change.before < 0.03
    assert change.after > 5 * change.before
    assert change.typical > 5


@pytest.mark.parametrize(
    ("photo", "bokeh", "message"),
    [
        (torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), "photo has shape"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9), "bokeh has shape"),
    ],
)
def test_refuses(photo, bokeh, message):
    with pytest.raises(ValueError, match=message):
        align_pair(photo, bokeh)
