"""Tasks that make their rows one by one: padded, packed, whole-sequence classes, numbers."""

import numpy as np

from seqsuite.tasks.base import IGNORE, ModelIO
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.rows import RowTask


class Ragged(RowTask):
    """Row r is r + 1 tokens r; its label is its length, or each token's."""

    def __init__(self, *, labels: str = "tokens", packed: bool = False) -> None:
        super().__init__(seed=0)
        self.labels, self.packed = labels, packed
        self.io = ModelIO(vocab_size=9, seqlen=9)

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
            bits = row_rng(self.seed, split, row).integers(0, 2, 40)
            return bits, bits

    task = Random()
    (which,) = task.eval_sets("test")
    assert (which.rows, which.seqlen) == (256, 9)
    assert (task.eval_batch(which, range(4)).inputs != task.train_batch(range(4)).inputs).any()
