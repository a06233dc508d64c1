"""The app without a browser: what is read, picked, painted, rendered and removed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from app_photos import write_scene
from hostile_photos import NOISE, encode
from PIL import Image

from depthbokeh.aperture import Aperture
from depthbokeh.app.look import SHAPES, Look
from depthbokeh.app.session import Session, Upload
from depthbokeh.app.sessions import NoPhotoError, Sessions
from depthbokeh.app.strokes import Stroke, paint, read_stroke
from depthbokeh.app.studio import Pick, Studio
from depthbokeh.app.uploads import clean_name, open_mask, open_photo
from depthbokeh.photo import PhotoError, read_photo, write_photo


@pytest.fixture(scope="module")
def studio():
    return Studio("grabcut", "ground_plane")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A portrait with EXIF and ICC profile, and its mask."""
    return write_scene(tmp_path_factory.mktemp("scene"), seed=10)


@pytest.fixture
def session(studio, scene):
    return Session(studio, Upload(scene.photo, "portrait.jpg"))


# The look


@pytest.mark.parametrize("number", [0.7, 1.4, 5.6])
def test_blur_is_inverse_to_the_f_number(number):
    one, other = (Look(f_number=n).find_strength(0.6, 1000) for n in (number, 2 * number))
    assert one == pytest.approx(2 * other, rel=1e-9)


