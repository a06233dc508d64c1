"""Folders of photos: resumed, shared between processes, told of in the manifest."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from dataclasses import replace
from multiprocessing import get_context
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from depthbokeh import folder as folders
from depthbokeh.folder import find_paths, render_folder, render_photos
from depthbokeh.jobs import PhotoRenderer
from depthbokeh.manifest import NAME, Manifest, read_manifest
from depthbokeh.photo import PhotoError, read_photo
from depthbokeh.settings import Settings

SETTINGS = Settings(strength=2.0, quality="fast", mask_model="grabcut", depth_model="ground_plane")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(rng.integers(0, 256, (16, 24 + index, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def fates(output):
    return {line["photo"]: line["status"] for line in read_manifest(output / NAME) if "photo" in line}


def test_all_photos_are_rendered_and_a_broken_one_is_told_of(photos, tmp_path):
    (photos / "3.png").write_bytes((photos / "3.png").read_bytes()[:200])
    output = tmp_path / "out"
    assert render_folder(photos, output, None, None, SETTINGS) == 1
    assert fates(output) == {f"{i}.png": "failed" if i == 3 else "rendered" for i in range(5)}
    told = next(line for line in read_manifest(output / NAME) if line.get("status") == "failed")
    assert "3.png" in told["error"]
    for index in (0, 1, 2, 4):
        assert read_photo(output / f"{index}.png").image.shape == (1, 3, 16, 24 + index)


@pytest.mark.parametrize("broken", [(0, 1, 2), (0, 2, 4), (0, 1, 2, 3, 4)])
def test_many_broken_photos_cost_no_other(photos, tmp_path, broken):
    for index in broken:
        (photos / f"{index}.png").write_bytes(b"nothing")
    output = tmp_path / "out"
    assert render_folder(photos, output, None, None, SETTINGS) == len(broken)
    assert fates(output) == {f"{i}.png": "failed" if i in broken else "rendered" for i in range(5)}


def test_several_processes_render_what_one_does(photos, tmp_path):
    (photos / "3.png").write_bytes((photos / "3.png").read_bytes()[:200])
    for workers in (1, 2):
        assert render_folder(photos, tmp_path / str(workers), None, None, SETTINGS, workers=workers) == 1
    assert fates(tmp_path / "1") == fates(tmp_path / "2")
    for index in (0, 1, 2, 4):
        one, two = ((tmp_path / name / f"{index}.png").read_bytes() for name in ("1", "2"))
        assert one == two


def test_a_second_run_renders_only_what_is_missing(photos, tmp_path):
    output = tmp_path / "out"
    render_folder(photos, output, None, None, SETTINGS)
    (output / "2.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in output.glob("*.png")}
    assert render_folder(photos, output, None, None, SETTINGS) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (output / "2.png").exists()
    assert [line["photo"] for line in read_manifest(output / NAME) if "photo" in line][5:] == ["2.png"]


def test_other_settings_need_another_folder(photos, tmp_path):
    output = tmp_path / "out"
    render_folder(photos, output, None, None, SETTINGS)
    other = Settings(strength=3.0, quality="fast", mask_model="grabcut", depth_model="ground_plane")
    with pytest.raises(PhotoError, match=r"strength 2\.0, now 3\.0"):
        render_folder(photos, output, None, None, other)


def test_results_do_not_replace_the_photos(photos):
    before = {path: path.read_bytes() for path in photos.iterdir()}
    with pytest.raises(PhotoError, match="holds the photos"):
        render_folder(photos, photos / ".." / photos.name, None, None, replace(SETTINGS, overwrite=True))
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_a_setting_that_does_not_fit_a_photo_names_the_photo(photos, tmp_path):
    output = tmp_path / "out"
    assert render_folder(photos, output, None, None, replace(SETTINGS, focus=(25.5, 3.0))) == 2
    told = [line["error"] for line in read_manifest(output / NAME) if line.get("status") == "failed"]
    assert [error.partition(":")[0] for error in told] == ["0.png", "1.png"]


def test_a_missing_folder_of_maps_is_said_once(photos, tmp_path):
    with pytest.raises(PhotoError, match="expected a folder of maps"):
        render_folder(photos, tmp_path / "out", tmp_path / "nowhere", None, SETTINGS)


def test_photos_are_read_ahead_but_not_all_of_them(photos, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    asked = []

    def make_paths(name):
        asked.append(name)
        return find_paths(name, folder=photos, output=output, disparity=None, mask=None)

    outcomes = render_photos([f"{i}.png" for i in range(5)], PhotoRenderer(SETTINGS), make_paths)
    next(outcomes)
    assert 2 <= len(asked) <= 4
    outcomes.close()


def kill_at_two(name):
    """Stands in for what renders a photo in a process."""
    if name == "2.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return folders.Outcome(name, None, 0.0)


def test_a_process_that_is_killed_costs_its_photos_and_no_others(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_render_one", kill_at_two)
    output = tmp_path / "out"
    failed = render_folder(photos, output, None, None, SETTINGS, workers=1 + 1)
    told = fates(output)
    assert set(told) == {f"{i}.png" for i in range(5)}
    assert told["2.png"] == "failed"
    assert failed == sum(status == "failed" for status in told.values()) < 5


def wait_beside_a_parent():
    Thread(target=folders._end_with_parent, daemon=True).start()
    time.sleep(60)


def start_a_process_and_be_killed():
    get_context("fork").Process(target=wait_beside_a_parent).start()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*fork")
def test_processes_end_when_what_started_them_is_killed():
    reader, writer = os.pipe()  # closed when the last process that holds its other end is gone
    parent = get_context("fork").Process(target=start_a_process_and_be_killed)
    parent.start()
    os.close(writer)
    parent.join()
    ended, _, _ = select.select([reader], [], [], 20)
    assert ended
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_what_a_killed_run_rendered_without_telling_is_told_of_later(photos, tmp_path):
    output = tmp_path / "out"
    render_folder(photos, output, None, None, SETTINGS)
    lines = (output / NAME).read_text().splitlines(keepends=True)
    (output / NAME).write_text("".join(lines[:3]))
    for _ in range(2):
        render_folder(photos, output, None, None, SETTINGS)
        told = [line["photo"] for line in read_manifest(output / NAME) if "photo" in line]
        assert told == [f"{i}.png" for i in range(5)]
    assert fates(output) == {f"{i}.png": "rendered" if i < 2 else "skipped" for i in range(5)}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_full_disk_is_told_of(tmp_path):
    with Manifest.open(tmp_path, {}, overwrite=False) as manifest:
        manifest._stream.close()
        manifest._stream = open("/dev/full", "w")  # noqa: SIM115
        with pytest.raises(PhotoError, match="cannot be written: No space left on device"):
            manifest.write({"photo": "a.jpg"})


class TestManifest:
    def test_a_torn_line_is_passed_over(self, tmp_path):
        with Manifest.open(tmp_path, {"a": 1}, overwrite=False) as manifest:
            manifest.write({"photo": "ä.jpg"})
        with (tmp_path / NAME).open("a") as stream:
            stream.write('{"photo": "b.j')
        assert list(read_manifest(tmp_path / NAME)) == [{"settings": {"a": 1}}, {"photo": "ä.jpg"}]
        with Manifest.open(tmp_path, {"a": 1}, overwrite=False) as manifest:
            manifest.write({"photo": "c.jpg"})
        assert [line.get("photo") for line in read_manifest(tmp_path / NAME)] == [None, "ä.jpg", "c.jpg"]

    def test_lines_are_on_disk_at_once(self, tmp_path):
        with Manifest.open(tmp_path, {}, overwrite=False) as manifest:
            manifest.write({"photo": "a.jpg"})
            assert json.loads((tmp_path / NAME).read_text().splitlines()[-1]) == {"photo": "a.jpg"}

    def test_overwrite_begins_anew(self, tmp_path):
        with Manifest.open(tmp_path, {"a": 1}, overwrite=False) as manifest:
            manifest.write({"photo": "a.jpg"})
        with Manifest.open(tmp_path, {"a": 2}, overwrite=True):
            pass
        assert list(read_manifest(tmp_path / NAME)) == [{"settings": {"a": 2}}]
