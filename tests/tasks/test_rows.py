"""Tasks that make their rows one by one: padded, packed, whole-sequence classes, numbers."""

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE, ModelIO
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask


class Ragged(RowTask):
    """Row r is r + 1 tokens r; its label is its length, or each token's."""

    def __init__(self, *, labels: str = "tokens", packed: bool = False) -> None:
        super().__init__(seed=0)
        self.labels, self.packed = labels, packed
        inputs = {"d_input": 1, "d_target": 1} if labels == "numbers" else {"vocab_size": 9}
        self.io = ModelIO(seqlen=9, n_classes=2 if labels == "class" else None, **inputs)

    def row(self, split, row):
        inputs = np.full(row + 1, row)
        if self.labels == "class":
            return inputs, np.int64(row % 2)
        if self.labels == "numbers":
            return inputs[:, None] / 2, inputs[:, None] / 4
        return inputs, inputs


def test_rows_of_different_lengths_are_padded():
    batch = Ragged().train_batch(range(1, 4))
    assert batch.inputs.tolist() == [[1, 1, 0, 0], [2, 2, 2, 0], [3, 3, 3, 3]]
    assert batch.targets[0].tolist() == [1, 1, IGNORE, IGNORE]
    assert batch.lengths.tolist() == [2, 3, 4]
    assert batch.counted() == 9


def test_rows_are_packed_with_their_offsets():
    batch = Ragged(packed=True).train_batch(range(1, 3))
    assert batch.inputs.tolist() == [[1, 1, 2, 2, 2]]
    assert batch.targets.tolist() == [[1, 1, 2, 2, 2]]
    assert batch.cu_seqlens.tolist() == [0, 2, 5]
    classes = Ragged(labels="class", packed=True).train_batch(range(1, 3))
    assert classes.targets.tolist() == [1, 0]


def test_whole_sequences_have_one_class():
    batch = Ragged(labels="class").train_batch(range(3))
    assert batch.targets.tolist() == [0, 1, 0]
    assert batch.targets.dtype == np.int64
    assert batch.counted() == 3


def test_numbers_are_float32_and_padding_does_not_count():
    batch = Ragged(labels="numbers").train_batch(range(2))
    assert batch.inputs.shape == (2, 2, 1)
    assert batch.inputs.dtype == batch.targets.dtype == np.float32
    assert np.isnan(batch.targets[0, 1])
    assert batch.counted() == 3


def test_evaluation_rows_are_another_split():
    class Random(Ragged):
        def row(self, split, row):
            bits = row_rng(self.seed, split, row).integers(0, 2, 9)
            return bits, bits

    task = Random()
    (which,) = task.eval_sets("test")
    assert (which.rows, which.seqlen) == (256, 9)
    assert (task.eval_batch(which, range(4)).inputs != task.train_batch(range(4)).inputs).any()


class Mixed(RowTask):
    """Numbers whose first row happens to be whole."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.io = ModelIO(d_input=1, d_target=1, seqlen=2)

    def row(self, split, row):
        return ([[1], [2]], [[3], [4]]) if row == 0 else ([[0.5]], [[0.25]])


@pytest.mark.parametrize("packed", [False, True])
def test_numbers_are_not_cut_to_the_whole_ones_of_the_first_row(packed: bool) -> None:
    task = Mixed()
    task.packed = packed  # type: ignore[misc]
    batch = task.train_batch(range(2))
    assert batch.inputs.ravel()[:3].tolist() == [1, 2, 0.5]
    assert batch.targets.ravel()[:3].tolist() == [3, 4, 0.25]
    assert batch.inputs.dtype == batch.targets.dtype == np.float32
    assert batch.counted() == 3


@pytest.mark.parametrize("packed", [False, True])
def test_rows_without_tokens_do_not_make_numbers_of_others(packed: bool) -> None:
    class Gaps(Ragged):
        def row(self, split, row):
            return ([], []) if row % 2 else ([row], [row])

    batch = Gaps(packed=packed).train_batch(range(4))
    assert batch.inputs.dtype == batch.targets.dtype == np.int64
    assert batch.counted() == 2


def test_each_row_must_have_as_many_targets_as_inputs() -> None:
    """Even where the batch as a whole has: the longest of both are of one length."""

    class Short(Ragged):
        def row(self, split, row):
            return np.zeros(4, int), np.zeros(3 if row == 1 else 4, int)

    for packed in (False, True):
        with pytest.raises(UserError, match=r"targets of shape \(3,\) in training row 1: .* asks for \(4,\)"):
            Short(packed=packed).train_batch(range(3))
