"""Malformed and hostile inputs: each is refused in one line that names the file; nothing runs, hangs or crashes."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import hostile_checkpoints
import hostile_maps
import hostile_photos
import numpy as np
import pytest
import torch
from hostile_cases import PAYLOAD
from PIL import Image

from depthbokeh import cli
from depthbokeh.models.checkpoints import CheckpointError, read_checkpoint
from depthbokeh.photo import PhotoError, read_map, read_photo
from depthbokeh.pipeline import BokehPipeline

CASES = [*hostile_photos.list_cases(), *hostile_maps.list_cases(), *hostile_checkpoints.list_cases()]
BOMBS = [case for case in CASES if case.bomb]
READERS = {
    "photo": (read_photo, PhotoError),
    "map": (read_map, PhotoError),
    "checkpoint": (read_checkpoint, CheckpointError),
}
LONGEST_S = 2.0
LONGEST_WAIT_S = 20
MOST_MIB = 256  # more than any of them takes, less than what any bomb unpacks to


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the files lie, and what code in them would write to."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Hangs(BaseException):
    """Not an Exception, which a reader would take for a broken file."""


def stop(*_):
    raise Hangs


def refuse(case, folder):
    """Has the case read; returns the message with which it is refused, and the processor's seconds that took."""
    path = case.write(folder)
    read, error = READERS[case.reader]
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST_WAIT_S)
    started = time.process_time()
    try:
        read(path)
    except error as refused:
        return str(refused), time.process_time() - started
    finally:
        signal.alarm(0)
    return "", time.process_time() - started


def check(case, path, message, seconds):
    assert message, "it is accepted"
    assert message.startswith(str(path)), message
    assert len(message.removeprefix(str(path)).splitlines()) == 1, message
    assert len(message.removeprefix(str(path))) < 400, message
    assert seconds < LONGEST_S


def test_there_are_enough_and_all_differ():
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)
    contents = [(case.reader, Path(case.name).suffix, case.content) for case in CASES]
    assert len(set(contents)) == len(contents)


def name_of(case):
    return case.name.replace("\0", "0")[:80]


@pytest.mark.parametrize("case", [case for case in CASES if not case.bomb], ids=name_of)
def test_is_refused(case, folder):
    message, seconds = refuse(case, folder)
    check(case, folder / case.name, message, seconds)
    assert not (folder / "pwned").exists()


def test_bombs_are_refused_with_little_memory(folder):
    """In a process of its own, so that it may crash, and what it takes can be measured."""
    command = [sys.executable, __file__, str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]
    outcomes = {name: rest for name, *rest in map(json.loads, result.stdout.splitlines())}
    assert outcomes.pop("twice as much") == ["", 0, pytest.approx(2 * MOST_MIB, rel=0.1)]  # it would be noticed
    assert list(outcomes) == [case.name for case in BOMBS]
    failures = []
    for case in BOMBS:
        message, seconds, mebibytes = outcomes[case.name]
        try:
            check(case, folder / case.name, message, seconds)
            assert mebibytes < MOST_MIB
        except AssertionError as error:
            failures.append(f"{case.name}: {str(error).splitlines()[0]}")
    assert not failures, "\n".join(failures)
    assert not (folder / "pwned").exists()


def read_bombs(folder):
    """Reads them, and says of each what came of it, and by how much it raised the most memory ever taken."""
    import resource

    def measure():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, -1))  # should one go off, the machine survives
    for case in BOMBS:
        before = measure()
        print(json.dumps((case.name, *refuse(case, folder), measure() - before)), flush=True)
    before = measure()
    bytearray(b"x") * (int(2 * MOST_MIB + before - current_mebibytes()) << 20)
    print(json.dumps(("twice as much", "", 0, measure() - before)))


def current_mebibytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_the_payload_works(folder):
    """The tests above can fail: unpickled without care, the attack runs."""
    assert PAYLOAD == "touch pwned"
    pickle.loads(pickle.dumps(hostile_maps.Attack()))
    assert (folder / "pwned").exists()


@pytest.mark.parametrize(
    "data", [hostile_checkpoints.ATTACKS[name] for name in ("os_system", "eval", "object", "runpy")]
)
def test_the_attacks_work(folder, data):
    """Nor are they refused for being no pickles."""
    with contextlib.suppress(Exception):
        pickle.loads(data)
    assert (folder / "pwned").exists()


# What is odd and yet a photo, a map, a checkpoint; as the readers' documentation says.


