"""The contract of a backbone: all that lies between a model's embedding and its head."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqsuite.models.base import Block, State

States = tuple[State, ...]
"""What a backbone must remember: the states of its parts, in a fixed order."""

MakeBlock = Callable[[str, int], Block]
"""Makes a block from the name of its kind and its width. ``"main"`` is the model's own block and mixer."""

MAIN = "main"


class Backbone(nn.Module, ABC):
    """Blocks arranged into one causal layer on (B, L, D), with an explicit state.

    A subclass's constructor takes ``d_model``, ``n_layer`` and a :data:`MakeBlock`, then its options as
    parameters with defaults.
    """

    @abstractmethod
    def forward(
        self, x: Tensor, states: States | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, States | None]:
        """Process whole sequences, or one chunk of each, as a :class:`SequenceLayer` does."""

    @abstractmethod
    def step(self, x_t: Tensor, states: States) -> tuple[Tensor, States]:
        """Process one position ``x_t`` (B, D); return its output (B, D) and the next states."""

    @abstractmethod
    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> States:
        """Return the states before the first position."""

    @abstractmethod
    def layers(self) -> list[Block]:
        """Return every block."""

    def length_of(self, part: str, seqlen: int) -> int:
        """Return at how many positions of a sequence a module of the backbone runs; all, by default."""
        return seqlen

    @property
    @abstractmethod
    def packed_state(self) -> bool:
        """Whether packed sequences can start from states and return them."""

    @property
    @abstractmethod
    def num_states(self) -> int:
        """How many states there are."""
