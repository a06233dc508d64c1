"""The pipeline over a local cluster of two nodes with a worker each."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthbokeh.folder import render_folder
from depthbokeh.settings import Settings

ray = pytest.importorskip("ray", reason="needs the extra [ray]")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

SETTINGS = Settings(strength=2.0, quality="fast", mask_model="grabcut", depth_model="ground_plane")
SHARDS = ("a", "b")


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    os.environ.update(RAY_DATA_DISABLE_PROGRESS_BARS="1", RAY_TRAIN_ENABLE_STATE_TRACKING="0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    ray.init(address=made.address, logging_level="error", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for shard in SHARDS:
        (tmp_path / "photos" / shard).mkdir(parents=True)
        for index in range(3):
            photo = Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8))
            photo.save(tmp_path / "photos" / shard / f"{index}.png")
    return tmp_path / "photos"


def test_two_workers_render_what_one_process_does_and_skip_it_the_second_time(cluster, root, tmp_path):
    import ray.data

    from depthbokeh.ray import render_dataset

    broken = root / "b" / "1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    names = [f"{shard}/{index}.png" for shard in SHARDS for index in range(3)]
    dataset = ray.data.from_items([{"photo": name} for name in names], override_num_blocks=2)
    fates = {}
    for turn, workers in (("first", 2), ("second", 1)):
        rows = render_dataset(dataset, tmp_path / "out", SETTINGS, root=root, workers=workers).take_all()
        fates[turn] = {row["photo"]: row["status"] for row in rows}
        assert "1.png" in next(row["error"] for row in rows if row["status"] == "failed")
    expected = {name: "failed" if name == "b/1.png" else "rendered" for name in names}
    assert fates["first"] == expected
    assert fates["second"] == {name: "failed" if name == "b/1.png" else "skipped" for name in names}
    assert len({node["NodeID"] for node in ray.nodes() if node["Alive"]}) == 2
    render_folder(root / "a", tmp_path / "alone", None, None, SETTINGS)
    for index in range(3):
        assert (tmp_path / "alone" / f"{index}.png").read_bytes() == (tmp_path / "out/a" / f"{index}.png").read_bytes()


def test_maps_of_photos_of_one_name_do_not_replace_each_other(tmp_path):
    from depthbokeh.ray import render_dataset

    with pytest.raises(ValueError, match="save_maps is maps: expected None"):
        render_dataset(None, tmp_path / "out", replace(SETTINGS, save_maps=Path("maps")), root=tmp_path)


def test_files_of_the_settings_are_found_from_any_folder(tmp_path, monkeypatch):
    from depthbokeh.ray import _make_absolute

    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved").mkdir()
    assert _make_absolute(Settings(pipeline="saved")).pipeline == str(tmp_path / "saved")
    assert _make_absolute(Settings(pipeline="owner/name")).pipeline == "owner/name"
    settings = Settings(mask_model="deeplab_vgg16", mask_weights=Path("a.pth"))
    assert _make_absolute(settings) == replace(settings, mask_weights=tmp_path / "a.pth")
