"""The app in a real browser, without a screen: the whole way of a photo, hostile uploads, many at a time.

With DEPTHBOKEH_SCREENSHOTS=1 the pictures of docs/app.md are taken, of a larger photo.
"""

from __future__ import annotations

import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from app_photos import write_scene
from app_server import PATIENCE_S, Program, find_browser, require, run_app, wait_until
from hostile_photos import DATA, END, NOISE, SIGNATURE, encode, header
from PIL import Image

from depthbokeh.photo import read_photo

TAKES_SCREENSHOTS = os.environ.get("DEPTHBOKEH_SCREENSHOTS") == "1"
IMAGES = Path(__file__).parents[1] / "docs" / "images" / "app"
SIZE, SEED = ((683, 1024), 7) if TAKES_SCREENSHOTS else ((96, 128), 10)
FACE = (0.46, 0.5) if TAKES_SCREENSHOTS else (0.62, 0.5)  # a place on the subject
CONTROLS = ("f-number", 1.4, 50, 2, 2.5, "Blades", 7, 0.5, 4)
# What would show how the server is made.
INSIDES = re.compile(r"Traceback|File \"|/tmp/|/home/|/root/|site-packages|\.py\b|\wError\b")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    require("gradio", find_spec("gradio") is not None)
    with run_app(tmp_path_factory.mktemp("app")) as running:
        yield running
    assert list(running.folder.iterdir()) == []  # nothing stays behind


@pytest.fixture(scope="module")
def browser():
    require("playwright", find_spec("playwright") is not None)
    require("Chromium", find_browser() is not None)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield running
        running.close()


class Visitor:
    """Somebody with a browser window of their own."""

    def __init__(self, browser, server, width=1280, height=800):
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.context.set_default_timeout(1000 * PATIENCE_S)
        self.page = self.context.new_page()
        self.addresses, self.errors = [], []
        self.page.on("request", lambda request: self.addresses.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(server.url)
        self.page.wait_for_selector("#drop input[type=file]", state="attached")

    def open(self, path):
        self.page.set_input_files("#drop input[type=file]", path)
        self.page.wait_for_selector("#result img")
        self.wait_for_result("")

    def result(self):
        """Address of the picture as it will look."""
        addresses = self.page.eval_on_selector_all("#result img", "images => images.map(image => image.src)")
        return next((address for address in addresses if "/after-" in address), "")

    def wait_for_result(self, before):
        wait_until(lambda: self.wait(20) or self.result() not in ("", before))

    def wait(self, milliseconds):
        self.page.wait_for_timeout(milliseconds)

    def picture(self):
        """The picture as it will look, (H, W, 3)."""
        return read_picture(self.page.request.get(self.result()).body())

    def after(self, act):
        """Does something and waits for the picture that comes of it."""
        before = self.result()
        act()
        self.wait_for_result(before)

    def at(self, place):
        box = self.page.locator("#stage .frame").bounding_box()
        return box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]

    def drag(self, start, end, steps=4):
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move(*end, steps=steps)
        mouse.up()

    def slide(self, name, share):
        """Drags a slider's handle to a share of its way."""
        slider = self.page.locator(f"#{name} input[type=range]")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        low, high, value = (float(slider.evaluate(f"slider => slider.{key}")) for key in ("min", "max", "value"))
        y = box["y"] + box["height"] / 2
        handle = 16  # pixels wide; it stays within the slider
        start, end = (
            box["x"] + handle / 2 + part * (box["width"] - handle) for part in ((value - low) / (high - low), share)
        )
        self.drag((start, y), (end, y))

    def mask(self):
        """What is shaded, (H, W): 1 is subject."""
        import base64

        url = self.page.get_attribute("#stage .mask", "src")
        shade = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))[..., 3] / 255
        return 1 - shade / shade.max()

    def download(self, path):
        with self.page.expect_download() as waiting:
            self.page.click("#render")
        waiting.value.save_as(path)
        return waiting.value.suggested_filename

    def close(self):
        self.context.close()


