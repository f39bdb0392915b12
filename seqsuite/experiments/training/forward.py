"""A model's outputs for a batch, and the state that goes from one batch to the next."""

from torch import Tensor, nn

from seqsuite.experiments.training.batches import TensorBatch
from seqsuite.models.sequence_model import BackboneState, SequenceClassifier, SequenceModel


class Forward(nn.Module):
    """A model's pass over a batch as one module's call, whichever form it takes: what DDP can wrap.

    Args:
        model: The model.
    """

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: TensorBatch, state: BackboneState | None = None
    ) -> tuple[Tensor, BackboneState | None]:
        """Return the outputs for a batch, and the state after it if one before it was given."""
        if state is not None:
            return self.model.prefill(batch.inputs, state)
        outputs: Tensor
        if isinstance(self.model, SequenceClassifier):
            outputs = self.model(batch.inputs, batch.cu_seqlens, batch.lengths)
        else:
            outputs = self.model(batch.inputs, batch.cu_seqlens)
        return outputs, None


class CarriedModel:
    """A model with the state that goes from one batch to the next, where batches continue.

    Args:
        model: The model.
        call: What is called for its outputs, as a placement gives it; :class:`Forward` by default.

    Attributes:
        state: The state after the last batch that was fed in a row of batches that continue.
    """

    def __init__(self, model: SequenceModel, call: nn.Module | None = None) -> None:
        self.model, self.call = model, call or Forward(model)
        self.state: BackboneState | None = None

    def begin(self, batch: TensorBatch, *, carry: bool) -> BackboneState | None:
        """Return the state before a batch: what is carried if it continues; ``None`` if none is carried."""
        if not carry:
            return None
        if self.state is None or not batch.continues:
            self.state = self.model.initial_state(len(batch.inputs))
        return self.state

    def end(self, state: BackboneState | None) -> None:
        """Keep the state after a batch for the next one."""
        self.state = None if state is None else state.detach()

    def __call__(self, batch: TensorBatch, *, carry: bool = False) -> Tensor:
        """Return the model's outputs for a batch.

        Args:
            batch: What to feed.
            carry: Whether the state is carried: into this batch if it continues, and out of it for the next.
        """
        outputs: Tensor
        outputs, after = self.call(batch, self.begin(batch, carry=carry))
        self.end(after)
        return outputs