def test_f_number_is_that_of_a_full_frame_lens():
    """The blur disk of a point at infinity: f / N across, seen from the subject's distance."""
    look = Look(f_number=2.0, focal_length_mm=85, distance_m=3.0)
    diameter = 85e-3 / 2.0 * 85e-3 / (3.0 - 85e-3)  # metres on the sensor
    radius = 0.8 * look.find_strength(0.8, 3600)  # from the subject's disparity to 0
    assert radius == pytest.approx(diameter / 2 / 0.036 * 3600, rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_an_aperture(shape):
    Aperture.parse(Look(shape=shape).aperture)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"f_number": 0.0}, "f-number is 0: expected 0.5 to 64"),
        ({"f_number": float("nan")}, "f-number is nan"),
        ({"strength": -1}, "strength is -1"),
        ({"shape": "Star"}, "shape is 'Star': expected one of Round"),
        ({"distance_m": 0.3, "focal_length_mm": 200}, "more than twice the focal length"),
    ],
)
def test_impossible_looks_are_refused(setting, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        Look(**setting)


# Strokes


def test_strokes_cover_the_same_at_any_size():
    strokes = [
        Stroke(((0.2, 0.3), (0.7, 0.6)), 0.1, adds=True),
        Stroke(((0.5, 0.45),), 0.06, adds=False),
    ]
    small, large = (paint(torch.zeros(1, 1, *size), strokes) for size in ((80, 120), (240, 360)))
    reduced = torch.nn.functional.avg_pool2d(large, 3)
    assert (small - reduced).abs().mean() < 0.02  # half a pixel all round
    assert small[0, 0, 24, 24] > 0.95
    assert small[0, 0, 36, 60] < 0.05  # removed again
    assert small[0, 0, 75, 110] == 0


@pytest.mark.parametrize(
    ("points", "radius", "told"),
    [
        ([], 0.1, "0 points"),
        ([[0.5, 0.5]] * 3000, 0.1, "3000 points"),
        ([[5, 5]], 0.1, "beyond the picture"),
        ([[float("nan"), 0]], 0.1, "beyond the picture"),
        ([[0.5, 0.5]], 9, "radius is 9"),
        ([[0.5]], 0.1, "not enough values"),
        (None, 0.1, "not made of points"),
    ],
)
def test_impossible_strokes_are_refused(points, radius, told):
    with pytest.raises(ValueError, match=told):
        read_stroke(points, radius, True)


# Sessions


def test_the_subject_stays_sharp_and_the_rest_is_blurred(session, scene):
    image, preview = session.image, session.render_preview(Look(f_number=None, strength=4))
    inside = scene.mask > 0.99
    away = (preview - image).abs().mean(1, keepdim=True)
    assert session.mask[inside].mean() > 0.9
    assert away[inside].median() < 0.01
    assert away[scene.mask < 0.01].median() > 0.02


def test_picking_moves_mask_and_focus(session):
    before = session.plane
    session.focus_on(0.9)
    session.pick(Pick(0.05, 0.05, 0.2, 0.3))
    assert session.choices.focus is None
    assert session.mask[..., :, 64:].mean() < 0.01  # nothing on the other side of the picture
    assert session.plane != before
    session.reset()
    assert session.plane == before


def test_a_click_on_the_subject_keeps_what_was_painted(session):
    session.paint(Stroke(((0.1, 0.1),), 0.05, adds=True))
    session.focus_on(0.1)
    painted = session.mask
    session.pick(Pick(0.1, 0.1))
    assert session.mask is painted
    assert session.choices.focus is None
    session.pick(Pick(0.05, 0.6))
    assert session.choices.strokes == ()


def test_without_a_mask_a_click_is_focused_on(session, tmp_path):
    height, width = session.image.shape[2:]
    write_photo(tmp_path / "near.png", torch.linspace(0, 1, width).expand(1, 1, height, width), bits=16)
    session.give_disparity(Upload(tmp_path / "near.png", "near.png"))
    for x in (0.25, 0.75):
        session.pick(Pick(x, 0.5))
        assert session.mask is None
        assert session.plane == pytest.approx(x, abs=0.02)
    look = Look(f_number=None, strength=4)
    change = (session.render_preview(look) - session.image).abs().mean((0, 1, 2))
    assert change[int(0.7 * width) : int(0.8 * width)].mean() < change[: width // 2].mean() / 3


@pytest.mark.parametrize("place", [(1.0, 0.5), (-0.1, 0.5), (float("nan"), 0.5), (0.5, 0.5, 0.6, 0.1)])
def test_picks_outside_the_picture_are_refused(place):
    with pytest.raises(ValueError, match="lies outside the picture"):
        Pick(*place)


def test_painting_and_taking_back(session):
    found = session.mask
    session.paint(Stroke(((0.1, 0.1),), 0.05, adds=True))
    session.paint(Stroke(((0.5, 0.5),), 0.05, adds=False))
    height, width = session.image.shape[2:]
    at = (session.mask[0, 0, height // 10, width // 10], session.mask[0, 0, height // 2, width // 2])
    assert at[0] > 0.95
    assert at[1] < 0.05
    session.undo()
    session.undo()
    assert torch.equal(session.mask, found)


def test_the_download_is_the_preview_in_full(studio, tmp_path, monkeypatch):
    """Larger than the preview, with EXIF, ICC profile and the same look; the subject as it was."""
    monkeypatch.setattr("depthbokeh.app.session.PREVIEW_PIXELS", 160)
    scene = write_scene(tmp_path, seed=3, size=(288, 384))
    session = Session(studio, Upload(scene.photo, "large.jpg"))
    session.paint(Stroke(((0.1, 0.1),), 0.1, adds=True))
    look = Look(f_number=None, strength=3)
    session.render_full(look, tmp_path / "out.jpg")
    full, photo = read_photo(tmp_path / "out.jpg"), read_photo(scene.photo)
    assert full.image.shape == photo.image.shape
    assert max(session.image.shape) == 160
    assert full.exif_ifd()[33437] == photo.exif_ifd()[33437]
    assert full.icc == photo.icc is not None
    small = torch.nn.functional.interpolate(full.image, session.image.shape[2:], mode="bilinear", antialias=True)
    assert (small - session.render_preview(look)).square().mean() < 1e-3
    kept = (scene.mask > 0.99).expand_as(full.image)
    assert (full.image - photo.image).abs()[kept].median() < 0.01
    painted = (slice(None), slice(None), slice(23, 35), slice(32, 45))
    assert (full.image - photo.image)[painted].abs().mean() < 0.02


def test_maps_of_ones_own(session, scene, tmp_path):
    height, width = session.image.shape[2:]
    write_photo(tmp_path / "mask.png", scene.mask)
    slope = torch.linspace(0, 1, width).expand(1, 1, height, width)
    write_photo(tmp_path / "disparity.png", slope, bits=16)
    session.give_mask(Upload(tmp_path / "mask.png", "mask.png"))
    assert (session.mask - scene.mask).abs().max() < 0.01
    session.give_disparity(Upload(tmp_path / "disparity.png", "disparity.png"))
    assert (session.disparity - slope).abs().max() < 1e-3
    assert session.mask is not None  # it was given, too
    session.reset()
    session.give_disparity(Upload(tmp_path / "disparity.png", "disparity.png"))
    assert session.mask is None  # what is found by colour would spoil a good map
    session.cut_out(True)
    assert session.mask is not None
    assert session.disparity is not None


def test_an_unfit_map_changes_nothing(session, tmp_path):
    path = tmp_path / "secret-folder.png"
    write_photo(path, torch.rand(1, 1, 64, 64))
    before = session.choices
    with pytest.raises(PhotoError, match=r"^mine\.png: the map is 64 x 64 pixels, expected 128 x 96"):
        session.give_mask(Upload(path, "mine.png"))
    assert session.choices == before
    session.render_preview(Look())


# Files


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no picture at all", "a file of another kind, expected a JPEG"),
        (b"", "an empty file"),
        (encode(NOISE, "JPEG")[:900], "cannot be read as JPEG"),
        (encode(NOISE[:1, :1], "PNG"), "1 x 1 pixels, expected at least 32"),
        (encode(NOISE, "GIF"), "a file of another kind"),
    ],
)
def test_unfit_photos_are_refused_by_their_own_name(content, told, tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=rf"^holiday\.jpg: .*{told}") as caught:
        open_photo(path, "holiday.jpg")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind, tmp_path):
    frames = [Image.new("RGB", (64, 48), (level, 0, 0)) for level in (0, 128, 255)]
    frames[0].save(tmp_path / "moving", kind, save_all=True, append_images=frames[1:])
    with pytest.raises(PhotoError, match="an animation, expected a photo"):
        open_photo(tmp_path / "moving", "moving.png")


def test_names_lose_their_folders():
    assert clean_name("../../../etc/passwd") == "passwd"
    assert clean_name("<img src=x>/\0\n.jpg") == "jpg"
    assert len(clean_name("a" * 500 + ".jpg")) < 80


def test_sessions_do_not_see_each_other_and_leave_nothing(studio, tmp_path):
    uploads = [write_scene(tmp_path / name, seed=seed).photo for name, seed in (("a", 1), ("b", 2))]
    sessions = Sessions(studio, tmp_path / "root")
    desks = [sessions.open(key, path) for key, path in zip("ab", uploads, strict=True)]
    assert not any(path.exists() for path in uploads)
    assert not torch.equal(desks[0].session.image, desks[1].session.image)
    assert sessions.get("a") is desks[0]
    files = [path for desk in desks for path in (*desk.render_preview(Look()), desk.render_full(Look()))]
    assert len(set(files)) == 6
    sessions.close("a")
    with pytest.raises(NoPhotoError, match="no photo is open"):
        sessions.get("a")
    assert [path.exists() for path in files] == [False] * 3 + [True] * 3
    sessions.close_all()
    assert list((tmp_path / "root").iterdir()) == []


def test_a_download_that_cannot_be_written_tells_no_place(studio, scene, tmp_path, monkeypatch):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(scene.photo.read_bytes())
    desk = Sessions(studio, tmp_path / "root").open("a", photo)

    def fail(path, *_, **__):
        raise PhotoError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr("depthbokeh.app.session.write_photo", fail)
    with pytest.raises(PhotoError, match=r"^photo-bokeh\.jpg: cannot be written: No space left on device$"):
        desk.render_full(Look())


def test_old_pictures_are_removed(studio, scene, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(scene.photo.read_bytes())
    sessions = Sessions(studio, tmp_path / "root")
    desk = sessions.open("a", photo)
    pictures = [desk.render_preview(Look(f_number=2 + i))[1] for i in range(9)]
    assert [path.exists() for path in pictures] == [False] * 3 + [True] * 6


def test_a_refused_photo_leaves_the_one_before(studio, scene, tmp_path):
    photo, text = tmp_path / "photo.jpg", tmp_path / "text.jpg"
    photo.write_bytes(scene.photo.read_bytes())
    text.write_text("text")
    sessions = Sessions(studio, tmp_path / "root")
    desk = sessions.open("a", photo)
    with pytest.raises(PhotoError, match=r"^text\.jpg: a file of another kind"):
        sessions.open("a", text)
    assert sessions.get("a") is desk
    assert len(list((tmp_path / "root").iterdir())) == 1


def test_of_too_many_sessions_the_oldest_goes(studio, tmp_path, monkeypatch):
    monkeypatch.setattr("depthbokeh.app.sessions.MAX_SESSIONS", 2)
    sessions = Sessions(studio, tmp_path / "root")
    for key in "abc":
        sessions.open(key, write_scene(tmp_path / key, seed=1, size=(48, 64)).photo)
    assert len(sessions) == 2
    with pytest.raises(NoPhotoError):
        sessions.get("a")


def test_a_map_that_claims_too_many_pixels_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("depthbokeh.app.uploads.MAX_MEGAPIXELS", 0.001)
    path = Path(tmp_path / "map.png")
    write_photo(path, torch.rand(1, 1, 40, 40))
    with pytest.raises(PhotoError, match=r"map\.png: 40 x 40 pixels, expected at most 0\.001 million"):
        open_mask(path, "map.png", (40, 40))
