"""A finished classifier as the judge of what another model generates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import load_for_inference
from seqsuite.experiments.evaluation.sample_scores import (
    am_score,
    frechet_distance,
    inception_score,
    modified_inception_score,
)
from seqsuite.experiments.sources import open_source
from seqsuite.models.sequence_model import SequenceClassifier
from seqsuite.tasks.base import Array, JudgeTask, Split, Task
from seqsuite.tasks.codecs.base import TokenIds

FEWEST = 2
"""Samples that a covariance takes."""

_TEST = "of_test/"
"""Before the scores of the real test data."""


@dataclass(frozen=True)
class Verdicts:
    """What a classifier makes of some sequences.

    Attributes:
        features: What its head reads, the normalised last state (N, D).
        log_probabilities: Of the classes (N, K).
    """

    features: npt.NDArray[np.float64]
    log_probabilities: npt.NDArray[np.float64]


class Judge:
    """Scores generated samples.

    Args:
        model: A classifier, in evaluation mode, on its device.
        task: What it was trained on.
        batch_size: Sequences that are classified together.
    """

    def __init__(self, model: SequenceClassifier, task: JudgeTask, batch_size: int = 64) -> None:
        self._model, self._task, self._batch_size = model, task, batch_size

    def scores(self, samples: list[TokenIds]) -> dict[str, float]:
        """Return FID, inception scores and AM score of samples (T,) without prompts, all of one length.

        The same of the real test data, as many at most, has ``of_test/`` before its names: what a perfect
        model would come near to.
        """
        reference = self._real("train", None)
        found = _scores(reference, self._judged(iter(self._batches(np.stack(samples)))))
        held_out = _scores(reference, self._real("test", len(samples)))
        return found | {_TEST + name: value for name, value in held_out.items()}

    def _real(self, split: Split, most: int | None) -> Verdicts:
        """Return the verdicts of real data as it is, at most so many."""
        which = self._task.eval_sets(split)[0]
        which = replace(which, rows=min(which.rows, which.rows if most is None else most))

        def inputs() -> Iterator[Array]:
            for start in range(0, which.rows, self._batch_size):
                rows = range(start, min(start + self._batch_size, which.rows))
                yield self._task.eval_batch(which, rows).inputs

        return self._judged(inputs())

    def _batches(self, samples: Array) -> Iterator[Array]:
        for start in range(0, len(samples), self._batch_size):
            yield self._task.inputs_of(samples[start : start + self._batch_size])

    @torch.inference_mode()
    def _judged(self, batches: Iterator[Array]) -> Verdicts:
        features: list[Tensor] = []
        logits: list[Tensor] = []
        device = self._model.head.weight.device
        hook = self._model.head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        try:
            for inputs in batches:
                logits.append(self._model(torch.from_numpy(inputs).to(device)))
        finally:
            hook.remove()
        log_probabilities = torch.cat(logits).double().log_softmax(-1)
        return Verdicts(torch.cat(features).double().cpu().numpy(), log_probabilities.cpu().numpy())


def open_judge(task: Task, experiment: str, device: torch.device) -> Judge | None:
    """Return the judge that a task names, ``None`` if it names none.

    Args:
        task: The task whose models generate.
        experiment: MLflow experiment that the judge's run is in.
        device: Where to classify.

    Raises:
        UserError: if there is no such run, or it judges other data.
    """
    if task.judge is None:
        return None
    if task.sample_count < FEWEST:
        raise UserError(f"task.samples={task.sample_count} are too few to be scored: take {FEWEST} or more.")
    with open_source(task.judge, experiment) as found:
        model, config = load_for_inference(found.folder)
    judging = config.make_task()
    if not isinstance(judging, JudgeTask) or not isinstance(model, SequenceClassifier):
        raise UserError(
            f"task.classifier={task.judge} is a run of the task {config.task.name!r}, which scores no "
            "samples: name a run of one that does, such as sc09_classifier."
        )
    if judging.fingerprint() != task.fingerprint():
        raise UserError(
            f"task.classifier={task.judge} was trained on other data: give it the same task.path, "
            "task.sample_rate and files."
        )
    return Judge(model.to(device), judging)


def _scores(reference: Verdicts, judged: Verdicts) -> dict[str, float]:
    return {
        "fid": frechet_distance(reference.features, judged.features),
        "inception_score": inception_score(judged.log_probabilities),
        "modified_inception_score": modified_inception_score(judged.log_probabilities),
        "am_score": am_score(reference.log_probabilities, judged.log_probabilities),
    }
