"""Train steps as CUDA graphs: forward, backward, clipping and update are started at once, without Python."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.training.batches import TensorBatch
from seqsuite.experiments.training.objectives import Objective
from seqsuite.experiments.training.optimizer import Optimizer
from seqsuite.experiments.training.precision import MixedPrecision
from seqsuite.graphs import GraphedCall, Recorder, TrainStep
from seqsuite.models.sequence_model import SequenceModel

log = logging.getLogger(__name__)


class GraphedSteps:
    """Takes whole train steps as one replayed graph, where a step's batch allows it.

    Args:
        model: What is trained.
        objective: What is minimised.
        optimizer: Of one part, fused.
        config: How.
        precision: Numbers of the forward pass.
        recorder: What records graphs.
    """

    def __init__(
        self,
        model: SequenceModel,
        objective: Objective,
        optimizer: Optimizer,
        config: TrainConfig,
        precision: MixedPrecision,
        recorder: Recorder,
    ) -> None:
        def mean_loss(inputs: Tensor, targets: Tensor, count: Tensor) -> Tensor:
            batch = TensorBatch(inputs, targets, None, None, continues=False, counted=0)
            with precision.autocast(cached=False):
                outputs: Tensor = model(inputs)
                return objective.loss(outputs, batch) / count

        self._step = TrainStep(mean_loss, optimizer.parts[0], clip=config.clip)
        self._call = GraphedCall(self._step, recorder)
        self._told = False

    def take(self, batch: TensorBatch, rate: float) -> tuple[Tensor, Tensor]:
        """Take a step; return its mean loss and the gradient's norm before clipping, not to be waited for."""
        self._step.set_rate(rate)
        count = torch.tensor(float(max(batch.counted, 1)), device=batch.inputs.device)
        loss, norm, _ = self._call(batch.inputs, batch.targets, count)
        if self._call.reason and not self._told:
            self._told = True
            log.info("%s", self._call.reason)
        # The next replay writes into the same memory.
        return loss.clone(), norm.clone()


def why_not(config: TrainConfig, optimizer: Optimizer, lanes: int | None, world: int) -> str:
    """Return why a training's steps cannot be graphs, or an empty string."""
    if config.precision == "fp16":
        return "train.precision=fp16 scales its loss on the host"
    if config.accumulate > 1:
        return "train.accumulate cuts a step into parts"
    if config.chunk is not None:
        return "train.chunk cuts sequences into parts"
    if config.checkpoint_activations:
        return "train.checkpoint_activations keeps random states on the host"
    if world > 1:
        return "several processes train together"
    if len(optimizer.parts) > 1:
        return "train.optimizer=muon takes its step by itself"
    return "" if lanes is None else "task.carry_state carries a state from step to step"


def is_plain(micro_batches: Sequence[TensorBatch]) -> bool:
    """Return whether a step is one batch of whole sequences, neither packed nor padded."""
    first, *others = micro_batches
    return not others and first.cu_seqlens is None and first.lengths is None and not first.continues
