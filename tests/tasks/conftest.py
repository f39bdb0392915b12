"""Rows of any split in one call."""

from collections.abc import Callable

import pytest

from seqsuite.tasks.base import Batch, Split, Task

Rows = Callable[..., Batch]


@pytest.fixture(scope="session")
def rows() -> Rows:
    """Return rows ``start … start + count - 1`` of a task's split; of evaluation, of its first set."""

    def read(task: Task, split: Split, start: int, count: int) -> Batch:
        if split == "train":
            return task.train_batch(range(start, start + count))
        return task.eval_batch(task.eval_sets(split)[0], range(start, start + count))

    return read
