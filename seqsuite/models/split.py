"""Sequences that are split over processes, each with a part: how a layer learns what lies before its part.

While :func:`split_over` holds, the state that a layer is given is the one before the whole sequences, and
the layer asks here for the one before its part. A recurrence takes a state through a part as a linear map and
adds what the part itself leaves: every process runs its part from zero, tells the others both, and composes
those of the parts before its own. So all work at once, and none waits for another's part.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor


class Peers(Protocol):
    """The processes that share sequences, in the order of their parts. All ask for the same at once."""

    @property
    def before(self) -> Sequence[int]:
        """Return how many positions each part before this process's own has."""

    def earlier(self, *values: Tensor) -> list[tuple[Tensor, ...]]:
        """Return what the processes before this one ask with, in order, behind zeros of that form.

        Values have one shape on all processes, and gradients go back to where they came from. Who asks must
        use the zeros, so that all processes take the same steps backward.
        """

    def positions(self, x: Tensor, last: int | None = None) -> Tensor:
        """Return what the parts before have in the place of ``x`` (B, L, …), along the positions.

        Args:
            x: This process's part.
            last: How many of the last positions of each part are asked for; ``None`` is all.
        """


_peers: Peers | None = None  # no context variable: torch.compile cannot read one


def split_peers() -> Peers | None:
    """Return the processes that share the sequences; ``None`` where sequences are whole."""
    return _peers


@contextmanager
def split_over(peers: Peers | None) -> Iterator[None]:
    """Within the context sequences are parts of longer ones that these processes share."""
    global _peers
    before, _peers = _peers, peers
    try:
        yield
    finally:
        _peers = before


def kept_for_recomputation() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return contexts of a forward pass and of its recomputation, for ``torch.utils.checkpoint``."""
    return nullcontext(), split_over(_peers)


def state_before(
    state: Tensor,
    summary: Callable[[], tuple[Tensor, Tensor]],
    through: Callable[[Tensor, Tensor], Tensor] = torch.mul,
) -> Tensor:
    """Return a recurrence's state before this process's part of the sequences.

    Args:
        state: The state before the whole sequences, which is what is returned where they are whole.
        summary: Returns what a part does to a state, and the state after it when it starts from zero. It is
            only called where sequences are split.
        through: Takes a state, and what a part does to it; by default they are multiplied.
    """
    if _peers is None:
        return state
    (_, zero), *parts = _peers.earlier(*summary())
    state = state + zero
    for transition, final in parts:
        state = through(state, transition) + final
    return state


def window_before(window: Tensor, x: Tensor) -> Tensor:
    """Return the K − 1 inputs before this process's part ``x`` (B, L, D), which ``window`` is if it is whole.

    Args:
        window: Those before the whole sequences, (B, K − 1, D).
        x: The part.
    """
    count = window.shape[1]
    if _peers is None or count == 0:
        return window
    past = torch.cat([window.to(x.dtype), _peers.positions(x, last=count)], dim=1)
    return past[:, past.shape[1] - count :]