def read_picture(data):
    return np.asarray(Image.open(io.BytesIO(data)), float)


@pytest.fixture
def visit(browser, server):
    visitors = []

    def come(*size):
        visitors.append(Visitor(browser, server, *size))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.close()


@pytest.fixture
def shoot(tmp_path):
    folder = IMAGES if TAKES_SCREENSHOTS else tmp_path
    folder.mkdir(parents=True, exist_ok=True)

    def take(visitor, name, **options):
        if TAKES_SCREENSHOTS:
            visitor.wait(1500)
            visitor.page.wait_for_function("() => !document.body.innerText.includes('processing')")
        visitor.page.screenshot(path=folder / f"{name}.jpg", type="jpeg", quality=80, **options)

    return take


def test_a_photo_from_the_drop_to_the_download(visit, shoot, server, tmp_path):
    scene = write_scene(tmp_path / "made", seed=SEED, size=SIZE)
    visitor = visit()
    page = visitor.page
    shoot(visitor, "start")
    visitor.open(scene.photo)
    assert "portrait.jpg" in page.inner_text("#head")
    # Pick.
    visitor.after(lambda: page.mouse.click(*visitor.at(FACE)))
    picked = visitor.mask()
    assert picked[int(FACE[1] * picked.shape[0]), int(FACE[0] * picked.shape[1])] > 0.9
    assert picked[:10, :10].max() < 0.1
    # A box round the whole of the subject.
    start, end = find_box(scene.mask)
    visitor.after(lambda: visitor.drag(visitor.at(start), visitor.at(end)))
    shoot(visitor, "pick")
    # Paint, in the background, and take it back.
    page.click("#stage [data-tool=add]")
    visitor.after(lambda: visitor.drag(visitor.at((0.05, 0.1)), visitor.at((0.15, 0.1))))
    painted = visitor.mask()
    assert painted[int(0.1 * painted.shape[0]), int(0.1 * painted.shape[1])] > 0.9
    shoot(visitor, "paint")
    visitor.after(lambda: page.click("#stage [data-act=undo]"))
    assert visitor.mask()[:10, :10].max() < 0.1
    # Depth.
    page.click("#stage [data-view=depth]")
    assert page.locator("#stage .depth").is_visible()
    shoot(visitor, "depth")
    page.click("#stage [data-view=subject]")
    # The f-number.
    before = visitor.picture()
    visitor.after(lambda: visitor.slide("f_number", 0.0))
    assert float(page.input_value("#f_number input[type=number]")) == 0.7
    wide = visitor.picture()
    assert np.abs(wide - before).mean() > 0.5
    assert _sharpness(wide) < _sharpness(before)
    # The aperture.
    page.click("#shape input")
    visitor.after(lambda: page.get_by_role("option", name="Blades").click())
    page.wait_for_selector("#blades input[type=range]")
    # Compare.
    divider = page.locator("#result [data-testid=slider] .icon-wrap").bounding_box()
    start = divider["x"] + divider["width"] / 2, divider["y"] + divider["height"] / 2
    visitor.drag(start, (start[0] - 60, start[1]))
    assert page.locator("#result [data-testid=slider] .icon-wrap").bounding_box()["x"] == pytest.approx(
        divider["x"] - 60, abs=2
    )
    shoot(visitor, "compare")
    # Download.
    name = visitor.download(tmp_path / "out.jpg")
    assert name == "portrait-bokeh.jpg"
    original, result = read_photo(scene.photo), read_photo(tmp_path / "out.jpg")
    assert result.image.shape == original.image.shape
    assert result.exif_ifd()[33437] == 8.0
    assert result.icc == original.icc
    change = (result.image - original.image).abs().mean(1, keepdim=True)
    assert change[scene.mask > 0.99].median() < 0.01
    assert change[scene.mask < 0.01].median() > 0.02
    # Nothing from elsewhere, nothing of the server's insides, no error.
    outside = [url for url in visitor.addresses if not url.startswith((server.url, "data:", "blob:"))]
    assert outside == []
    assert visitor.errors == []
    assert not INSIDES.search(page.inner_text("body"))


