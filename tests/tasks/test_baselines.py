"""Trivial predictors, against what can be computed by hand."""

import numpy as np
import pytest

from seqsuite.tasks import baselines
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
    by_order = context_bits([letters("abacab")], [letters("ab")], 3, None)
    # Order 0: b is 2 of the 5 that follow another, of 3 kinds; order 1: after a came b, c, b.
    shorter = (2 + 3 * (1 / 3)) / (5 + 3)
    assert by_order[0] == pytest.approx(-np.log2(shorter))
    assert by_order[1] == pytest.approx(-np.log2((2 + 2 * shorter) / (3 + 2)))
    # One token before the target: longer contexts have nothing to add.
    np.testing.assert_allclose(by_order[2:], by_order[1])


def test_a_periodic_stream_is_predicted_by_its_period():
    stream = letters("abcb" * 200)
    by_order = context_bits([stream], [stream], 3, None)
    assert by_order[1] > 0.4
    assert by_order[2] < 0.02


def test_ignored_tokens_are_context_but_no_targets():
    by_order = context_bits([letters("acbcacbc" * 50)], [letters("acbcacbc")], 3, ignore=2)
    assert by_order[0] == pytest.approx(1.0, abs=0.01)
    assert by_order[3] < 0.5


def test_tables_stay_small():
    assert (longest_order(256), longest_order(5), longest_order(5000)) == (2, 9, 0)


def test_a_compressor_finds_repetition():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 4000).astype(np.uint8)
    assert compressed_bits([noise]) == pytest.approx(8, rel=0.05)
    assert compressed_bits([np.tile(noise[:100], 40)]) < 1


def test_all_are_named_and_the_usual_one_comes_first():
    names = [one.name for one in token_baselines([letters("abcb" * 50)], [letters("abcb" * 5)], 3, None)]
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
