"""The hamburger: sentences of which a few words decide what is wanted, and all others do not."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seqsuite.options import PositiveInt
from seqsuite.tasks.base import Array, Baseline, EvalSet, ModelIO, Split
from seqsuite.tasks.codecs.base import TokenIds
from seqsuite.tasks.codecs.words import WordsCodec
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask

ACTIONS = {"order": ("order", "get", "buy"), "cancel": ("cancel", "stop"), "change": ("change", "replace")}
"""What can be wanted, and the words for it."""
THINGS = {
    "food": ("hamburger", "pizza", "salad", "soup", "sandwich"),
    "ride": ("taxi", "cab", "limousine", "shuttle"),
    "music": ("song", "album", "concert", "symphony"),
    "trip": ("flight", "cruise", "hotel", "train"),
}
"""What it can be wanted for."""
INTENTS = tuple(f"{action}_{thing}" for action in ACTIONS for thing in THINGS)
"""The classes."""

_WANTS = ("i want to", "i need to", "i would like to")
_OTHERS = ("my sister", "my brother", "a friend", "the neighbour", "nobody", "everyone")
_THEIRS = ("wanted to", "tried to", "forgot to", "hopes to")
_ADJECTIVES = ("big", "cheap", "nice", "late", "famous")
_FILLERS = (
    "well you know",
    "thank you so much",
    "it is raining today",
    "please wait a moment",
    "the line is bad",
    "as i said before",
    "let me think",
    "good morning",
    "i am really tired",
    "what a day",
)
_STOP = "."


def _vocabulary() -> tuple[str, ...]:
    phrases = (*_WANTS, *_OTHERS, *_THEIRS, *_ADJECTIVES, *_FILLERS, _STOP, "a")
    words = [word for phrase in phrases for word in phrase.split()]
    words += [word for group in (*ACTIONS.values(), *THINGS.values()) for word in group]
    return tuple(dict.fromkeys(words))


class Hamburger(RowTask):
    """Hamburger: what does the speaker want? "I want to order a hamburger" is ``order_food``.

    A sentence is made of clauses in random order. In one the speaker says what to do with what, and these two
    words decide the class, one of :data:`INTENTS`: each is equally likely. In others someone else wants
    something, in the same words, or nothing is said that matters. So what a word is worth follows from words
    before it: a model must select. :meth:`deciding` says which words decide.

    Args:
        seed: Seed of all the data.
        clauses: Number of clauses of a sentence besides the one that decides; there are up to twice as many
            in the longest.
        others: Share of them in which someone else wants something.
        eval_examples: Number of sentences in each evaluation set.
    """

    class_names = INTENTS

    def __init__(
        self,
        *,
        seed: int,
        clauses: PositiveInt = 6,
        others: Annotated[float, Field(ge=0, le=1)] = 0.5,
        eval_examples: PositiveInt = 512,
    ) -> None:
        super().__init__(seed=seed)
        self.clauses, self.others, self.eval_examples = clauses, others, eval_examples
        self.words = WordsCodec(_vocabulary(), end=_STOP)
        self.codec = self.words
        self.io = ModelIO(
            vocab_size=len(self.words.words), seqlen=_LONGEST * (2 * clauses + 1), n_classes=len(INTENTS)
        )

    def eval_sets(self, split: Split) -> tuple[EvalSet, ...]:
        """Return the one set of ``eval_examples`` sentences."""
        return (EvalSet(split, "all", self.eval_examples, self.io.seqlen),)

    def row(self, split: Split, row: int) -> tuple[Array, Array]:
        """Return a sentence and its class."""
        rng = row_rng(self.seed, split, row)
        intent = int(rng.integers(len(INTENTS)))
        action, thing = divmod(intent, len(THINGS))
        count = int(rng.integers(self.clauses, 2 * self.clauses + 1))
        draws = iter(rng.integers(0, 2**31, 10 * (count + 1)).tolist())
        said = [self._clause(draws) for _ in range(count)]
        wish = _wish(draws, _WANTS, tuple(ACTIONS)[action], tuple(THINGS)[thing])
        said.insert(next(draws) % (count + 1), wish)
        return self.words.encode(" ".join(said)), np.array(intent)

    def deciding(self, tokens: TokenIds) -> npt.NDArray[np.bool_]:
        """Return which of a sentence's words (L,) decide its class: the speaker's verb, and its object."""
        said = self.words.decode(tokens).split()
        decides = np.zeros(len(said), dtype=bool)
        verbs = {verb for group in ACTIONS.values() for verb in group}
        things = {thing for group in THINGS.values() for thing in group}
        own = tuple(phrase.split() for phrase in _WANTS)
        for place, word in enumerate(said):
            if word in verbs and any(said[max(place - len(phrase), 0) : place] == phrase for phrase in own):
                thing = next(at for at in range(place, len(said)) if said[at] in things)
                decides[[place, thing]] = True
        return decides

    def baselines(self, which: EvalSet) -> tuple[Baseline, ...]:
        """Return the accuracy of guessing, in percent."""
        return (Baseline("chance", 100.0 / len(INTENTS)),)

    def prompt(self) -> TokenIds:
        """Return the first words of a sentence."""
        return self.words.encode("i want to order a hamburger .")

    def _clause(self, draws: Iterator[int]) -> str:
        """Return a clause that decides nothing."""
        if next(draws) >= self.others * 2**31:
            return f"{_chosen(draws, _FILLERS)} {_STOP}"
        theirs = tuple(f"{who} {_chosen(draws, _THEIRS)}" for who in (_chosen(draws, _OTHERS),))
        return _wish(draws, theirs, _chosen(draws, tuple(ACTIONS)), _chosen(draws, tuple(THINGS)))


def _wish(draws: Iterator[int], wants: tuple[str, ...], action: str, thing: str) -> str:
    """Return a clause in which an action is wanted for a thing."""
    start, verb = _chosen(draws, wants), _chosen(draws, ACTIONS[action])
    adjective = f"{_chosen(draws, _ADJECTIVES)} " if next(draws) % 2 else ""
    return f"{start} {verb} a {adjective}{_chosen(draws, THINGS[thing])} {_STOP}"


def _chosen(draws: Iterator[int], among: tuple[str, ...]) -> str:
    return among[next(draws) % len(among)]


_LONGEST = 9
"""Words of the longest clause."""
