"""The training itself: from any state to the next, on one processor or many."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from depthbokeh.photo import PhotoError
from depthbokeh.training.batches import StepSampler
from depthbokeh.training.checkpoints import (
    collect_random,
    collect_state,
    list_states,
    read_state,
    restore_random,
    restore_state,
    write_state,
)
from depthbokeh.training.config import FinetuneConfig
from depthbokeh.training.log import RunLog
from depthbokeh.training.losses import BokehLoss
from depthbokeh.training.model import LearnedPipeline
from depthbokeh.training.validation import Scores, validate

T = TypeVar("T")

Item = dict[str, Tensor]
"""A pair: ``photo`` and ``bokeh`` ``(3, H, W)``, ``disparity`` ``(1, H, W)`` if there is one, ``mask`` likewise (only
looked at, never learned from), ``longer_side``, pixels of the whole photo, and ``number``."""


class TrainingError(RuntimeError):
    """A training that cannot go on, told in words for the user."""


class Outcome(NamedTuple):
    """How a training ended."""

    step: int
    scores: Scores | None
    """The last validation's."""
    reason: str
    """``"finished"``, ``"stopped early"`` or ``"interrupted"``."""


class Trainer:
    """Fine-tunes a pipeline on pairs of photographs.

    Started with ``accelerate launch`` or ``torchrun`` it shares every batch between the processes; the result is that
    of one process but for the order of sums.

    Args:
        model: The pipeline and its lens.
        config: How.
        train_set: Items by key ``(epoch, index)``, from which augmentation follows.
        validation_set: Items by index, or ``None``.
        run: Folder of the run: checkpoints, logs, pictures, the best pipeline.

    Raises:
        ValueError: If the batch cannot be shared between the processes.
    """

    def __init__(
        self,
        model: LearnedPipeline,
        config: FinetuneConfig,
        train_set: Dataset[Item],
        validation_set: Dataset[Item] | None,
        run: Path,
    ) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        # Photos of other numbers have no gradient in a step, nor has a lens that is not learned.
        skips = bool(getattr(model.pipeline.mask_model, "skips_parameters", False))
        options = DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=skips)
        self._accelerator: Any = Accelerator(
            mixed_precision=config.precision,
            gradient_accumulation_steps=config.accumulate,
            cpu=not torch.cuda.is_available(),
            kwargs_handlers=[options],
        )
        self._config, self._run = config, run
        self._train_set, self._validation_set = train_set, validation_set
        self._loss = BokehLoss(config.loss, match_exposure=config.match_exposure).to(self._accelerator.device)
        lens = list(model.lens.parameters())
        lens_ids = {id(parameter) for parameter in lens}
        models = [parameter for parameter in model.parameters() if id(parameter) not in lens_ids]
        groups = [
            {"params": [parameter for parameter in parameters if parameter.requires_grad], "lr": rate}
            for parameters, rate in ((models, config.lr), (lens, config.lens_lr))
        ]
        groups = [group for group in groups if group["params"]]
        if not groups:
            raise ValueError("learn is empty and no model has parameters to train: expected something to learn")
        self._model, self._optimizer = self._accelerator.prepare(model, Adam(groups))
        self._schedule = LambdaLR(self._optimizer.optimizer, lambda step: _find_rate(config, step))
        self._mean = None
        if config.ema:
            average: Any = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
            self._mean = AveragedModel(self._unwrapped, multi_avg_fn=average, use_buffers=True)
        self._step, self._best, self._stale = 0, float("-inf"), 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self._accelerator.is_main_process)

    @property
    def _unwrapped(self) -> LearnedPipeline:
        return cast("LearnedPipeline", self._accelerator.unwrap_model(self._model))

    @property
    def _judged(self) -> LearnedPipeline:
        """What is validated and saved."""
        return self._unwrapped if self._mean is None else cast("LearnedPipeline", self._mean.module)

    def resume(self) -> int:
        """Go on from the run's last state; returns its step, 0 without one.

        Raises:
            CheckpointError: If the state is of another model or configuration.
        """
        states = list_states(self._run / "checkpoints")
        if not states:
            return 0
        path = states[-1]
        state = read_state(path)
        restore_state(self._model, self._optimizer.optimizer, state, path)
        if self._mean is not None:
            self._mean.load_state_dict(state["mean"])
        self._schedule.load_state_dict(state["schedule"])
        if self._accelerator.scaler is not None and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        self._step, self._best, self._stale = state["step"], state["best"], state["stale"]
        restore_random(state["random"][self._accelerator.process_index])
        return self._step

    def train(self) -> Outcome:
        """Train to the end, or until something stops it; the state is written in each case.

        Raises:
            TrainingError: If the loss is not finite, or the last state cannot be written.
        """
        config, accelerator = self._config, self._accelerator
        scores: Scores | None = None
        with (
            RunLog(self._run, self._step, main=accelerator.is_main_process, total=config.steps) as log,
            _listening() as asked,
        ):
            batches = self._load_batches()
            self._model.train()
            while self._step < config.steps:
                rate = float(self._schedule.get_last_lr()[0])
                parts = self._take_step(batches)
                self._step += 1
                log.write_step(self._step, {**parts, "lr": rate})
                stop = self._agree(bool(asked))
                if self._step % config.validate_every == 0 or self._step == config.steps:
                    scores = self._validate(log) or scores
                    if config.patience and self._stale >= config.patience:
                        self._save(log, required=True)
                        return Outcome(self._step, scores, "stopped early")
                if stop:
                    self._save(log, required=True)
                    return Outcome(self._step, scores, "interrupted")
                if self._step % config.save_every == 0 and self._step < config.steps:
                    self._save(log, required=False)
            self._save(log, required=True)
        return Outcome(self._step, scores, "finished")

    def _load_batches(self) -> Iterator[Item]:
        config, accelerator = self._config, self._accelerator
        sampler = StepSampler(
            len(self._train_set),  # type: ignore[arg-type]  # a Dataset of unknown length is an iterable one
            config.batch,
            seed=config.seed,
            start=self._step * config.accumulate,
            rank=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        loader = DataLoader(
            self._train_set,
            batch_sampler=cast("Any", sampler),
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
            pin_memory=accelerator.device.type == "cuda",
            generator=torch.Generator(),  # or else it would take a number from the one that dropout draws from
        )
        return iter(loader)

    def _take_step(self, batches: Iterator[Item]) -> dict[str, float]:
        """One optimizer step; returns the parts of the loss, means over batches and processes."""
        accelerator, config = self._accelerator, self._config
        sums: dict[str, Tensor] = {}
        settled = min(1.0, self._step / max(1.0, config.settle * config.steps))
        for _ in range(config.accumulate):
            batch = {name: value.to(accelerator.device, non_blocking=True) for name, value in next(batches).items()}
            with accelerator.accumulate(self._model):
                with accelerator.autocast():
                    prediction = self._model(
                        batch["photo"], batch.get("disparity"), batch["longer_side"], batch["number"]
                    )
                parts = self._loss(prediction.bokeh, batch["bokeh"], prediction.mask, batch["photo"], settled=settled)
                self._require_finite(parts["total"].detach(), batch["number"])
                accelerator.backward(parts["total"])
                if accelerator.sync_gradients and config.clip is not None:
                    accelerator.clip_grad_norm_(self._model.parameters(), config.clip)
                self._optimizer.step()
                self._optimizer.zero_grad()
            for name, part in parts.items():
                sums[name] = sums.get(name, torch.zeros_like(part)) + part.detach()
        self._schedule.step()
        if self._mean is not None:
            self._mean.update_parameters(self._unwrapped)
        return {
            name: float(accelerator.reduce(value, reduction="mean")) / config.accumulate for name, value in sums.items()
        }

    def _require_finite(self, loss: Tensor, numbers: Tensor) -> None:
        """Leaves before a loss that is not finite spoils the parameters."""
        if not self._agree(not bool(loss.isfinite())):
            return
        self._optimizer.zero_grad()
        self._save(None, required=False)
        photos = ", ".join(str(int(number)) for number in numbers)
        raise TrainingError(
            f"the loss is {float(loss):g} at step {self._step + 1}, on photos {photos}: nothing was learned from it, "
            f"and the state before it is in {self._run / 'checkpoints'}. Expected a finite loss: try a lower --lr, "
            "--precision no, or leave these photos out; --resume goes on from there"
        )

    def _agree(self, mine: bool) -> bool:
        """Whether any process says yes: all must do the same."""
        if self._accelerator.num_processes == 1:
            return mine
        flag = torch.tensor(float(mine), device=self._accelerator.device)
        return bool(self._accelerator.reduce(flag, reduction="sum") > 0)

    def _validate(self, log: RunLog) -> Scores | None:
        if self._validation_set is None:
            return None
        self._judged.eval()
        scores = None
        if self._accelerator.is_main_process:
            scores = validate(
                self._judged,
                self._validation_set,
                self._accelerator.device,
                self._run / "pictures" / f"{self._step:08}",
            )
            log.write_scores(self._step, scores)
        self._accelerator.wait_for_everyone()
        self._model.train()
        better = scores is not None and scores.gain_fitted_psnr > self._best
        # Only the main process has scores; the others follow it.
        if self._agree(better):
            self._stale = 0
            if scores is not None:
                self._best = scores.gain_fitted_psnr
                self._save_best(log)
        else:
            self._stale += 1
        return scores

    def _save_best(self, log: RunLog) -> None:
        judged = self._judged
        with torch.no_grad():
            judged.pipeline.strength = float(judged.lens(None).strength)
        try:
            judged.pipeline.save_pretrained(self._run / "best", overwrite=True)
        except PhotoError as error:
            log.say(f"the best pipeline could not be saved, training goes on: {error}")

    def _save(self, log: RunLog | None, *, required: bool) -> None:
        accelerator = self._accelerator
        state: dict[str, Any] = collect_state(self._model, self._optimizer.optimizer)
        randoms = _gather(collect_random(), accelerator)
        if not accelerator.is_main_process:
            return
        state.update(
            schedule=self._schedule.state_dict(),
            mean=None if self._mean is None else self._mean.state_dict(),
            scaler=accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
            best=self._best,
            stale=self._stale,
            random=randoms,
            config=self._config.to_dict(),
        )
        try:
            write_state(self._run / "checkpoints", self._step, state, self._config.keep)
        except PhotoError as error:
            if required:
                raise TrainingError(
                    f"{error}. What was saved before is still there: free some space, then --resume"
                ) from error
            if log is not None:
                log.say(f"{error}; training goes on, and the next checkpoint is tried as usual")


def _find_rate(config: FinetuneConfig, step: int) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "linear":
        return max(0.0, 1 - done)
    return 0.5 * (1 + float(torch.cos(torch.tensor(min(done, 1.0) * torch.pi))))


def _gather(mine: T, accelerator: Any) -> list[T]:
    """Every process's, in order."""
    from accelerate.utils import gather_object

    return cast("list[T]", gather_object([mine])) if accelerator.num_processes > 1 else [mine]


@contextmanager
def _listening() -> Iterator[list[int]]:
    """Collects the signals that ask to stop, so that the step at hand is finished and the state written."""
    asked: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT)
    before: Mapping[signal.Signals, Any] = {
        name: signal.signal(name, lambda number, frame: asked.append(number)) for name in signals
    }
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
