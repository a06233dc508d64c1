"""Published weights: the table, downloads from a server that misbehaves, the cache, the command."""

import hashlib
import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from servers import serve
from typer.testing import CliRunner

from depthbokeh import cli
from depthbokeh.models import download, list_mask_models, weights
from depthbokeh.models.checkpoints import CheckpointError, read_checkpoint
from depthbokeh.models.download import DownloadError, download_file, find_partials, hash_file
from depthbokeh.models.weights import WeightsError, find_cached_weights, find_weights, get_weights
from depthbokeh.models.weights_table import WEIGHTS, PublishedWeights


def pack(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


CONTENT = pack({"weight": torch.arange(5000.0)})
OTHER = pack({"weight": -torch.arange(5000.0)})
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site():
    with serve() as site:
        site.files["/a.pth"] = CONTENT
        yield site


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Caches of their own, no waiting, the switches off."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("DEPTHBOKEH_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(download, "_PAUSES_S", (0.0, 0.0))


def publish(monkeypatch, url, sha256=DIGEST, **settings):
    """Puts weights named "toy" into the table; returns where they will lie."""
    entry = PublishedWeights("toy", url, "a.pth", "MIT", "https://example.org", sha256=sha256, **settings)
    monkeypatch.setitem(WEIGHTS, "toy", entry)
    return Path(torch.hub.get_dir(), "checkpoints", "a.pth")


def point_hub_to(monkeypatch, site):
    template = site.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", site.url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.suffix != ".lock")


class TestTable:
    def test_torchvision_files_are_torchvisions(self):
        detection = pytest.importorskip("depthbokeh.models.vision").import_torchvision().models
        theirs = {
            "deeplabv3_resnet50": detection.segmentation.DeepLabV3_ResNet50_Weights,
            "deeplabv3_resnet101": detection.segmentation.DeepLabV3_ResNet101_Weights,
            "deeplabv3_mobilenet_v3_large": detection.segmentation.DeepLabV3_MobileNet_V3_Large_Weights,
            "mask_rcnn_resnet50_fpn": detection.detection.MaskRCNN_ResNet50_FPN_Weights,
        }
        for name, published in theirs.items():
            assert WEIGHTS[name].url == published.DEFAULT.url
            assert WEIGHTS[name].mebibytes == pytest.approx(published.DEFAULT.meta["_file_size"], abs=0.06)

    @pytest.mark.parametrize("name", WEIGHTS)
    def test_entries_are_whole(self, name):
        entry = WEIGHTS[name]
        assert entry.name == name
        assert entry.licence
        assert entry.source.startswith("https://")
        assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}|None", str(entry.sha256))
        assert entry.repo or entry.url.endswith(f"/{entry.file}")

    @pytest.mark.parametrize("name", [name for name in WEIGHTS if not name.startswith("depth") and name != "megadepth"])
    def test_models_of_these_names_exist(self, name):
        assert name in list_mask_models()

    def test_files_do_not_overwrite_each_other(self):
        plain = [entry.file for entry in WEIGHTS.values() if entry.repo is None]
        assert len(set(plain)) == len(plain)


