"""What a model's mixers decide at each position, for drawing selectivity."""

import torch
from torch import Tensor, nn

from seqsuite.models.base import Block, Inspected
from seqsuite.models.sequence_model import SequenceModel


@torch.no_grad()
def inspect_model(model: SequenceModel, tokens: Tensor) -> list[dict[str, Inspected]]:
    """Run a model on token ids (B, L) and return what each block's mixer decided, from first to last.

    What that is depends on the mixer: see :meth:`seqsuite.models.base.Mixer.inspect` and its overrides. The
    blocks of a multi-stage backbone's inner stages have fewer positions.
    """
    decided: list[dict[str, Inspected]] = []

    def record(block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(block, Block)
        decided.append(block.inspect(inputs[0]))

    hooks = [block.register_forward_pre_hook(record) for block in model.blocks.layers()]
    try:
        model(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return decided
