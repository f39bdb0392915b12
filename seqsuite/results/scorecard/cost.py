"""What models cost at several lengths, as a card shows it; who makes a card measures it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What a model takes at one length.

    Attributes:
        seqlen: Positions L.
        train_seconds: Of a train step on one sequence.
        train_bytes: Memory of that; ``None`` where it is not known.
        decode_seconds: Of one token after L.
        state_bytes: What is remembered of L positions.
    """

    seqlen: int
    train_seconds: float
    train_bytes: int | None
    decode_seconds: float
    state_bytes: int


@dataclass(frozen=True)
class ModelCost:
    """A model's parameters as a language model of bytes, and what it takes by length."""

    model: str
    parameters: int
    by_length: Sequence[Cost]
