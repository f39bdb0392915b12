"""What a model's mixers decide at each position, for drawing selectivity."""

from typing import Any

import torch
from torch import Tensor, nn

from seqsuite.models.base import ControlledMixer, Mixer
from seqsuite.models.sequence_model import SequenceModel


@torch.no_grad()
def inspect_model(model: SequenceModel, tokens: Tensor) -> list[dict[str, Tensor]]:
    """Run a model on token ids (B, L) and return what each block's mixer decided, from first to last.

    What that is depends on the mixer: see :meth:`seqsuite.models.base.Mixer.inspect` and its overrides. The
    blocks of a multi-stage backbone's inner stages have fewer positions.
    """
    decided: list[dict[str, Tensor]] = []

    def record(mixer: nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Any]) -> None:
        assert isinstance(mixer, Mixer)
        if isinstance(mixer, ControlledMixer):
            decided.append(mixer.inspect(inputs[0], options.get("controls")))
        else:
            decided.append(mixer.inspect(inputs[0]))

    mixers = [block.get_submodule("mixer") for block in model.blocks.layers()]
    hooks = [mixer.register_forward_pre_hook(record, with_kwargs=True) for mixer in mixers]
    try:
        # With a state, since without one a block may run its mixer within a fused operation.
        model.prefill(tokens, model.initial_state(len(tokens)))
    finally:
        for hook in hooks:
            hook.remove()
    return decided
