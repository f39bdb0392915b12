"""Trivial predictors to compare models with: frequencies, contexts with back-off, and a compressor."""

import lzma
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.base import Baseline

Stream = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]

_TABLE = 1 << 24
"""Counts of contexts that are kept at most."""
AT_ONCE = 1 << 22
_COUNTED = 1 << 26
"""Training tokens that are counted at most: of more, blocks that are evenly spaced."""


def unigram_bits(
    train: Sequence[Stream], scored: Sequence[Stream], vocab_size: int, ignore: int | None
) -> float:
    """Return the bits a token of training frequencies, with one added to each count (Laplace).

    Args:
        train: What frequencies are counted in.
        scored: Windows whose tokens but the first are predicted.
        vocab_size: Vocabulary V.
        ignore: Token that is neither predicted nor counted.
    """
    counts = 1.0 + _frequencies(train, vocab_size)
    targets = _frequencies([window[1:] for window in scored], vocab_size)
    if ignore is not None:
        counts[ignore] = targets[ignore] = 0
    possible = counts > 0
    bits = -np.log2(counts[possible] / counts.sum())
    return float(targets[possible] @ bits / max(targets.sum(), 1))


def longest_order(vocab_size: int) -> int:
    """Return the longest context whose counts fit into a table of 2²⁴ entries."""
    order = 0
    while vocab_size ** (order + 2) <= _TABLE:
        order += 1
    return order


def context_bits(
    train: Sequence[Stream], scored: Sequence[Stream], vocab_size: int, ignore: int | None
) -> Floats:
    """Return the bits a token of predicting from the last k tokens, for k = 0, 1 … :func:`longest_order`.

    Counts of a context are interpolated with those of the context one shorter by Witten and Bell's method C:
    (count + T · shorter) / (n + T), where the context was seen n times with T different successors.
    A window's first tokens are predicted from as many as there are.

    Args:
        train: What contexts are counted in.
        scored: Windows whose tokens but the first are predicted.
        vocab_size: Vocabulary V.
        ignore: Token that is not predicted, though it may be in a context.
    """
    kept = [
        np.flatnonzero(window[1:] != ignore) if ignore is not None else np.arange(len(window) - 1)
        for window in scored
    ]
    sizes = [len(places) for places in kept]
    symbols = vocab_size - (ignore is not None)
    probability = np.full(sum(sizes), 1 / symbols)
    bits = []
    for order, counts in enumerate(_successors(train, vocab_size)):
        if ignore is not None:
            counts[:, ignore] = 0
        seen, kinds = counts.sum(axis=1), (counts > 0).sum(axis=1)
        ends = np.cumsum([0, *sizes])
        for window, places, start, end in zip(scored, kept, ends, ends[1:], strict=False):
            # A token at place p has p + 1 tokens before it.
            long = places >= order - 1
            first = places[long] - (order - 1) if order else places[long]
            context = _contexts(window, order, vocab_size)[first]
            n, T = seen[context], kinds[context]
            count = counts[context, window[1:][places[long]]]
            part = probability[start:end]
            shorter = part[long]
            part[long] = np.divide(count + T * shorter, n + T, out=shorter, where=n > 0)
        bits.append(float(-np.log2(probability).mean()) if len(probability) else 0.0)
    return np.array(bits)


def compressed_bits(scored: Sequence[Stream]) -> float:
    """Return the bits a token that xz, at its best, takes for the windows after one another."""
    content = b"".join(window[1:].astype(np.uint8).tobytes() for window in scored)
    return 8 * len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)) / max(len(content), 1)


def token_baselines(
    train: Sequence[Stream], scored: Sequence[Stream], vocab_size: int, ignore: int | None
) -> tuple[Baseline, ...]:
    """Return unigram, the best order of a context with back-off on these windows, and xz for byte tokens."""
    by_order = context_bits(train, scored, vocab_size, ignore)
    best = int(by_order.argmin())
    found = [
        Baseline("unigram", unigram_bits(train, scored, vocab_size, ignore)),
        Baseline(f"order {best}", float(by_order[best])),
    ]
    if vocab_size <= 256:
        found.append(Baseline("xz", compressed_bits(scored)))
    return tuple(found)


def _contexts(stream: Stream, order: int, vocab_size: int) -> npt.NDArray[np.int64]:
    """Return the number of each run of ``order`` tokens that has a successor, (L − order,)."""
    length = len(stream[max(order, 1) :])
    number = np.zeros(length, dtype=np.int64)
    for place in range(order):
        number = number * vocab_size + stream[place : place + length]
    return number


def _successors(train: Sequence[Stream], vocab_size: int) -> list[npt.NDArray[np.int64]]:
    """Return how often each token followed each context, (contexts, V), for contexts of 0, 1 … tokens.

    The longest are counted; those one shorter are their sums, and what stands too early in a stream to have a
    longer context.
    """
    longest = longest_order(vocab_size)
    found = [_longest_successors(train, longest, vocab_size)]
    heads = list(_heads(train, longest))
    for order in range(longest - 1, -1, -1):
        counts = found[-1].reshape(vocab_size, -1, vocab_size).sum(axis=0)
        early = np.array([head[: order + 1] for head in heads if order and len(head) > order], dtype=np.int64)
        if len(early):
            places = np.ravel_multi_index(tuple(early.T), (vocab_size,) * (order + 1))
            counts += np.bincount(places, minlength=counts.size).reshape(counts.shape)
        found.append(counts)
    return found[::-1]


def _longest_successors(train: Sequence[Stream], order: int, vocab_size: int) -> npt.NDArray[np.int64]:
    """Return how often each token followed each context of ``order`` tokens, (contexts, V)."""
    counts = np.zeros(vocab_size ** (order + 1), dtype=np.int64)
    waiting: list[npt.NDArray[np.int64]] = []
    for block in _blocks(train, max(order, 1)):
        context = _contexts(block, order, vocab_size)
        waiting.append(context * vocab_size + block[max(order, 1) :][: len(context)])
        # Counted in few goes: each touches the whole table.
        if sum(map(len, waiting)) >= AT_ONCE:
            counts += np.bincount(np.concatenate(waiting), minlength=len(counts))
            waiting = []
    if waiting:
        counts += np.bincount(np.concatenate(waiting), minlength=len(counts))
    return counts.reshape(-1, vocab_size)


def _heads(streams: Sequence[Stream], length: int) -> Iterator[Stream]:
    """Yield the first tokens of those streams whose first block is counted."""
    for stream, start in _starts(streams):
        if start == 0:
            yield stream[:length]


def _frequencies(streams: Sequence[Stream], vocab_size: int) -> Floats:
    counts = np.zeros(vocab_size)
    for block in _blocks(streams, 0):
        counts += np.bincount(block, minlength=vocab_size)
    return counts


def _blocks(streams: Sequence[Stream], overlap: int) -> Iterator[Stream]:
    """Yield the counted blocks of :data:`AT_ONCE` tokens, each after the ``overlap`` tokens before it."""
    for stream, start in _starts(streams):
        yield stream[max(start - overlap, 0) : start + AT_ONCE]


def _starts(streams: Sequence[Stream]) -> Iterator[tuple[Stream, int]]:
    """Yield where the blocks that are counted start: all of them, or evenly spaced ones."""
    every = -(-sum(map(len, streams)) // _COUNTED)
    places = ((stream, start) for stream in streams for start in range(0, len(stream), AT_ONCE))
    return islice(places, 0, None, max(every, 1))