def save_frames(path, **settings):
    frames = [Image.new("RGB", (8, 6), (level, 0, 0)) for level in (255, 128, 0)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("a.webp", {"lossless": True}), ("a.png", {}), ("a.tif", {}), ("a.tif", {"compression": "jpeg"})],
)
def test_of_several_frames_or_pages_the_first_is_read(folder, name, settings):
    save_frames(folder / name, **settings)
    image = read_photo(folder / name).image
    assert image.shape == (1, 3, 6, 8)
    assert image[0, :, 3, 3].tolist() == pytest.approx([1, 0, 0], abs=0.02)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize(
    "block", [b"garbage" * 30, b"MM\0*" + b"\xff" * 40, b"II*\0" + bytes(60), b"", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_nonsense_in_exif_and_profile_costs_neither_the_photo_nor_the_reader(folder, suffix, block):
    path = folder / f"a.{suffix}"
    settings = {"lossless": True} if suffix == "webp" else {}
    if suffix != "tif":
        settings["exif"] = b"Exif\0\0" + block
    Image.new("RGB", (8, 6), (255, 0, 0)).save(path, icc_profile=block, **settings)
    photo = read_photo(path)
    assert photo.image[0, 0].min() > 0.98
    assert photo.icc is None
    photo.exif_ifd()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_bytes_behind_the_end_are_ignored(folder, suffix):
    path = folder / f"a.{suffix}"
    Image.new("RGB", (8, 6), (255, 0, 0)).save(path)
    path.write_bytes(path.read_bytes() + b"<?php ?>PK\x03\x04" * 50)
    assert read_photo(path).image[0, 0].min() > 0.98


def test_an_odd_segment_that_costs_no_pixels_is_skipped(folder):
    good = hostile_photos.encode(hostile_photos.NOISE, "JPEG")
    (folder / "good.jpg").write_bytes(good)
    (folder / "odd.jpg").write_bytes(good[:2] + b"\xff\xe1\0\0" + good[2:])
    assert read_photo(folder / "odd.jpg").image.equal(read_photo(folder / "good.jpg").image)


def test_an_array_with_bytes_behind_it_is_read(folder):
    (folder / "a.npy").write_bytes(hostile_maps.save(np.full((3, 4), 0.5)) + b"more")
    assert read_map(folder / "a.npy").eq(0.5).all()


def test_views_of_one_storage_are_read(folder):
    whole = torch.arange(6.0)
    torch.save({"a": whole, "b": whole[2:4], "c": whole.view(2, 3).t()}, folder / "a.pth")
    assert read_checkpoint(folder / "a.pth")["b"].tolist() == [2, 3]


@pytest.mark.parametrize("name", hostile_checkpoints.list_sound())
def test_what_the_forgeries_are_made_of_is_read(folder, name):
    (folder / "a.pth").write_bytes(hostile_checkpoints.list_sound()[name])
    assert read_checkpoint(folder / "a.pth")["weight"].tolist() == [3, 4]


# Through the command: status 1, one line, no traceback.

SAMPLE = [
    "100000_by_100000.png",
    "text_bomb.png",
    "gif_named.jpg",
    "empty.jpg",
    "photo_pipe.jpg",
]
SAMPLE += [
    "map_objects_that_run.npy",
    "map_nans.npy",
    "map_shape_100000_by_100000.npy",
    "map_colours.png",
    "map_folder.npy",
]
SAMPLE += [
    "no_width.tif",
    "canvas_without_a_picture.webp",
    "map_header_of_20_000_blanks.npy",
    "map_shape_that_calls.npy",
]


@pytest.mark.parametrize("case", [case for case in CASES if case.name in SAMPLE], ids=name_of)
def test_the_command_says_it_in_one_line(case, folder, monkeypatch, capsys):
    path = case.write(folder)
    Image.new("RGB", (8, 6)).save(folder / "sound.png")
    inputs = [path] if case.reader == "photo" else ["sound.png", "--disparity", path]
    monkeypatch.setattr("sys.argv", ["depthbokeh", "render", *map(str, inputs), "-o", "out.png"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("depthbokeh: ")
    assert error.count("\n") == 1
    assert case.name in error
    assert not (folder / "out.png").exists()
    assert not (folder / "pwned").exists()


def test_all_of_the_sample_exist():
    assert {case.name for case in CASES} >= set(SAMPLE)


@pytest.mark.parametrize("name", ["\x1b[31mred.jpg", "two\nlines.jpg", "back\rward.jpg"])
def test_a_name_cannot_write_to_the_terminal(folder, monkeypatch, capsys, name):
    monkeypatch.setattr("sys.argv", ["depthbokeh", "render", name, "-o", "out.png"])
    with pytest.raises(SystemExit):
        cli.main()
    error = capsys.readouterr().err
    assert error.endswith("\n")
    assert error[:-1].isprintable()


def test_weights_in_the_cache_do_not_run(folder, monkeypatch, capsys):
    place = folder / "hub" / "checkpoints" / "best_generalization_net_G.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(hostile_checkpoints.ATTACKS["os_system"])
    monkeypatch.setenv("TORCH_HOME", str(folder))
    monkeypatch.setattr("sys.argv", ["depthbokeh", "weights", "path", "megadepth"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "it would make Python objects (os.system), expected nothing but tensors" in capsys.readouterr().err
    assert not (folder / "pwned").exists()


# Pipelines that come from elsewhere


@pytest.mark.parametrize(
    "change",
    [
        *("", "[" * 100_000, '{"a":' * 100_000, "null", "[]", "\xff", {"format": 99}, {"format": []}),
        *({"renderer": value} for value in (None, 7, "x", [1], {"unknown": 1})),
        *({"renderer": {"aperture": value}} for value in (None, 7, "x", [], {})),
        *({"renderer": {"layers": value}} for value in (None, -1, "x", [])),
        *({"strength": value} for value in (None, 7, "x", [])),
        *({"tile": value} for value in (0, -5, "x", [])),
        *({"mask_model": value} for value in (7, "grabcut", [], {}, {"name": "grabcut"}, {"name": [], "options": {}})),
        *({"depth_model": {"name": "ground_plane", "options": value}} for value in (7, [1], {"unknown": 1})),
        {"depth_model": {"name": "os.system", "options": {}}},
        {"mask_model": {"name": "grabcut", "options": {"pretrained": "/etc/passwd"}}},
    ],
    ids=lambda change: str(change)[:40],
)
def test_settings_of_a_pipeline(folder, change):
    BokehPipeline().save_pretrained(folder / "a")
    config = folder / "a" / "config.json"
    text = change if isinstance(change, str) else json.dumps({**json.loads(config.read_text()), **change})
    config.write_bytes(text.encode("latin1"))
    with pytest.raises(CheckpointError, match=r"config\.json: ") as refused:
        BokehPipeline.from_pretrained(folder / "a")
    assert "\n" not in str(refused.value)


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    read_bombs(Path(sys.argv[1]))
