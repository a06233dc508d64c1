"""The training loop: exact resumption, several processes, and what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from toy_training import make_trainer, read_losses, train

from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.training import finetune
from depthbokeh.training.checkpoints import list_states, read_state
from depthbokeh.training.finetune import TrainingError

PROGRAM = Path(__file__).with_name("toy_training.py")


def start(*arguments: object, processes: int = 1) -> subprocess.Popen:
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", "29711"]
    command = [sys.executable, *(launch if processes > 1 else []), str(PROGRAM), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


def wait_for_step(run: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (run / "log.jsonl").exists() and step in read_losses(run):
            return
        time.sleep(0.02)
    pytest.fail(f"step {step} was not reached: {process.stdout.read() if process.poll() is not None else ''}")


@pytest.fixture(autouse=True)
def _fresh_state():
    """Accelerate keeps the precision of a process's first training."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_what_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    """Asked to end, gone on with, killed, and gone on with again; here, what is not stopped runs in this process."""
    process = start(tmp_path, 40)
    wait_for_step(tmp_path, 7, process)
    process.send_signal(signal.SIGTERM)
    assert "interrupted" in wait_for(process)
    reached = max(read_losses(tmp_path))
    assert read_state(list_states(tmp_path / "checkpoints")[-1])["step"] == reached

    process = start(tmp_path, 40, "--resume")
    wait_for_step(tmp_path, reached + 5, process)
    process.kill()
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()
    assert reached + 5 <= max(read_losses(tmp_path)) < 40, "it was too quick to be stopped"

    train(tmp_path, 40, "--resume")
    AcceleratorState._reset_state(reset_partial_state=True)
    train(tmp_path / "uninterrupted", 40)
    losses = read_losses(tmp_path)
    assert list(losses) == list(range(1, 41))
    assert losses == read_losses(tmp_path / "uninterrupted")


def test_two_processes_learn_what_one_does(tmp_path):
    two = start(tmp_path / "two", 10, "--plain", processes=2)
    train(tmp_path / "one", 10, "--plain")
    wait_for(two)
    one, two = (read_losses(tmp_path / name) for name in ("one", "two"))
    assert list(one) == list(two) == list(range(1, 11))
    assert [one[step] for step in one] == pytest.approx([two[step] for step in two], abs=1e-4)
    parameters = [read_state(list_states(tmp_path / name / "checkpoints")[-1])["model"] for name in ("one", "two")]
    for key, value in parameters[0].items():
        torch.testing.assert_close(parameters[1][key], value, atol=1e-4, rtol=1e-4)
    assert one[10] != one[1]


def test_it_learns_the_mask_from_bokeh_alone(tmp_path):
    steps = {"steps": 100, "validate_every": 100, "save_every": 100}
    trainer = make_trainer(tmp_path, **steps, schedule="constant", dropout=0.0, lr=3e-2)
    before = trainer._validate(finetune.RunLog(tmp_path, 0, main=False, total=1))
    after = trainer.train().scores
    assert before.mask_iou < 0.5
    assert after.mask_iou > 0.8
    assert 0.1 < after.mask_area < 0.5


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_is_not_finite_spoils_nothing(tmp_path, accumulate):
    trainer = make_trainer(tmp_path, spoiled=5, accumulate=accumulate, batch=2)
    with pytest.raises(TrainingError, match=r"the loss is nan at step \d+, on photos .*5.*--resume"):
        trainer.train()
    state = read_state(list_states(tmp_path / "checkpoints")[-1])
    assert all(value.isfinite().all() for value in state["model"].values())


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path, steps=6, save_every=2)
    write, failing = torch.save, []

    def fill(state, stream):
        if state["step"] >= 4:
            failing.append(state["step"])
            stream.write(b"half of it")
            raise OSError(28, "No space left on device")
        write(state, stream)

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(TrainingError, match=r"No space left on device.*free some space, then --resume"):
        trainer.train()
    assert failing == [4, 6], "training goes on after a checkpoint that could not be written"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000002.pt"]
    monkeypatch.undo()
    again = make_trainer(tmp_path, steps=6, save_every=2)
    assert again.resume() == 2
    assert again.train().step == 6


def test_the_last_checkpoints_are_kept(tmp_path):
    make_trainer(tmp_path, steps=10, save_every=2, keep=2).train()
    assert [path.name for path in list_states(tmp_path / "checkpoints")] == ["step_00000008.pt", "step_00000010.pt"]


def test_training_stops_when_it_no_longer_helps(tmp_path):
    outcome = make_trainer(tmp_path, steps=40, validate_every=2, patience=2, lr=1e-9, lens_lr=1e-9).train()
    assert outcome.reason == "stopped early"
    assert outcome.step <= 8


@pytest.mark.parametrize(
    "options",
    [{"ema": 0.9}, {"checkpointing": True}, {"precision": "bf16"}, {"accumulate": 2}, {"workers": 1}],
    ids=str,
)
def test_options_train_and_resume(tmp_path, options):
    make_trainer(tmp_path, steps=4, **options).train()
    trainer = make_trainer(tmp_path, steps=6, **options)
    assert trainer.resume() == 4
    assert trainer.train().step == 6
    assert list(read_losses(tmp_path)) == [1, 2, 3, 4, 5, 6]


def test_gradient_checkpointing_changes_no_gradient(tmp_path):
    for name, checkpointing in (("kept", False), ("again", True)):
        make_trainer(tmp_path / name, steps=4, checkpointing=checkpointing).train()
    kept, again = (read_losses(tmp_path / name) for name in ("kept", "again"))
    assert kept == pytest.approx(again, abs=1e-6)


def test_a_state_of_another_model_is_refused(tmp_path):
    make_trainer(tmp_path, steps=2).train()
    path = list_states(tmp_path / "checkpoints")[-1]
    state = read_state(path)
    state["model"] = {f"other.{key}": value for key, value in state["model"].items()}
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="another model"):
        make_trainer(tmp_path, steps=4).resume()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        make_trainer(tmp_path, steps=4).resume()
