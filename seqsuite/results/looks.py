"""Which line looks how: a model looks the same in every figure, whatever it is ranked or drawn beside."""

from collections.abc import Iterator, Sequence
from itertools import count

from seqsuite.report.pictures import Look, look

_OWN = {
    "mamba": 0,
    "transformer++": 1,
    "s4": 2,
    "hyena": 3,
    "retnet": 4,
    "gated_deltanet": 5,
    "mamba2": 6,
    "transformer": 7,
    "s4d": 8,
    "h3": 9,
}
"""Places of models. Those of a family are six apart: they share a colour, and differ in marker and dashes."""


def looks(labels: Sequence[str]) -> list[Look]:
    """Return the look of each line, by its label: a model and what of it departs from the usual.

    Of the lines of a model of the suite, the one with the shortest label, which departs least from it, has
    the model's own look; all others have those that are left.
    """
    own: dict[int, int] = {}
    for place, label in sorted(enumerate(labels), key=lambda line: len(line[1])):
        model = label.partition(" ")[0]
        if model in _OWN and _OWN[model] not in own.values():
            own[place] = _OWN[model]
    left = _left(set(own.values()))
    return [look(own[place] if place in own else next(left)) for place in range(len(labels))]


def _left(taken: set[int]) -> Iterator[int]:
    return (place for place in count() if place not in taken)
