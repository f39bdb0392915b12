"""State tracking: keep a state that every token changes, as parity and products in groups do."""

from functools import cache
from itertools import permutations
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seqsuite.options import PositiveInt
from seqsuite.tasks.base import IGNORE, Array, Baseline, Batch, EvalSet, Ints, ModelIO, Split, Task
from seqsuite.tasks.codecs.base import TokenIds
from seqsuite.tasks.random import below, numbered_apart, row_words

Problem = Literal["parity", "arithmetic", "A5", "S5", "Z60"]

PLUS, MINUS, TIMES = 5, 6, 7
"""Tokens of the operators of ``problem=arithmetic``; a number is its own token."""
MODULUS = 5
"""Modulus of ``problem=arithmetic``."""


class StateTracking(Task):
    """State tracking: at every position, in which state have the tokens so far brought you?

    ``parity``: tokens are bits; is the number of ones odd? ``arithmetic``: numbers below 5 with ``+``, ``-``
    and ``*`` between them; at each number, the value of the expression so far modulo 5, ``*`` first.
    ``A5``, ``S5``, ``Z60``: tokens are elements of the group; what is their product so far, from left to
    right? Elements of A5 and S5 are permutations of five things, numbered in lexicographic order.

    Tokens are uniform; training data is fresh for every row. The test sets are named ``length_<L>``: the
    first is that of training's length, which models are ranked by, and then each is twice as long up to
    ``max_length``.

    The problems are those of Merrill, Petty & Sabharwal (arXiv 2404.08819) and Grazzi et al. (2411.12537).

    Args:
        seed: Seed of all the data.
        problem: ``parity``, ``arithmetic``, ``A5``, ``S5`` or ``Z60``.
        length: Length of training sequences.
        max_length: Length that no test sequence exceeds.
        eval_examples: Number of sequences in each evaluation set.
    """

    def __init__(
        self,
        *,
        seed: int,
        problem: Problem = "parity",
        length: PositiveInt = 128,
        max_length: Annotated[int, Field(ge=1, le=2**24)] = 512,
        eval_examples: PositiveInt = 512,
    ) -> None:
        super().__init__(seed=seed)
        self.problem: Problem = problem
        self.length, self.max_length, self.eval_examples = length, max_length, eval_examples
        tokens, self.states = _sizes(problem)
        self.io = ModelIO(
            vocab_size=tokens, seqlen=length, eval_seqlen=max(length, max_length), n_labels=self.states
        )

    def train_batch(self, rows: range) -> Batch:
        """Return fresh sequences."""
        return self._generate("train", rows, self.length)

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the set of training's length; of the test also twice, four times … as long ones."""
        lengths = [self.length]
        while split == "test" and 2 * lengths[-1] <= self.max_length:
            lengths.append(2 * lengths[-1])
        return tuple(EvalSet(split, f"length_{n}", self.eval_examples, n) for n in lengths)

    def eval_batch(self, which: EvalSet, rows: range) -> Batch:
        """Return sequences of an evaluation set."""
        return self._generate(which.split, numbered_apart(rows, which.seqlen), which.seqlen)

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return the accuracy of guessing a state, in percent."""
        return (Baseline("chance", 100.0 / self.states),)

    def prompt(self) -> TokenIds:
        """Return the first test sequence."""
        first, *_ = self.eval_sets("test")
        tokens: TokenIds
        (tokens,) = self.eval_batch(first, range(1)).inputs
        return tokens

    def _generate(self, split: Split, rows: range, length: int) -> Batch:
        words = row_words(self.seed, split, rows, length)
        if self.problem == "arithmetic":
            return _arithmetic(words)
        inputs = below(words, self.states)
        if self.problem == "parity":
            return Batch(inputs, inputs.cumsum(axis=1) % 2)
        if self.problem == "Z60":
            return Batch(inputs, inputs.cumsum(axis=1) % 60)
        table = product_table(self.problem)
        targets = inputs.copy()
        for place in range(1, length):
            targets[:, place] = table[targets[:, place - 1], inputs[:, place]]
        return Batch(inputs, targets)


def elements(group: Literal["A5", "S5"]) -> list[tuple[int, ...]]:
    """Return the permutations of five things that are in the group, in lexicographic order."""
    return [p for p in permutations(range(5)) if group == "S5" or _is_even(p)]


@cache
def product_table(group: Literal["A5", "S5"]) -> Ints:
    """Return the number of a · b, which is a and then b, at [a, b]."""
    members = elements(group)
    number = {member: place for place, member in enumerate(members)}
    return np.array([[number[tuple(b[image] for image in a)] for b in members] for a in members])


def _is_even(permutation: tuple[int, ...]) -> bool:
    return round(float(np.linalg.det(np.eye(len(permutation))[list(permutation)]))) == 1


def _sizes(problem: Problem) -> tuple[int, int]:
    """Return how many tokens and states there are."""
    if problem == "arithmetic":
        return MODULUS + 3, MODULUS
    order = {"parity": 2, "A5": 60, "S5": 120, "Z60": 60}[problem]
    return order, order


def _arithmetic(words: npt.NDArray[np.uint64]) -> Batch:
    """Return numbers at even places, operators at odd ones, and at each number the value so far.

    What is kept is the sum of the terms that are over, and the term that goes on.
    """
    inputs = below(words, MODULUS)
    inputs[:, 1::2] = PLUS + below(words[:, 1::2], 3)
    targets = np.full_like(inputs, IGNORE)
    total: Array = np.zeros(len(words), dtype=np.int64)
    term: Array = inputs[:, 0]
    targets[:, 0] = term
    for place in range(2, inputs.shape[1], 2):
        operator, number = inputs[:, place - 1], inputs[:, place]
        total = np.where(operator == TIMES, total, total + term)
        term = (
            np.where(operator == TIMES, term * number, np.where(operator == PLUS, number, -number)) % MODULUS
        )
        targets[:, place] = (total + term) % MODULUS
    return Batch(inputs, targets)
