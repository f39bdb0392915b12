"""The training loop of one cell: steps, evaluations, checkpoints, and stopping well."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import load_training
from seqsuite.experiments.checkpoints import Checkpoints, Snapshot, weights_of
from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.training import saved
from seqsuite.experiments.training.averaging import WeightAverage
from seqsuite.experiments.training.batches import Copier, Prefetcher, TensorBatch
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.divergence import check_evaluation, check_step
from seqsuite.experiments.training.forward import CarriedModel
from seqsuite.experiments.training.gradients import Gradients
from seqsuite.experiments.training.graphed import GraphedSteps, is_plain, why_not
from seqsuite.experiments.training.objectives import Objective
from seqsuite.experiments.training.optimizer import learning_rate, make_optimizer
from seqsuite.experiments.training.placement import Placement
from seqsuite.experiments.training.precision import MixedPrecision
from seqsuite.experiments.training.progress import Progress
from seqsuite.experiments.training.rhythm import CheckpointRhythm
from seqsuite.experiments.training.scores import evaluate
from seqsuite.graphs import Recorder
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.tasks.base import Task
from seqsuite.tasks.checks import check_batch, check_metrics

log = logging.getLogger(__name__)

_LOGGED_STEPS = 500
"""About how many points a training curve has."""


@dataclass(frozen=True)
class Parts:
    """What a trainer is handed: everything that varies.

    Attributes:
        task: Where batches come from.
        model: What is trained, placed.
        objective: What is minimised and measured.
        placement: Where, and which rows of a step.
        checkpoints: Where progress is kept.
        rhythm: How often.
        callbacks: Who is told.
        recorder: What records train steps as graphs, where the device has them.
    """

    task: Task
    model: SequenceModel
    objective: Objective
    placement: Placement
    checkpoints: Checkpoints
    rhythm: CheckpointRhythm = field(default_factory=CheckpointRhythm)
    callbacks: Sequence[Callback] = ()
    recorder: Recorder | None = None


class Trainer:
    """Trains one model on one task.

    Args:
        config: How.
        parts: With what.

    Raises:
        UserError: if the task has a metric that its objective does not compute.
    """

    def __init__(self, config: TrainConfig, parts: Parts) -> None:
        check_metrics(parts.task, parts.objective.names)
        self.config, self.parts = config, parts
        self.progress = Progress()
        self._optimizer = make_optimizer(parts.model, config)
        self._precision = MixedPrecision(config.precision, parts.placement.device)
        self._average = None if config.ema is None else WeightAverage(parts.model, config.ema)
        call = parts.placement.forward(parts.model)
        self._carried = [CarriedModel(parts.model, call) for _ in range(config.accumulate)]
        self._gradients = Gradients(parts.objective, parts.placement, self._precision, config.chunk)
        self._log_every = config.log_every or max(1, config.steps // _LOGGED_STEPS)
        self._largest_loss: Tensor | None = None
        self._copy = Copier(parts.placement.device)
        self._listeners: list[Callback] = list(parts.callbacks)
        self._graphed = self._make_graphed()

    def resume(self, folder: Path) -> None:
        """Continue from a checkpoint: weights, optimizer, progress, random state and what callbacks keep.

        Raises:
            UserError: if the checkpoint is damaged, or of other settings.
        """
        placement, cut = self.parts.placement, self.parts.placement.cut
        mapped = placement.shards is not None
        state = load_training(folder, self.parts.model, cut, self._likes(), mapped=mapped)
        try:
            if self._average is not None:
                self._average.load_state_dict(state["average"], cut)
            self._optimizer.load_state_dict(state["optimizer"], cut)
            self._precision.scaler.load_state_dict(state["scaler"])
            for carried, rows in zip(self._carried, placement.rows(0), strict=True):
                carried.state = saved.rows_of(state["carried"], rows, placement.device)
            for callback, kept in zip(self.parts.callbacks, state["callbacks"], strict=True):
                callback.load_state_dict(kept)
            torch.set_rng_state(state["rng"])
            self.progress = Progress(**state["progress"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"The checkpoint {folder} cannot be resumed from ({error}): start afresh with --force."
            ) from error

    def train(self, interruption: InterruptionFlag, display: Callback | None = None) -> None:
        """Train to the last step, evaluating every ``eval_every`` steps, with checkpoints by their rhythm.

        Args:
            interruption: Set when the user asks to stop.
            display: A further callback, of which nothing is saved.

        Raises:
            DivergenceError: at a step whose loss or gradient is not finite, before it is taken on a CPU.
            Interrupted: after saving a checkpoint, once an interruption was requested.
            UserError: if a checkpoint cannot be written, or the task's data fails.
        """
        self._listeners = [*self.parts.callbacks, *([] if display is None else [display])]
        self.parts.model.train()
        steps = range(self.progress.step, self.config.steps)
        self.parts.rhythm.start(self.progress.step)
        with self._written(), Prefetcher(self._prepare, steps) as batches:
            while True:
                if self._evaluation_is_due():
                    self._evaluate(interruption)
                stop, due = self.parts.placement.agree(
                    [
                        interruption.requested,
                        self.parts.rhythm.is_due(self.progress.step, self.parts.checkpoints.seconds),
                    ]
                )
                if stop:
                    self.save()
                    self.parts.checkpoints.wait()
                    raise Interrupted
                if self.progress.step == self.config.steps or self.progress.stopped:
                    break
                if due:
                    self.save()
                self._advance(batches)
        self.parts.checkpoints.wait()
        if self.progress.stopped:
            log.info("Training ended with step %d: %s.", self.progress.step, self.progress.stopped)

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Whatever ends training, a checkpoint that is being written becomes whole first."""
        try:
            yield
        except BaseException:
            with suppress(UserError):
                self.parts.checkpoints.wait()
            raise

    def save(self) -> None:
        """Start to write a checkpoint of where training is: all of it, or each process its part."""
        for callback in self.parts.callbacks:
            callback.saved(self.progress.step)
        placement, average = self.parts.placement, self._average
        training = {
            "optimizer": saved.copied(self._optimizer.state_dict()),
            "scaler": self._precision.scaler.state_dict(),
            "progress": asdict(self.progress),
            "rng": torch.get_rng_state(),
            "carried": saved.joined([carried.state for carried in self._carried], placement.gather),
            "callbacks": [saved.copied(callback.state_dict()) for callback in self.parts.callbacks],
        }
        if average is not None:
            training["average"] = saved.copied(average.state_dict())
        with nullcontext() if average is None else average.in_place():
            weights = weights_of(self.parts.model)
        if placement.rank == 0 or placement.shards is not None:
            snapshot = Snapshot(self.progress.step, weights, training, self.progress.best_step)
            self.parts.checkpoints.save(snapshot)
        self.parts.rhythm.saved(self.progress.step)
        if self.parts.rhythm.waits:
            self.parts.checkpoints.wait()

    def _likes(self) -> dict[str, Tensor]:
        """Return the weights that tensors of a checkpoint's training state are like, by names of these."""
        likes = {f"optimizer.{name}": weight for name, weight in self._optimizer.likes().items()}
        if self._average is not None:
            likes |= {f"average.{name}": weight for name, weight in self._average.likes().items()}
        return likes

    def _prepare(self, step: int) -> list[TensorBatch]:
        """Return the micro-batches of a step; called in the prefetching thread."""
        task, placement = self.parts.task, self.parts.placement
        parts = []
        for rows in placement.rows(step):
            batch = task.train_batch(rows)
            check_batch(task, batch, rows)
            parts.append(placement.part(self._copy(batch)))
        return parts

    def _evaluation_is_due(self) -> bool:
        step = self.progress.step
        last = step == self.config.steps or bool(self.progress.stopped)
        return (last or step % self.config.eval_every == 0) and self.progress.evaluated_step < step

    def _advance(self, batches: Prefetcher[list[TensorBatch]]) -> None:
        """Take one step, time it, and report it."""
        waited = batches.waited
        started = time.perf_counter()
        step = self.progress.step + 1
        rate = learning_rate(self.progress.step, self.config)
        is_logged = step % self._log_every == 0 or step == self.config.steps
        micro_batches = [batch.arrive() for batch in next(batches)]
        graphed = self._graphed if is_plain(micro_batches) else None
        if graphed is not None:
            loss, norm = graphed.take(micro_batches[0], rate)
        else:
            loss, norm = self._compute(micro_batches)
        largest = loss if self._largest_loss is None else torch.maximum(self._largest_loss, loss)
        self._largest_loss = None if is_logged else largest
        # Reading numbers makes a GPU's host wait: it is done once, where they are logged.
        numbers: list[float] | None = None
        if is_logged or self.parts.placement.device.type == "cpu":
            numbers = torch.stack([loss, norm, largest]).tolist()
            scaled = self._precision.scaler.is_enabled()
            check_step(self.parts.model, self.parts.placement, step, numbers[0], numbers[1], scaled=scaled)
        if graphed is None:
            self._optimizer.set_rate(rate)
            self._optimizer.step(self._precision.scaler)
        if self._average is not None:
            self._average.update()
        elapsed = time.perf_counter() - started
        tokens = sum(batch.inputs.shape[0] * batch.inputs.shape[1] for batch in micro_batches)
        self._count(step, elapsed, batches.waited - waited, tokens * self.parts.placement.world)
        for callback in self._listeners:
            callback.stepped(step, None if numbers is None else numbers[0], tokens / elapsed)
        if is_logged and numbers is not None:
            self._log(
                step,
                {
                    schema.TRAIN_LOSS: numbers[0],
                    schema.GRADIENT_NORM: numbers[1],
                    schema.LARGEST_LOSS: numbers[2],
                    schema.LEARNING_RATE: rate,
                    schema.SPEED: tokens / elapsed,
                },
            )

    def _make_graphed(self) -> GraphedSteps | None:
        """Return what takes steps as graphs, where that is wanted and possible."""
        recorder, wanted = self.parts.recorder, self.config.graphs
        if wanted == "off" or (recorder is None and wanted == "auto"):
            return None
        reason = why_not(self.config, self._optimizer, self.parts.task.io.lanes, self.parts.placement.world)
        if recorder is None:
            reason = "there is no CUDA device"
        if recorder is None or reason:
            if wanted == "on":
                log.warning("train.graphs=on: steps run without CUDA graphs, since %s.", reason)
            return None
        parts = self.parts
        return GraphedSteps(
            parts.model, parts.objective, self._optimizer, self.config, self._precision, recorder
        )

    def _compute(self, micro_batches: Sequence[TensorBatch]) -> tuple[Tensor, Tensor]:
        """Compute the gradients of a step; return its mean loss and the gradient's norm before clipping."""
        placement = self.parts.placement
        count = sum(batch.counted for batch in micro_batches)
        if placement.world > 1:
            total = torch.tensor(float(count), dtype=torch.float64)
            count = int(placement.reduce({"count": total})["count"])
        count = max(count, 1)
        carry = self.parts.task.io.lanes is not None
        self._optimizer.zero_grad()
        losses = [
            self._gradients.add(carried, batch, count, carry=carry, last=number == len(micro_batches))
            for number, (carried, batch) in enumerate(zip(self._carried, micro_batches, strict=True), start=1)
        ]
        loss = placement.reduce({"loss": torch.stack(losses).sum()})["loss"]
        self._optimizer.unscale(self._precision.scaler)
        limit = math.inf if self.config.clip is None else self.config.clip
        norm = torch.nn.utils.clip_grad_norm_(self.parts.model.parameters(), limit)
        return loss, placement.whole(norm)

    def _count(self, step: int, seconds: float, waited: float, tokens: int) -> None:
        progress = self.progress
        progress.step = step
        progress.seconds += seconds
        progress.waited += waited
        progress.tokens += tokens
        limit = self.config.max_time
        if limit is None or step == self.config.steps:
            return
        if any(self.parts.placement.agree([progress.seconds >= limit])):
            progress.stopped = f"train.max_time={limit:g} seconds of training are over"

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        for callback in self._listeners:
            callback.logged(step, metrics)

    def _evaluate(self, interruption: InterruptionFlag) -> None:
        """Score the validation set, tell it, and save a checkpoint if it is the best so far, or the last."""
        progress = self.progress
        metrics = self.score("validation", interruption)
        if metrics is None:
            return
        step, metric = progress.step, self.parts.task.metrics[0]
        value, loss = metrics[metric.name], metrics["loss"]
        check_evaluation(step, loss, value)
        self._log(step, {schema.VALIDATION + name: number for name, number in metrics.items()})
        reasons = [callback.evaluated(step, metrics) for callback in self._listeners]
        if step < self.config.steps:
            progress.stopped = progress.stopped or next(filter(None, reasons), "")
        progress.rank(step, value, loss, higher_is_better=metric.higher_is_better)
        if step in (progress.best_step, self.config.steps) or progress.stopped:
            self.save()

    def score(self, split: Any, interruption: InterruptionFlag) -> dict[str, float] | None:
        """Return the scores of a split with the weights to publish; ``None`` after an interruption."""
        average = self._average

        def run() -> dict[str, float] | None:
            return evaluate(
                self.parts.model,
                self.parts.task,
                split,
                self.parts.objective,
                batch_size=self.config.eval_batch_size,
                placement=self.parts.placement,
                stop=lambda: interruption.requested,
            )

        if average is None:
            return run()
        with average.in_place():
            return run()
