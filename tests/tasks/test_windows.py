from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE, TaskSpec, TokenIds
from seqsuite.tasks.windows import Stream, Streams, WindowTask, split_by_position, split_streams


class Toy(WindowTask):
    """Streams given by a test; no two tokens are equal, so a token tells where it stood."""

    units = "letters"

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        seed: int = 0,
        seqlen: int = 4,
        eval_examples: int = 10_000,
    ) -> None:
        super().__init__(seed=seed, seqlen=seqlen, path=None, eval_examples=eval_examples)
        ends = np.cumsum(lengths)
        self.parts = [np.arange(end - n, end).astype(np.uint8) for end, n in zip(ends, lengths, strict=True)]

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(256, self.seqlen, "token", "bits_per_token", False, self.num_train_windows(), ".txt")

    def load_streams(self) -> Streams:
        return {"train": self.parts, "validation": self.parts, "test": self.parts}

    def decode(self, tokens: Sequence[int] | TokenIds) -> str:
        return str(list(tokens))

    def render(self, tokens: Sequence[int] | TokenIds, path: Path) -> None:
        path.write_text(self.decode(tokens))


lengths = st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(lambda ns: max(ns) > 4)


@given(lengths, st.integers(1, 5))
def test_evaluation_scores_every_token_but_the_first_of_a_stream_once(ns, batch_size):
    task = Toy(ns)
    batches = [
        task.batch("validation", i, batch_size)
        for i in range(task.num_eval_batches("validation", batch_size))
    ]
    scored = np.concatenate([batch.targets[batch.targets != IGNORE] for batch in batches])
    expected = np.concatenate([part[1:] for part in task.parts])
    np.testing.assert_array_equal(np.sort(scored), np.sort(expected))
    assert sum(len(batch.inputs) for batch in batches[:-1]) == batch_size * (len(batches) - 1)


@given(lengths, st.sampled_from(["train", "validation"]), st.integers(0, 3))
def test_targets_are_the_inputs_shifted_and_never_cross_streams(ns, split, index):
    task = Toy(ns)
    inputs, targets = task.batch(split, index, 3)
    counted = targets != IGNORE
    np.testing.assert_array_equal(targets[counted], inputs[counted] + 1)
    starts = {int(part[0]) for part in task.parts if len(part)}
    assert not starts & set(targets[counted].tolist())


def test_training_windows_reach_every_place_of_every_stream():
    task = Toy([40, 3, 10])
    targets = task.batch("train", 0, 4000).targets
    counts = np.bincount(targets[targets != IGNORE], minlength=53)
    never = np.flatnonzero(counts == 0).tolist()
    assert never == [0, 40, 43]  # the streams' first tokens
    assert (targets[(targets == 41).any(axis=1)][:, 2:] == IGNORE).all()


def test_cap_takes_evenly_spaced_windows():
    full, capped = Toy([200]), Toy([200], eval_examples=5)
    starts = capped.batch("test", 0, 100).inputs[:, 0]
    assert capped.num_eval_batches("test", 2) == 3
    assert len(starts) == 5
    assert starts[0] == 0
    assert starts[-1] == full.batch("test", 0, 100).inputs[-1, 0]
    assert np.ptp(np.diff(starts)) <= 4


def test_batches_are_pure_and_training_depends_on_the_seed():
    np.testing.assert_array_equal(
        Toy([200]).batch("train", 5, 8).inputs, Toy([200]).batch("train", 5, 8).inputs
    )
    assert (Toy([200]).batch("train", 5, 8).inputs != Toy([200], seed=1).batch("train", 5, 8).inputs).any()
    assert (Toy([200]).batch("train", 5, 8).inputs != Toy([200]).batch("train", 6, 8).inputs).any()
    np.testing.assert_array_equal(
        Toy([200]).batch("test", 1, 8).inputs, Toy([200], seed=1).batch("test", 1, 8).inputs
    )


def test_unigram_baseline_is_the_entropy_of_equally_frequent_tokens():
    name, bits = Toy([256]).baseline("validation")
    assert name == "unigram"
    assert bits == pytest.approx(8.0)


def test_train_examples_counts_distinct_windows():
    assert Toy([40, 3, 10]).spec.train_examples == 36 + 1 + 6


def test_too_short_for_seqlen_and_for_a_split():
    with pytest.raises(UserError, match=r"seqlen=9 .* has 9 letters; choose at most 8"):
        Toy([5, 9], seqlen=9).batch("train", 0, 1)
    with pytest.raises(UserError, match=r"The sample is too short: nothing is left for its train split"):
        Toy([1, 1]).batch("train", 0, 1)


def stream(length: int) -> Stream:
    return np.zeros(length, dtype=np.uint8)


def test_position_split_is_80_10_10_and_loses_nothing():
    whole = np.arange(100, dtype=np.uint8)
    parts = split_by_position(whole)
    assert [len(part) for part in parts.values()] == [80, 10, 10]
    np.testing.assert_array_equal(np.concatenate(list(parts.values())), whole)


def test_ten_files_are_held_out_whole_and_fewer_are_cut():
    ten = split_streams({f"{i:02}": stream(i + 1) for i in range(10)})
    assert [len(s) for s in ten["validation"]] == [9]
    assert [len(s) for s in ten["test"]] == [10]
    assert len(ten["train"]) == 8
    nine = split_streams({f"{i:02}": stream(100) for i in range(9)})
    assert {split: {len(s) for s in parts} for split, parts in nine.items()} == {
        "train": {80},
        "validation": {10},
        "test": {10},
    }
