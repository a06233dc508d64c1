"""Checkpoints: reading them whatever they are wrapped in, loading them key for key, writing them."""

import pytest
import torch
from torch import nn

from depthbokeh.models.checkpoints import (
    CheckpointError,
    load_checkpoint,
    read_checkpoint,
    read_metadata,
    save_checkpoint,
)

STATE = {"weight": torch.tensor([[1.0, -2.0]]), "bias": torch.tensor([0.5])}


def assert_equal(state, expected):
    assert list(state) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0)


class TestRead:
    @pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict", "model_state"])
    @pytest.mark.parametrize("prefix", ["", "module."])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_wrapped_and_prefixed(self, tmp_path, wrapper, prefix, zipped):
        state = {prefix + key: value for key, value in STATE.items()}
        content = state if wrapper is None else {"epoch": 3, wrapper: state, "optimizer": {"lr": 0.1}}
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        assert_equal(read_checkpoint(tmp_path / "a.pth"), STATE)

    def test_only_one_prefix_that_all_keys_have_is_taken_off(self, tmp_path):
        torch.save({"module.module.a": torch.ones(1)}, tmp_path / "a.pth")
        assert list(read_checkpoint(tmp_path / "a.pth")) == ["module.a"]
        torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "a.pth")
        assert list(read_checkpoint(tmp_path / "a.pth")) == ["module.a", "b"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([torch.ones(1)], "holds a list, expected tensors by key"),
            (torch.ones(1), "holds a Tensor"),
            ({}, "holds nothing"),
            ({"state_dict": {}}, "holds nothing"),
            ({"a": 1}, "'a' is a int, expected a tensor"),
            ({1: torch.ones(1)}, "1 is a Tensor, expected a tensor by its name"),
            ({"model": {"model": {"a": torch.ones(1)}}}, "'model' is a dict"),
        ],
    )
    def test_other_content_is_refused(self, tmp_path, content, message):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=rf"a\.pth: .*{message}"):
            read_checkpoint(tmp_path / "a.pth")


class TestLoad:
    def test_fills_a_model(self):
        model = nn.Linear(2, 1)
        load_checkpoint(model, STATE, "a test")
        assert_equal(model.state_dict(), STATE)

    def test_the_count_of_batches_may_be_missing(self):
        model, other = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
        other.running_mean += 1
        state = {key: value for key, value in other.state_dict().items() if key != "num_batches_tracked"}
        load_checkpoint(model, state, "a test")
        assert model.running_mean.tolist() == [1, 1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"bias": None}, "missing: bias"),
            ({"gain": torch.ones(1)}, "unknown: gain"),
            ({"bias": torch.ones(2)}, r"of another shape: bias \(2,\) instead of \(1,\)"),
            ({"bias": None, "gain": torch.ones(1)}, "missing: bias; unknown: gain"),
            ({f"a{i}": torch.ones(1) for i in range(9)}, "unknown: a0, a1, a2, a3 and 5 more"),
        ],
    )
    def test_other_keys_and_shapes_leave_the_model_as_it_was(self, change, message):
        model = nn.Linear(2, 1)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        state = {key: value for key, value in {**STATE, **change}.items() if value is not None}
        with pytest.raises(CheckpointError, match=f"^a test: not a checkpoint of Linear; {message}$"):
            load_checkpoint(model, state, "a test")
        assert_equal(model.state_dict(), before)


class TestSave:
    @pytest.mark.parametrize(
        "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool]
    )
    def test_there_and_back(self, tmp_path, dtype):
        state = {"b": torch.arange(6).view(2, 3).to(dtype), "a": torch.ones((), dtype=dtype), "c": torch.ones(0, 3)}
        save_checkpoint(state, tmp_path / "a.safetensors", metadata={"name": "toy"})
        read = read_checkpoint(tmp_path / "a.safetensors")
        assert_equal({key: read[key] for key in state}, state)
        assert read_metadata(tmp_path / "a.safetensors") == {"name": "toy"}

    def test_a_model_with_shared_and_transposed_weights(self, tmp_path):
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
        model[1].weight = model[0].weight
        model[0].bias = nn.Parameter(torch.arange(6.0).view(3, 2).t()[1])
        save_checkpoint(model, tmp_path / "a.safetensors")
        other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
        load_checkpoint(other, read_checkpoint(tmp_path / "a.safetensors"), "a test")
        assert_equal(other.state_dict(), model.state_dict())

    def test_what_is_written_is_a_copy(self, tmp_path):
        state = {"a": torch.zeros(2)}
        save_checkpoint(state, tmp_path / "a.safetensors")
        read = read_checkpoint(tmp_path / "a.safetensors")
        read["a"] += 1
        assert state["a"].tolist() == [0, 0]

    def test_overwrites_only_when_asked(self, tmp_path):
        path = tmp_path / "a.safetensors"
        save_checkpoint({"a": torch.zeros(1)}, path)
        with pytest.raises(CheckpointError, match="exists already"):
            save_checkpoint({"a": torch.ones(1)}, path)
        assert read_checkpoint(path)["a"].item() == 0
        save_checkpoint({"a": torch.ones(1)}, path, overwrite=True)
        assert read_checkpoint(path)["a"].item() == 1

    @pytest.mark.parametrize(
        ("name", "state", "message"),
        [
            ("a.pth", STATE, "ends in '.pth', expected .safetensors"),
            ("none/a.safetensors", STATE, "does not exist"),
            ("a.safetensors", {"a": 1}, "'a' is a int, expected a dense tensor"),
            ("a.safetensors", {"a": torch.eye(2).to_sparse()}, "'a' is a Tensor, expected a dense tensor"),
        ],
    )
    def test_refuses(self, tmp_path, name, state, message):
        with pytest.raises(CheckpointError, match=message):
            save_checkpoint(state, tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_a_failing_write_keeps_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "a.safetensors"
        save_checkpoint(STATE, path)
        before = path.read_bytes()

        def fill_disk(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("safetensors.torch.save_file", fill_disk)
        with pytest.raises(CheckpointError, match="No space left"):
            save_checkpoint(STATE, path, overwrite=True)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]

    def test_metadata_of_what_is_no_checkpoint(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"none\.safetensors: cannot be read"):
            read_metadata(tmp_path / "none.safetensors")
