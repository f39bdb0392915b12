"""The plain stack of blocks, all of one width."""

import re
from typing import cast

import torch
from torch import Tensor, nn

from seqsuite.models.backbones.base import MAIN, Backbone, MakeBlock, States
from seqsuite.models.base import Block

_LONGEST_PATTERN = 100_000


class Isotropic(nn.ModuleList, Backbone):
    """A stack of blocks of one width.

    Args:
        d_model: Width D.
        n_layer: Number of blocks.
        make_block: Makes a block of a kind and a width.
        pattern: Kinds of the blocks in order, repeated until there are enough, such as
            ``["main*3", "attention"]``: ``main`` is the model's own block and mixer, other names are entries
            of ``model.layers`` or models, and ``*N`` repeats one. Empty is all ``main``.

    Raises:
        ValueError: if an entry of the pattern cannot be read.
    """

    def __init__(
        self, d_model: int, n_layer: int, make_block: MakeBlock, pattern: tuple[str, ...] = ()
    ) -> None:
        kinds = expand_pattern(pattern or (MAIN,))
        super().__init__(make_block(kinds[index % len(kinds)], d_model) for index in range(n_layer))

    def forward(
        self, x: Tensor, states: States | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, States | None]:
        """See :meth:`Backbone.forward`."""
        if x.shape[1] == 0:  # no frame of a multi-stage backbone is complete yet
            return x, states
        if states is None:
            for block in self.layers():
                x, _ = block(x, None, cu_seqlens)
            return x, None
        after = []
        for block, before in zip(self.layers(), states, strict=True):
            x, state = block(x, before, cu_seqlens)
            after.append(state)
        return x, tuple(after)

    def step(self, x_t: Tensor, states: States) -> tuple[Tensor, States]:
        """See :meth:`Backbone.step`."""
        after = []
        for block, before in zip(self.layers(), states, strict=True):
            x_t, state = block.step(x_t, before)
            after.append(state)
        return x_t, tuple(after)

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> States:
        """Return the blocks' states, in order."""
        return tuple(block.initial_state(batch_size, device=device, dtype=dtype) for block in self.layers())

    def layers(self) -> list[Block]:
        """Return the blocks with their type, which ModuleList forgets."""
        return cast("list[Block]", list(self))

    @property
    def packed_state(self) -> bool:
        """Whether every mixer carries a state for packed sequences."""
        return all(block.mixer.packed_state for block in self.layers())

    @property
    def num_states(self) -> int:
        """One a block."""
        return len(self)


def expand_pattern(pattern: tuple[str, ...]) -> list[str]:
    """Return the kinds that a pattern stands for, such as three times ``main`` for ``main*3``.

    Raises:
        ValueError: if an entry is neither a name nor a name, an asterisk and a number above zero, or if all
            stand for more blocks than a model can have.
    """
    kinds: list[str] = []
    for entry in pattern:
        match = re.fullmatch(r"([^\s*]+)(?:\*([1-9]\d*))?", entry)
        if match is None:
            raise ValueError(f"the pattern's entry {entry!r} is no NAME or NAME*COUNT")
        count = int(match[2] or 1)
        if len(kinds) + count > _LONGEST_PATTERN:
            raise ValueError(f"the pattern stands for more than {_LONGEST_PATTERN:,} blocks")
        kinds += [match[1]] * count
    return kinds
