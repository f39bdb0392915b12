"""Trivial predictors, against what can be computed by hand."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from seqsuite.tasks import baselines
from seqsuite.tasks.base import Baseline
from seqsuite.tasks.baselines import (
    compressed_bits,
    context_bits,
    longest_order,
    token_baselines,
    unigram_bits,
)


def letters(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8) - ord("a")


def test_unigram_is_smoothed_training_frequencies():
    bits = unigram_bits([letters("aab")], [letters("abb")], 4, None)
    assert bits == pytest.approx(-np.log2(2 / 7))
    without = unigram_bits([letters("aab")], [letters("abbc")], 3, ignore=2)
    assert without == pytest.approx(-np.log2(2 / 5))


def test_contexts_are_interpolated_by_witten_and_bell():
    by_order = context_bits([letters("abacab")], [letters("ab")], 28, None)
    # Order 0: b is 2 of the 5 that follow another, of 3 kinds; order 1: after a came b, c, b.
    shorter = (2 + 3 * (1 / 28)) / (5 + 3)
    assert by_order[0] == pytest.approx(-np.log2(shorter))
    assert by_order[1] == pytest.approx(-np.log2((2 + 2 * shorter) / (3 + 2)))
    # One token before the target: longer contexts have nothing to add.
    np.testing.assert_allclose(by_order[2:], by_order[1])


def test_a_periodic_stream_is_predicted_by_its_period():
    stream = letters("abcb" * 200)
    by_order = context_bits([stream], [stream], 28, None)
    assert by_order[1] > 0.4
    assert by_order[2] < 0.02


def test_ignored_tokens_are_context_but_no_targets():
    by_order = context_bits([letters("acbcacbc" * 50)], [letters("acbcacbc")], 28, ignore=2)
    assert by_order[0] == pytest.approx(1.0, abs=0.02)
    assert by_order[3] < 0.5


def test_tables_stay_small():
    assert (longest_order(256), longest_order(5), longest_order(5000)) == (2, 9, 0)


def test_a_compressor_finds_repetition():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 4000).astype(np.uint8)
    assert compressed_bits([noise]) == pytest.approx(8, rel=0.05)
    assert compressed_bits([np.tile(noise[:100], 40)]) < 1


def test_all_are_named_and_the_usual_one_comes_first():
    names = [one.name for one in token_baselines([letters("abcb" * 50)], [letters("abcb" * 5)], 28, None)]
    assert names[0] == "unigram"
    assert names[1].startswith("order ")
    assert names[2] == "xz"


@pytest.mark.parametrize(("vocab_size", "compressed"), [(256, True), (257, False)])
def test_only_tokens_that_are_bytes_are_compressed(vocab_size: int, compressed: bool):
    stream = np.arange(50)
    names = [one.name for one in token_baselines([stream], [stream], vocab_size, None)]
    assert ("xz" in names) == compressed


def test_a_stream_is_counted_in_blocks_as_in_one_go(monkeypatch):
    stream = np.random.default_rng(0).integers(0, 3, 500).astype(np.uint8)
    whole = token_baselines([stream], [stream[:90]], 300, None)
    monkeypatch.setattr(baselines, "AT_ONCE", 7)
    assert token_baselines([stream], [stream[:90]], 300, None) == whole


def witten_bell(train: list[list[int]], scored: list[list[int]], V: int, ignore: int | None, k: int) -> float:
    """Bits a target of predicting from the last k tokens, by dictionaries of what followed what."""
    followed: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for stream in train:
        for place in range(1, len(stream)):
            for order in range(min(k, place) + 1):
                if stream[place] != ignore:
                    followed[tuple(stream[place - order : place])][stream[place]] += 1

    def probability(context: tuple[int, ...], token: int) -> float:
        shorter = probability(context[1:], token) if context else 1 / (V - (ignore is not None))
        counts = followed[context]
        if not counts:
            return shorter
        return (counts[token] + len(counts) * shorter) / (counts.total() + len(counts))

    bits = [
        -np.log2(probability(tuple(window[max(place - k, 0) : place]), window[place]))
        for window in scored
        for place in range(1, len(window))
        if window[place] != ignore
    ]
    return float(np.mean(bits)) if bits else 0.0


@pytest.mark.parametrize("ignore", [None, 3])
@pytest.mark.parametrize(("vocab_size", "longest"), [(28, 3), (65, 2), (5000, 0)])
def test_contexts_are_those_of_a_table_by_hand(vocab_size: int, longest: int, ignore: int | None) -> None:
    rng = np.random.default_rng(0)
    train = [rng.integers(0, 5, count) for count in (60, 0, 1, 2, 3, 4, 25)]
    scored = [rng.integers(0, 6, count) for count in (1, 2, 3, 9, 4, 0, 5)]
    by_order = context_bits(train, scored, vocab_size, ignore)
    lists = [stream.tolist() for stream in train], [window.tolist() for window in scored]
    np.testing.assert_allclose(
        by_order, [witten_bell(*lists, vocab_size, ignore, k) for k in range(longest + 1)]
    )


def test_nothing_to_score_is_no_bits() -> None:
    assert context_bits([letters("aab")], [letters("a")], 28, None).tolist() == [0, 0, 0, 0]
    assert unigram_bits([letters("aab")], [letters("a")], 4, None) == 0


def test_unigram_scores_each_token_but_the_first() -> None:
    for scored, expected in (("ab", [2]), ("cab", [3, 2]), ("dabc", [3, 2, 1])):
        bits = unigram_bits([letters("aab")], [letters(scored)], 4, None)
        assert bits == pytest.approx(np.mean([-np.log2(times / 7) for times in expected]))


def test_a_compressor_is_given_each_token_but_the_first() -> None:
    """A file of xz has 60 bytes around one token, and 32 around none."""
    assert compressed_bits([letters("ab")]) == 480
    assert compressed_bits([letters("a")]) == 256
    assert compressed_bits([letters("ab"), letters("cd")]) == 240
    assert compressed_bits([]) == 256


def test_the_best_order_is_told_with_its_bits() -> None:
    train, scored = [letters("abcb" * 50)], [letters("abcb" * 5)]
    by_order = context_bits(train, scored, 28, None)
    unigram, best, xz = token_baselines(train, scored, 28, None)
    assert unigram == Baseline("unigram", unigram_bits(train, scored, 28, None))
    assert best == Baseline("order 3", float(by_order[3]))
    assert by_order[2] > by_order[3]
    assert xz == Baseline("xz", compressed_bits(scored))


def test_of_more_than_67_million_tokens_every_other_block_is_counted() -> None:
    """Blocks of 4 Mi tokens are zeros and ones in turn: of all of them both are counted equally often."""
    stream = np.zeros(2**26, np.uint8)
    stream.reshape(16, 2**22)[1::2] = 1
    scored = [np.array([0, 0])]
    assert unigram_bits([stream], scored, 2, None) == 1.0
    ones = -np.log2(1 / (2**25 + 3))  # of zeros in eight blocks, and of one token more
    assert unigram_bits([stream, np.zeros(1, np.uint8)], [np.array([0, 1])], 2, None) == pytest.approx(ones)