class TestDownload:
    def fetch(self, site, tmp_path, **settings):
        download_file(f"{site.url}/a.pth", tmp_path / "new" / "a.pth", lambda _: None, **settings)
        return tmp_path / "new" / "a.pth"

    @pytest.mark.parametrize("states_length", [True, False])
    def test_brings_the_file(self, site, tmp_path, states_length):
        site.states_length = states_length
        path = self.fetch(site, tmp_path)
        assert path.read_bytes() == CONTENT
        assert names(path.parent) == ["a.pth"]

    def test_reports_progress(self, site, tmp_path):
        seen = []
        self.fetch(site, tmp_path, report=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (len(CONTENT), len(CONTENT))

    def test_a_cut_connection_goes_on_where_it_stopped(self, site, tmp_path):
        site.cuts = [1000, 300, 7]
        assert self.fetch(site, tmp_path).read_bytes() == CONTENT
        assert [wanted for *_, wanted in site.requests] == [None, "bytes=1000-", "bytes=1300-", "bytes=1307-"]

    def test_a_later_attempt_goes_on_where_the_first_gave_up(self, site, tmp_path):
        site.cuts = [1000, 0, 0]
        with pytest.raises(DownloadError, match="the connection was cut"):
            self.fetch(site, tmp_path)
        (partial,) = find_partials(tmp_path / "new" / "a.pth")
        assert partial.read_bytes() == CONTENT[:1000]
        site.requests.clear()
        assert self.fetch(site, tmp_path).read_bytes() == CONTENT
        assert [wanted for *_, wanted in site.requests] == ["bytes=1000-"]
        assert names(tmp_path / "new") == ["a.pth"]

    def test_attempts_are_counted_anew_only_when_one_has_brought_something(self, site, tmp_path):
        site.cuts = [1] * 10
        assert self.fetch(site, tmp_path).read_bytes() == CONTENT
        site.cuts = [0] * 10
        with pytest.raises(DownloadError):
            self.fetch(site, tmp_path)
        assert len(site.cuts) == 7

    @pytest.mark.parametrize("change", ["content", "etag"])
    def test_a_file_that_has_changed_meanwhile_is_fetched_anew(self, site, tmp_path, change):
        site.headers["ETag"] = '"one"'
        site.cuts = [1000, 0, 0]
        with pytest.raises(DownloadError):
            self.fetch(site, tmp_path)
        site.headers["ETag"] = '"two"' if change == "etag" else '"one"'
        site.files["/a.pth"] = OTHER if change == "etag" else CONTENT + b"more"
        assert self.fetch(site, tmp_path).read_bytes() == site.files["/a.pth"]
        assert names(tmp_path / "new") == ["a.pth"]

    @pytest.mark.parametrize("flaw", [{"ranges": False}, {"wrong_ranges": True}])
    def test_a_server_without_ranges_starts_anew(self, site, tmp_path, flaw):
        for name, value in flaw.items():
            setattr(site, name, value)
        site.cuts = [1000]
        assert self.fetch(site, tmp_path).read_bytes() == CONTENT

    def test_a_file_that_has_become_shorter_is_fetched_anew(self, site, tmp_path):
        site.cuts = [1000, 0, 0]
        with pytest.raises(DownloadError):
            self.fetch(site, tmp_path)
        site.files["/a.pth"] = b"short"
        assert self.fetch(site, tmp_path).read_bytes() == b"short"

    def test_a_server_that_is_busy_is_asked_again(self, site, tmp_path):
        site.statuses = [503, 500]
        assert self.fetch(site, tmp_path).read_bytes() == CONTENT

    @pytest.mark.parametrize("status", [404, 403, 410])
    def test_a_file_that_is_gone_is_asked_for_once(self, site, tmp_path, status):
        site.statuses = [status] * 5
        with pytest.raises(DownloadError, match=f"the server answers {status}"):
            self.fetch(site, tmp_path)
        assert len(site.requests) == 1

    def test_nobody_listens(self, site, tmp_path):
        with pytest.raises(DownloadError, match="refused"):
            download_file("http://127.0.0.1:9/a.pth", tmp_path / "a.pth", lambda _: None)
        assert names(tmp_path) == []

    def test_what_is_not_accepted_is_deleted(self, site, tmp_path):
        (tmp_path / "a.pth").write_bytes(b"old")

        def refuse(partial):
            assert partial.read_bytes() == CONTENT
            raise WeightsError("no")

        with pytest.raises(WeightsError, match="no"):
            download_file(f"{site.url}/a.pth", tmp_path / "a.pth", refuse)
        assert names(tmp_path) == ["a.pth"]
        assert (tmp_path / "a.pth").read_bytes() == b"old"

    def test_hash(self, tmp_path):
        (tmp_path / "a").write_bytes(CONTENT)
        assert hash_file(tmp_path / "a") == DIGEST


class TestFindWeights:
    @pytest.mark.parametrize("sha256", [DIGEST, DIGEST[:8]])
    def test_downloads_once(self, site, monkeypatch, sha256):
        place = publish(monkeypatch, f"{site.url}/a.pth", sha256)
        assert find_cached_weights("toy") is None
        assert find_weights("toy", True) == place
        assert read_checkpoint(place)["weight"].tolist() == list(range(5000))
        assert find_weights("toy", True) == find_cached_weights("toy") == get_weights("toy") == place
        assert len(site.requests) == 1

    def test_false_and_a_path(self, tmp_path):
        assert find_weights("toy", False) is None
        (tmp_path / "a.pth").write_bytes(CONTENT)
        assert find_weights("toy", tmp_path / "a.pth") == tmp_path / "a.pth"
        with pytest.raises(CheckpointError, match=r"b\.pth': no such file"):
            find_weights("toy", tmp_path / "b.pth")

    def test_unknown_names_list_the_known(self):
        with pytest.raises(WeightsError, match=r"no published weights of 'grabcut'.*megadepth"):
            find_weights("grabcut", True)
        assert find_cached_weights("grabcut") is None

    def test_a_wrong_download_is_deleted_and_that_is_said(self, site, monkeypatch):
        place = publish(monkeypatch, f"{site.url}/a.pth")
        site.files["/a.pth"] = OTHER
        with pytest.raises(WeightsError, match=rf"what came is deleted.*expected {DIGEST[:16]}") as caught:
            find_weights("toy", True)
        assert "\n" not in str(caught.value)
        assert names(place.parent) == []
        site.files["/a.pth"] = CONTENT
        assert find_weights("toy", True) == place

    def test_an_interrupted_download_says_what_is_kept(self, site, monkeypatch):
        place = publish(monkeypatch, f"{site.url}/a.pth")
        site.cuts = [1000, 0, 0]
        with pytest.raises(WeightsError, match=r"the connection was cut; the next attempt goes on from .*a\.pth"):
            find_weights("toy", True)
        assert find_cached_weights("toy") is None
        site.requests.clear()
        assert find_weights("toy", True) == place
        assert site.requests[0][2] == "bytes=1000-"

    def test_a_missing_file_says_what_to_do(self, site, monkeypatch):
        place = publish(monkeypatch, f"{site.url}/gone.pth")
        with pytest.raises(WeightsError, match=f"answers 404 .*put the file from {site.url}/gone.pth at {place}"):
            find_weights("toy", True)

    def test_a_folder_that_cannot_be_made(self, site, monkeypatch, tmp_path):
        publish(monkeypatch, f"{site.url}/a.pth")
        (tmp_path / "torch").write_text("a file")
        with pytest.raises(WeightsError, match="cannot be downloaded"):
            find_weights("toy", True)

    @pytest.mark.parametrize("content", [OTHER, CONTENT[:100], b""])
    def test_a_wrong_file_in_the_cache_is_refused_until_it_is_replaced(self, site, monkeypatch, content):
        place = publish(monkeypatch, f"{site.url}/a.pth")
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
        for find in (find_cached_weights, lambda name: find_weights(name, True)):
            with pytest.raises(WeightsError, match=r"a\.pth: not the published weights.*'depthbokeh weights get toy'"):
                find("toy")
        assert place.read_bytes() == content
        assert site.requests == []
        assert get_weights("toy").read_bytes() == CONTENT

    def test_a_file_put_by_hand_is_taken(self, site, monkeypatch):
        place = publish(monkeypatch, f"{site.url}/a.pth")
        place.parent.mkdir(parents=True)
        place.write_bytes(CONTENT)
        assert find_weights("toy", True) == place
        assert site.requests == []

    def test_a_folder_in_its_place_is_refused(self, site, monkeypatch):
        publish(monkeypatch, f"{site.url}/a.pth").mkdir(parents=True)
        with pytest.raises(WeightsError, match="cannot be read: Is a directory"):
            find_weights("toy", True)

    def test_two_at_once_download_once(self, site, monkeypatch):
        place = publish(monkeypatch, f"{site.url}/a.pth")
        found = []
        threads = [threading.Thread(target=lambda: found.append(find_weights("toy", True))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [place] * 4
        assert len(site.requests) == 1


class TestWithoutAPublishedHash:
    def test_the_first_download_is_noted_and_a_changed_file_refused(self, site, monkeypatch):
        place = publish(monkeypatch, f"{site.url}/a.pth", None)
        assert find_weights("toy", True) == place
        note = place.with_name("a.pth.sha256")
        assert note.read_text() == f"{DIGEST}  a.pth\n"
        assert find_weights("toy", True) == place
        place.write_bytes(OTHER)
        with pytest.raises(WeightsError, match=rf"expected {DIGEST[:16]}.* of the first download .*{note}"):
            find_weights("toy", True)
        site.files["/a.pth"] = OTHER
        with pytest.raises(WeightsError, match="what came is deleted"):
            get_weights("toy")
        assert note.read_text() == f"{DIGEST}  a.pth\n"

    @pytest.mark.parametrize("content", [b"<html>log in first</html>", b"", CONTENT[:-100]])
    def test_what_is_no_checkpoint_is_not_noted(self, site, monkeypatch, content):
        place = publish(monkeypatch, f"{site.url}/a.pth", None)
        site.files["/a.pth"] = content
        with pytest.raises(WeightsError, match="what came is deleted, cannot be read as a checkpoint"):
            find_weights("toy", True)
        assert names(place.parent) == []

    @pytest.mark.parametrize("note", ["", "\n", "0123  a.pth\n"])
    def test_a_broken_note_lets_nothing_pass(self, site, monkeypatch, note):
        place = publish(monkeypatch, f"{site.url}/a.pth", None)
        place.parent.mkdir(parents=True)
        place.write_bytes(CONTENT)
        place.with_name("a.pth.sha256").write_text(note)
        with pytest.raises(WeightsError, match="not the published weights"):
            find_weights("toy", True)


class TestOffline:
    @pytest.mark.parametrize("switch", ["DEPTHBOKEH_OFFLINE", "HF_HUB_OFFLINE"])
    @pytest.mark.parametrize("repo", [None, "toys/toy"])
    def test_nothing_is_asked_for(self, site, monkeypatch, switch, repo):
        place = publish(monkeypatch, f"{site.url}/a.pth", repo=repo)
        point_hub_to(monkeypatch, site)
        monkeypatch.setenv(switch, "1")
        with pytest.raises(WeightsError, match=f"'toy' are not here and downloading is switched off .*{switch}"):
            find_weights("toy", True)
        assert site.requests == []
        if repo is None:
            place.parent.mkdir(parents=True)
            place.write_bytes(OTHER)
            with pytest.raises(WeightsError, match="not the published weights"):
                get_weights("toy")
            place.write_bytes(CONTENT)
            assert find_weights("toy", True) == place

    @pytest.mark.parametrize(
        ("value", "expected"), [("1", True), ("ON", True), ("true", True), ("0", False), ("", False)]
    )
    def test_values_of_the_switch(self, monkeypatch, value, expected):
        monkeypatch.setenv("DEPTHBOKEH_OFFLINE", value)
        assert weights.is_offline() is expected


class TestHub:
    PATH = "/toys/toy/resolve/main/a.pth"

    @pytest.fixture
    def hub(self, site, monkeypatch):
        point_hub_to(monkeypatch, site)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
        site.files[self.PATH] = CONTENT
        site.headers = {"ETag": f'"{DIGEST}"', "X-Repo-Commit": "0" * 40}
        publish(monkeypatch, f"{site.url}/toys/toy", None, repo="toys/toy")
        return site

    def test_downloads_once(self, hub):
        assert find_cached_weights("toy") is None
        path = find_weights("toy", True)
        assert path.read_bytes() == CONTENT
        asked = len(hub.requests)
        assert find_weights("toy", True) == find_cached_weights("toy") == path
        assert len(hub.requests) == asked

    def test_a_file_that_differs_from_its_hash_is_refused_and_replaced(self, hub):
        path = find_weights("toy", True)
        path.resolve().write_bytes(OTHER)
        with pytest.raises(WeightsError, match=f"not the published weights .*expected {DIGEST[:16]}"):
            find_weights("toy", True)
        assert get_weights("toy").read_bytes() == CONTENT

    def test_a_wrong_download_is_refused(self, hub):
        hub.files[self.PATH] = OTHER
        with pytest.raises(WeightsError, match="not the published weights"):
            find_weights("toy", True)
        with pytest.raises(WeightsError):
            find_cached_weights("toy")

    def test_a_missing_file_says_what_to_do(self, hub):
        del hub.files[self.PATH]
        with pytest.raises(WeightsError, match=r"cannot be downloaded: .*404.*give the path of a copy") as caught:
            find_weights("toy", True)
        assert "\n" not in str(caught.value)


class TestCommand:
    def run(self, *arguments):
        return CliRunner().invoke(cli.app, ["weights", *arguments])

    def test_get_then_path_then_list(self, site, monkeypatch):
        place = publish(monkeypatch, f"{site.url}/a.pth", DIGEST, mebibytes=1.5)
        assert "toy: not here\n    1.5 MiB" in self.run("list").output
        assert isinstance(self.run("path", "toy").exception, WeightsError)
        assert self.run("get", "toy").output == f"{place}\n"
        assert self.run("path", "toy").output == f"{place}\n"
        assert "toy: here" in self.run("list").output
        place.write_bytes(b"other")
        assert f"toy: broken: {place}" in self.run("list").output

    def test_get_offline_only_checks(self, site, monkeypatch):
        place = publish(monkeypatch, f"{site.url}/a.pth")
        monkeypatch.setenv("DEPTHBOKEH_OFFLINE", "0")  # which the option overwrites until the test ends
        result = self.run("get", "--offline", "toy")
        assert isinstance(result.exception, WeightsError)
        assert site.requests == []
        place.parent.mkdir(parents=True)
        place.write_bytes(CONTENT)
        assert self.run("get", "--offline", "toy").output == f"{place}\n"

    def test_offline_before_any_command(self, site, monkeypatch):
        publish(monkeypatch, f"{site.url}/a.pth")
        for switch in ("DEPTHBOKEH_OFFLINE", "HF_HUB_OFFLINE"):
            monkeypatch.setenv(switch, "0")
        result = CliRunner().invoke(cli.app, ["--offline", "weights", "get", "toy"])
        assert isinstance(result.exception, WeightsError)
        assert os.environ["HF_HUB_OFFLINE"] == "1"
        assert site.requests == []

    def test_a_mistaken_name_is_told_before_anything_is_downloaded(self, site, monkeypatch):
        publish(monkeypatch, f"{site.url}/a.pth")
        assert "'toi'" in str(self.run("get", "toy", "toi").exception)
        assert "'toi'" in str(self.run("path", "toi").exception)
        assert site.requests == []

    def test_a_mistake_is_one_line_and_status_1(self, tmp_path):
        environment = {**os.environ, "DEPTHBOKEH_OFFLINE": "1", "TORCH_HOME": str(tmp_path)}
        command = [sys.executable, "-m", "depthbokeh.cli", "weights", "get", "megadepth"]
        result = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert result.stderr.startswith("depthbokeh: the weights of 'megadepth' are not here")