def test_the_stage_by_keyboard(visit, tmp_path):
    visitor = visit()
    keyboard = visitor.page.keyboard
    visitor.open(write_scene(tmp_path, seed=SEED).photo)
    visitor.page.focus("#stage .frame")
    for _ in range(6):  # from the middle to FACE
        keyboard.press("ArrowRight")
    visitor.after(lambda: keyboard.press("Enter"))
    picked = visitor.mask()
    assert picked[picked.shape[0] // 2, int(FACE[0] * picked.shape[1])] > 0.9
    assert picked[:10, :10].max() < 0.1
    visitor.page.click("#stage [data-tool=add]")
    visitor.page.focus("#stage .frame")
    for _ in range(30):  # into the corner
        keyboard.press("ArrowLeft")
        keyboard.press("ArrowUp")
    visitor.after(lambda: keyboard.press("Enter"))
    assert visitor.mask()[0, 0] > 0.9
    assert visitor.errors == []


def find_box(mask):
    """Two corners round a mask ``(1, 1, H, W)``, fractions of width and height."""
    rows, columns = (torch.nonzero(mask[0, 0].amax(axis) > 0.5)[:, 0] for axis in (1, 0))
    height, width = mask.shape[2:]
    first, last = ((float(columns[i]) / width, float(rows[i]) / height) for i in (0, -1))
    return first, last


def _sharpness(picture):
    return np.abs(np.diff(picture.mean(2), axis=1)).mean()


def test_a_phone_and_a_large_window_each_with_a_photo_of_its_own(visit, shoot, server, tmp_path):
    scenes = [write_scene(tmp_path / str(seed), seed=seed, size=SIZE) for seed in (SEED, 3)]
    originals = [read_photo(scene.photo).image for scene in scenes]
    visitors = [visit(390, 844), visit()]
    for visitor, scene in zip(visitors, scenes, strict=True):
        visitor.open(scene.photo)
    phone = visitors[0].page
    assert phone.evaluate("document.scrollingElement.scrollWidth") <= 390
    beyond = "parts => parts.filter(part => part.offsetParent && part.getBoundingClientRect().right > 390).length"
    assert phone.eval_on_selector_all("button, input, img", beyond) == 0
    shoot(visitors[0], "phone", full_page=True)
    for i in (1, 0):
        visitors[i].after(lambda visitor=visitors[i]: visitor.slide("f_number", 0.0))
        visitors[i].download(tmp_path / f"{i}.jpg")
        own, other = ((read_photo(tmp_path / f"{i}.jpg").image - originals[k]).abs().mean() for k in (i, 1 - i))
        assert own < other / 2
    # Who leaves takes all with them.
    folders = next(server.folder.glob("*/sessions"))
    wait_until(lambda: len(list(folders.iterdir())) == 2)  # earlier visitors have left
    phone.close()
    wait_until(lambda: len(list(folders.iterdir())) == 1)


def make_hostile(folder):
    """Files that are no photos, and what is said of each."""
    frames = [Image.fromarray(NOISE), Image.fromarray(NOISE[::-1])]
    moving = io.BytesIO()
    frames[0].save(moving, "WEBP", save_all=True, append_images=frames[1:])
    photo = encode(NOISE, "JPEG")
    files = {
        "text.jpg": (b"This is no photo.", "text.jpg: a file of another kind, expected a JPEG, PNG, TIFF or WebP"),
        "truncated.jpg": (photo[: len(photo) // 2], "truncated.jpg: cannot be read as JPEG"),
        "bomb.png": (
            SIGNATURE + header(30_000, 30_000) + DATA + END,
            "claims 30000 x 30000 pixels, at most 64000000",
        ),
        "dot.png": (encode(NOISE[:1, :1], "PNG"), "dot.png: 1 x 1 pixels, expected at least 32 on each side"),
        "drawing.svg": (
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            "drawing.svg: a file of another",
        ),
        "moving.webp": (moving.getvalue(), "moving.webp: an animation, expected a photo"),
        "<img src=x onerror=alert(1)>.jpg": (b"", "an empty file"),
    }
    for name, (content, told) in files.items():
        (folder / name).write_bytes(content)
        yield folder / name, told
    for size, told in ((101, "101 megabytes, expected at most 100"), (120, "maximum allowed size of 100")):
        with (folder / f"{size}.jpg").open("wb") as stream:
            stream.truncate(size * 1_000_000)
        yield folder / f"{size}.jpg", told


def test_hostile_uploads_are_refused_in_words(visit, server, tmp_path):
    visitor = visit()
    page = visitor.page
    alerts = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    for path, told in make_hostile(tmp_path):
        page.set_input_files("#drop input[type=file]", path)
        page.wait_for_function("told => document.body.innerText.includes(told)", arg=told)
        assert not INSIDES.search(page.inner_text("body"))
    # A mask of another size is refused, too, and the photo stays as it was.
    visitor.open(write_scene(tmp_path, seed=SEED).photo)
    before = visitor.result()
    (tmp_path / "mask.png").write_bytes(encode(NOISE[..., 0], "PNG"))
    page.click("text=Maps of your own")
    with page.expect_file_chooser() as chooser:
        page.click("#own_mask")
    chooser.value.set_files(tmp_path / "mask.png")
    told = "mask.png: the map is 90 x 60 pixels, expected 128 x 96 or the same aspect ratio"
    page.wait_for_function("told => document.body.innerText.includes(told)", arg=told)
    assert not INSIDES.search(page.inner_text("body"))
    assert visitor.result() == before
    assert alerts == []
    assert visitor.errors == []
    assert "Traceback" not in server.log.read_text()


def test_files_are_reached_by_nobody_else(visit, server):
    """Neither files of the machine, nor by a name that leads out of a folder."""
    request = visit().page.request
    log = server.log.as_posix()
    for path in ("/etc/passwd", log, f"{server.folder.as_posix()}/../app.log", "../app.log"):
        assert request.get(f"{server.url}gradio_api/file={path}").status in (403, 404)
    name = "../../../outside.jpg"
    sent = request.post(
        f"{server.url}gradio_api/upload",
        multipart={"files": {"name": name, "mimeType": "image/jpeg", "buffer": encode(NOISE, "JPEG")}},
    )
    (path,) = map(Path, sent.json())
    assert server.folder in path.resolve().parents
    path.unlink()


def test_twenty_at_once_get_each_their_own(server, tmp_path):
    """Each with a photo of another colour, by programs, which know nothing of each other."""

    def go(number):
        colour = np.array([40 + 10 * number, 255 - 10 * number, 30 * (number % 7)])
        noise = np.random.default_rng(number).integers(-20, 20, (96, 128, 3))
        photo = encode((colour + noise).clip(0, 255).astype(np.uint8), "PNG")
        visitor = Program(server.url)
        *opened, message = visitor.call("open", visitor.upload(f"photo-{number}.png", photo), *CONTROLS)
        assert message == ""
        assert f"photo-{number}.png, 128 × 96 pixels" in str(opened)
        file, message = visitor.call("download", *CONTROLS)
        assert message == ""
        assert file["orig_name"] == f"photo-{number}-bokeh.png"
        return read_picture(photo).mean((0, 1)), read_picture(visitor.fetch(file)).mean((0, 1))

    with ThreadPoolExecutor(20) as pool:
        photos, pictures = map(np.array, zip(*pool.map(go, range(20)), strict=True))  # (20, 3) each
    nearest = np.linalg.norm(pictures[:, None] - photos, axis=-1).argmin(1)
    assert nearest.tolist() == list(range(20))  # a neighbour's colour is at least 14 of 255 away
    assert "Traceback" not in server.log.read_text()
