import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pairs import HEIGHT, WIDTH, write_pair
from PIL import Image
from typer.testing import CliRunner

from depthbokeh import cli
from depthbokeh.data.layouts import find_pairs
from depthbokeh.data.prepare import PrepareSettings, prepare
from depthbokeh.photo import PhotoError, read_map, read_photo

BIG = (160, 208)
SMALL = PrepareSettings(height=64)


def snapshot(folder):
    """Everything in a folder, with contents and times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def contents(folder):
    return {name: data for name, (data, _) in snapshot(folder).items()}


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch, tmp_path):
    """The models are those that need no weights, whatever lies on this machine."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("DEPTHBOKEH_OFFLINE", "1")


@pytest.fixture
def root(tmp_path):
    """Pairs of every fate: 0 is aligned, 1 is shifted, 2 is truncated, 3 has no partner, 4 the same twice."""
    root = tmp_path / "EBB"
    for name, size, move in (("0", (HEIGHT, WIDTH), (0, 0)), ("1", BIG, (4, -3))):
        write_pair(
            root / f"Training/original/{name}.jpg",
            root / f"Training/bokeh/{name}.jpg",
            int(name),
            move=move,
            shape=size,
        )
    for name in ("2", "4"):
        write_pair(root / f"Training/original/{name}.jpg", root / f"Training/bokeh/{name}.jpg", int(name))
    whole = (root / "Training/bokeh/2.jpg").read_bytes()
    (root / "Training/bokeh/2.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "Training/original/3.JPG").write_bytes(whole)
    (root / "Training/bokeh/4.jpg").write_bytes((root / "Training/original/4.jpg").read_bytes())
    return root


def test_every_pair_has_its_fate_and_the_data_set_is_left_alone(root, tmp_path):
    before = snapshot(root)
    manifest = prepare(root, tmp_path / "out", PrepareSettings(height=160), workers=1)
    assert snapshot(root) == before
    lines = [json.loads(line) for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines()]
    assert lines == manifest
    fates = {line["id"]: line for line in lines}
    assert (fates["0"]["fate"], fates["0"]["alignment"]) == ("kept", "none")
    assert (fates["1"]["fate"], fates["1"]["alignment"]) == ("kept", "translation")
    assert fates["2"]["fate"] == fates["4"]["fate"] == "rejected"
    assert "truncated" in fates["2"]["reason"]
    assert "the same" in fates["4"]["reason"]
    assert fates["Training/original/3.JPG"]["reason"] == "no partner"
    assert len(lines) == 5


def test_an_aligned_pair_is_copied_byte_for_byte(root, tmp_path):
    prepare(root, tmp_path / "out", PrepareSettings(height=160), workers=1)
    for kind in ("original", "bokeh"):
        copied, source = (folder / f"Training/{kind}/0.jpg" for folder in (tmp_path / "out", root))
        assert copied.read_bytes() == source.read_bytes()


def test_a_shifted_pair_is_moved_cropped_and_brought_to_the_height(root, tmp_path):
    line = prepare(root, tmp_path / "out", PrepareSettings(height=160), workers=1)[1]
    _, _, width, height = line["crop"]
    assert 0 <= BIG[1] - 4 - width <= 1
    assert 0 <= BIG[0] - 3 - height <= 1
    assert np.abs(np.array(line["matrix"])[:2, 2] - (4, -3)).max() < 0.3
    assert line["error_after"] < 0.5 * line["error_before"]
    assert line["inliers"] >= 8
    photo, bokeh = (read_photo(tmp_path / f"out/Training/{kind}/1.jpg").image for kind in ("original", "bokeh"))
    assert photo.shape == bokeh.shape == (1, 3, 160, round(width * 160 / height))
    centre = np.s_[..., 50:110, 74:134]  # of the sharp disk
    before = [read_photo(root / f"Training/{kind}/1.jpg").image for kind in ("original", "bokeh")]
    error, error_before = ((a - b)[centre].abs().mean() for a, b in ((photo, bokeh), before))
    assert error < 0.2 * error_before


def test_maps_are_deep_and_of_the_pictures_size(root, tmp_path):
    prepare(root, tmp_path / "out", SMALL, workers=1)
    for kind in ("disparity", "mask"):
        path = tmp_path / f"out/Training/{kind}/0.png"
        with Image.open(path) as picture:
            assert picture.mode == "I;16"
        plane = read_map(path)
        assert plane.shape == (1, 1, 64, round(WIDTH * 64 / HEIGHT))
        assert plane.max() > plane.min()
    assert read_photo(tmp_path / "out/Training/original/0.jpg").image.shape[2] == 64


def test_maps_of_the_data_set_are_kept_unless_a_model_is_named(root, tmp_path):
    for kind, value in (("disparity", 40), ("mask", 200)):
        (root / f"Training/{kind}").mkdir()
        plane = np.zeros((HEIGHT, WIDTH), np.uint8)
        plane[:, 64:] = value
        Image.fromarray(plane).save(root / f"Training/{kind}/0.png")
    own = prepare(root, tmp_path / "own", PrepareSettings(height=160), workers=1)[0]
    assert (own["disparity"], own["mask"]) == ("source", "source")
    kept = read_map(tmp_path / "own/Training/disparity/0.png")
    assert kept[..., 64:].sub(40 / 255).abs().max() < 1e-4
    made = prepare(root, tmp_path / "made", PrepareSettings(height=160, depth_model="ground_plane"), workers=1)[0]
    assert (made["disparity"], made["mask"]) == ("GroundPlane", "source")
    assert read_map(tmp_path / "made/Training/disparity/0.png").max() == 1


def test_is_the_same_for_any_number_of_workers_and_read_back(root, tmp_path):
    one = prepare(root, tmp_path / "one", SMALL, workers=1)
    assert prepare(root, tmp_path / "two", SMALL, workers=2) == one
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    listing = find_pairs(tmp_path / "one")
    assert (listing.layout, [pair.id for pair in listing.pairs]) == ("ebb", ["0", "1"])
    assert all(pair.disparity and pair.mask for pair in listing.pairs)


def test_a_second_run_changes_nothing_but_the_manifest(root, tmp_path):
    out = tmp_path / "out"
    prepare(root, out, SMALL, workers=1)
    before = snapshot(out)
    prepare(root, out, SMALL, workers=1)
    after = snapshot(out)
    manifest = Path("manifest.jsonl")
    assert before.pop(manifest)[0] == after.pop(manifest)[0]
    assert before == after


def test_what_is_missing_is_made_again_and_a_mended_file_is_looked_at_again(root, tmp_path):
    out = tmp_path / "out"
    prepare(root, out, SMALL, workers=1)
    whole = contents(out)
    (out / "Training/mask/0.png").unlink()
    (out / "records/1.json").unlink()
    (out / "manifest.jsonl").unlink()
    prepare(root, out, SMALL, workers=1)
    assert contents(out) == whole
    (root / "Training/bokeh/2.jpg").unlink()
    write_pair(tmp_path / "again.jpg", root / "Training/bokeh/2.jpg", 2)
    assert prepare(root, out, SMALL, workers=1)[2]["fate"] == "kept"


def test_goes_on_after_it_was_killed(root, tmp_path):
    for index in range(5, 11):
        write_pair(root / f"Training/original/{index}.jpg", root / f"Training/bokeh/{index}.jpg", index)
    out, whole = tmp_path / "out", tmp_path / "whole"
    prepare(root, whole, SMALL, workers=1)
    code = (
        "import sys; from depthbokeh.data.prepare import *;"
        "prepare(sys.argv[1], sys.argv[2], PrepareSettings(height=64), workers=2)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, root, out], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob("records/*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    assert len(workers) >= 2 or not children.exists()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    while any(map(_is_running, workers)):  # they do not outlive it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    done = len(list(out.glob("records/*.json")))
    assert 0 < done < 10
    assert not (out / "manifest.jsonl").exists()
    (out / "Training/bokeh/.0123456789abcdef.jpg").write_text("half")  # as the kill may leave it
    prepare(root, out, SMALL, workers=1)
    assert contents(out) == contents(whole)


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_other_files_and_other_settings_are_refused(root, tmp_path):
    with pytest.raises(PhotoError, match="within the data set"):
        prepare(root, root / "out")
    with pytest.raises(PhotoError, match="within the data set"):
        prepare(root, root)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("mine")
    with pytest.raises(PhotoError, match="holds files"):
        prepare(root, foreign)
    assert contents(foreign) == {Path("letter.txt"): b"mine"}
    prepare(root, tmp_path / "out", SMALL, workers=1)
    with pytest.raises(PhotoError, match="height 64, not 32"):
        prepare(root, tmp_path / "out", PrepareSettings(height=32))
    os.utime(root / "Training/original/0.jpg")
    with pytest.raises(PhotoError, match="has changed"):
        prepare(root, tmp_path / "out", SMALL)


def test_unknown_names_are_told_before_anything_is_written(root, tmp_path):
    with pytest.raises(ValueError, match="'nothing'"):
        prepare(root, tmp_path / "out", PrepareSettings(mask_model="nothing"))
    with pytest.raises(ValueError, match=r"file\.pth: weights of which depth model"):
        prepare(root, tmp_path / "out", PrepareSettings(depth_weights=Path("file.pth")))
    with pytest.raises(ValueError, match="height must be at least 32, got 31"):
        PrepareSettings(height=31)
    assert not (tmp_path / "out").exists()


def test_parts_stay_parts_and_numbers_are_kept(tmp_path):
    for part in ("train", "test"):
        write_pair(tmp_path / f"data/{part}/in/7.jpg", tmp_path / f"data/{part}/gt/7.jpg", len(part))
    prepare(tmp_path / "data", tmp_path / "out", SMALL, workers=1)
    listing = find_pairs(tmp_path / "out")
    assert (listing.layout, [pair.key for pair in listing.pairs]) == ("pynet", ["test/7", "train/7"])


def test_strength_follows_the_size(tmp_path):
    root = tmp_path / "made"
    write_pair(root / "Training/original/0.jpg", root / "Training/bokeh/0.jpg")
    (root / "Training/disparity").mkdir()
    Image.fromarray(np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))).save(root / "Training/disparity/0.png")
    record = {"id": 0, "strength": 6.0, "focus": 0.3, "disparity_scale": 0.5}
    (root / "manifest.jsonl").write_text(json.dumps(record) + "\n")
    prepare(root, tmp_path / "out", PrepareSettings(height=48), workers=1)
    (pair,) = find_pairs(tmp_path / "out").pairs
    assert pair.values == {"strength": 1.5, "focus": 0.6}


def test_command(root, tmp_path):
    arguments = ["prepare", str(root), "--out", str(tmp_path / "out"), "--height", "64", "--workers", "1"]
    result = CliRunner().invoke(cli.app, [*arguments, "--no-align"])
    assert result.exit_code == 0, result.exception
    assert "2 kept (0 moved by a homography, 0 by a translation, 2 as they were), 3 rejected" in result.output
    assert torch.isfinite(read_photo(tmp_path / "out/Training/bokeh/1.jpg").image).all()
