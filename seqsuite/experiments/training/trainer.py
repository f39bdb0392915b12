"""The training loop of one cell: steps, evaluations, checkpoints, and stopping well."""

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.experiments.checkpoints import Shape, load_training, save_checkpoint
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.evaluation.scores import evaluate, to_tensors
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.logger import CellLogger
from seqsuite.experiments.training.optimizer import learning_rate, make_optimizer
from seqsuite.models.sequence_model import LanguageModel
from seqsuite.tasks.base import IGNORE, Task

_LOGGED_STEPS = 500
"""About how many points a training curve has."""


class DivergenceError(Exception):
    """A loss, gradient or parameter is no longer finite; the message says which and at what step."""


class Observer(Protocol):
    """Who watches a cell being trained, such as a progress bar."""

    def stepped(self, step: int, loss: float, tokens_per_second: float) -> None:
        """Be told that ``step`` steps are done, with the last loss in nats."""

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """Be told the validation metrics after ``step`` steps."""


@dataclass
class Progress:
    """How far training has come: all of it is saved, so that a resumed run continues exactly."""

    step: int = 0
    seconds: float = 0.0
    evaluated_step: int = 0
    best: float | None = None
    best_step: int = 0


class Trainer:
    """Trains one model on one task.

    Args:
        config: The cell.
        task: Its task.
        model: Its model, which is moved to ``device``.
        device: Where to compute.
        logger: Where metrics go.
        folder: Where the checkpoints ``best`` and ``last`` go.
    """

    def __init__(
        self,
        config: CellConfig,
        task: Task,
        model: LanguageModel,
        device: torch.device,
        logger: CellLogger,
        folder: Path,
    ) -> None:
        self.config, self.task, self.logger, self.device = config, task, logger, device
        self.model = model.to(device)
        self.progress = Progress()
        self.best_folder, self.last_folder = folder / "best", folder / "last"
        self._spec = task.spec
        self._optimizer = make_optimizer(model, config.train)

    def resume(self) -> None:
        """Continue from the last checkpoint: weights, optimizer, progress and random state."""
        state = load_training(self.last_folder, self.model)
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        self.progress = Progress(**state["progress"])

    def train(self, interruption: InterruptionFlag, observer: Observer) -> None:
        """Train to the last step, evaluating and saving a checkpoint every ``eval_every`` steps.

        Raises:
            DivergenceError: at the first step whose loss or gradient is not finite, before it is taken.
            Interrupted: after saving a checkpoint, once an interruption was requested.
        """
        self.model.train()
        while True:
            if self._evaluation_is_due():
                self._evaluate(interruption, observer)
            if interruption.requested:
                self._save(self.last_folder, resumable=True)
                raise Interrupted
            if self.progress.step == self.config.train.steps:
                return
            self._advance(observer)

    def tokens_per_second(self) -> float:
        """Return the average training speed, evaluations left out."""
        tokens = self.progress.step * self.config.train.batch_size * self._spec.seqlen
        return tokens / self.progress.seconds

    def _evaluation_is_due(self) -> bool:
        train, step = self.config.train, self.progress.step
        scheduled = step == train.steps or (step > 0 and step % train.eval_every == 0)
        return scheduled and self.progress.evaluated_step < step

    def _advance(self, observer: Observer) -> None:
        """Take one step, time it, and report it."""
        train = self.config.train
        rate = learning_rate(self.progress.step, train)
        started = time.perf_counter()
        loss = self._step(rate)
        elapsed = time.perf_counter() - started
        self.progress.step += 1
        self.progress.seconds += elapsed
        step, speed = self.progress.step, train.batch_size * self._spec.seqlen / elapsed
        observer.stepped(step, loss, speed)
        if step % max(1, train.steps // _LOGGED_STEPS) == 0 or step == train.steps:
            metrics = {
                schema.TRAIN_LOSS: loss,
                schema.LEARNING_RATE: rate,
                schema.TOKENS_PER_SECOND: speed,
            }
            self.logger.log(metrics, step)

    def _step(self, rate: float) -> float:
        """Take one optimizer step; return its loss in nats."""
        train, step = self.config.train, self.progress.step
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        inputs, targets = to_tensors(self.task.batch("train", step, train.batch_size), self.device)
        logits = self.model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        limit = math.inf if train.clip is None else train.clip
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self._check_finite(loss, norm)
        self._optimizer.step()
        return loss.item()

    def _check_finite(self, loss: Tensor, norm: Tensor) -> None:
        if math.isfinite(loss.item()) and math.isfinite(norm.item()):
            return
        for kind in ("parameter", "gradient"):
            for name, parameter in self.model.named_parameters():
                values = parameter if kind == "parameter" else parameter.grad
                if values is not None and not torch.isfinite(values).all():
                    raise DivergenceError(
                        f"the {kind} of {name} is not finite at step {self.progress.step + 1} "
                        f"(loss {loss.item():.4g}): try a lower train.learning_rate."
                    )
        raise DivergenceError(
            f"the loss is {loss.item()} at step {self.progress.step + 1} though every parameter and gradient "
            "is finite: the logits have overflowed; try a lower train.learning_rate."
        )

    def _evaluate(self, interruption: InterruptionFlag, observer: Observer) -> None:
        """Evaluate on the validation set, log it, and save the best and the last checkpoint."""
        metrics = evaluate(
            self.model,
            self.task,
            "validation",
            self.config.train.eval_batch_size,
            self.device,
            stop=lambda: interruption.requested,
        )
        if metrics is None:
            return
        step, value = self.progress.step, metrics[self._spec.metric]
        self.logger.log({schema.VALIDATION + name: number for name, number in metrics.items()}, step)
        observer.evaluated(step, metrics)
        self.progress.evaluated_step = step
        if self._improves(value):
            self.progress.best, self.progress.best_step = value, step
            self._save(self.best_folder, resumable=False)
        self._save(self.last_folder, resumable=True)

    def _improves(self, value: float) -> bool:
        best = self.progress.best
        if best is None:
            return True
        return value > best if self._spec.higher_is_better else value < best

    def _save(self, folder: Path, *, resumable: bool) -> None:
        training = {
            "optimizer": self._optimizer.state_dict(),
            "progress": asdict(self.progress),
            "rng": torch.get_rng_state(),
        }
        save_checkpoint(
            folder,
            model=self.model,
            config=self.config,
            shape=Shape.of(self._spec),
            step=self.progress.step,
            training=training if resumable else None,
        )


def final_metrics(trainer: Trainer, test: dict[str, float]) -> dict[str, float]:
    """Return the summary that a finished cell is compared by."""
    spec = trainer.task.spec
    assert trainer.progress.best is not None
    return {
        **{schema.TEST + name: value for name, value in test.items()},
        schema.BEST + spec.metric: trainer.progress.best,
        schema.BASELINE + spec.metric: trainer.task.baseline("test")[1],
        schema.BASELINE_VALIDATION + spec.metric: trainer.task.baseline("validation")[1],
        schema.PARAMETERS: float(trainer.model.num_parameters()),
        schema.TRAIN_SECONDS: trainer.progress.seconds,
        schema.TOKENS_PER_SECOND: trainer.tokens_per_second(),
    }
