"""Where rows are computed, and which batches are refused."""

import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.training.placement import (
    Single,
    check_batches,
    check_ranks,
    share_of,
    split_rows,
)
from seqsuite.tasks.base import ModelIO


def test_one_process_has_all_rows_of_a_step_and_of_an_evaluation() -> None:
    placement = Single(torch.device("cpu"), TrainConfig(batch_size=6, accumulate=2))
    assert (placement.rank, placement.world, placement.shards) == (0, 1, None)
    assert placement.rows(0) == [range(3), range(3, 6)]
    assert placement.rows(2) == [range(12, 15), range(15, 18)]
    assert placement.share(range(5)) == range(5)
    assert placement.agree([True, False]) == [True, False]


def test_rows_are_cut_into_equal_parts() -> None:
    assert split_rows(range(2, 8), 3) == [range(2, 4), range(4, 6), range(6, 8)]
    assert split_rows(range(2, 8), 6) == [range(row, row + 1) for row in range(2, 8)]


def test_a_share_is_as_large_as_another_or_has_one_row_more() -> None:
    assert [share_of(range(10, 17), rank, 3) for rank in range(3)] == [
        range(10, 12),
        range(12, 14),
        range(14, 17),
    ]
    assert [len(share_of(range(2), rank, 4)) for rank in range(4)] == [0, 1, 0, 1]
    assert [len(share_of(range(8), rank, 4)) for rank in range(4)] == [2, 2, 2, 2]


def refusal(config: TrainConfig, io: ModelIO) -> str:
    with pytest.raises(UserError) as raised:
        check_batches(config, io)
    return str(raised.value)


def test_batches_are_refused_with_the_settings_to_change() -> None:
    assert refusal(TrainConfig(batch_size=9, accumulate=2), ModelIO(4)) == (
        "train.batch_size=9 cannot be cut into train.accumulate=2 equal parts: choose a divisor."
    )
    assert refusal(TrainConfig(batch_size=8), ModelIO(4, lanes=9)) == (
        "With task.carry_state=true a step's rows are the task's lanes: train.batch_size=8 and task.lanes=9 "
        "must be equal."
    )
    assert refusal(TrainConfig(chunk=2), ModelIO(4, n_classes=2)) == (
        "train.chunk is for tasks with a target at each position, and this one's are whole sequences': use "
        "train.checkpoint_activations=true."
    )
    check_batches(TrainConfig(batch_size=8, accumulate=8, chunk=1), ModelIO(4, lanes=8))


@pytest.mark.parametrize(
    ("settings", "io", "world", "told"),
    [
        (
            {"run.sequence_parallel": "2"},
            ModelIO(8),
            3,
            "run.sequence_parallel=2 does not divide the 3 processes: choose a divisor.",
        ),
        (
            {"train.batch_size": "20", "train.accumulate": "3"},
            ModelIO(8),
            2,
            "train.batch_size=20 cannot be cut into 6 equal parts, for 2 groups of processes and "
            "train.accumulate=3: choose a multiple of 6.",
        ),
        (
            {"run.sequence_parallel": "8", "train.batch_size": "8"},
            ModelIO(7),
            8,
            "run.sequence_parallel=8 is more than the 7 positions there are.",
        ),
    ],
)
def test_processes_are_refused_with_their_numbers(
    settings: dict[str, str], io: ModelIO, world: int, told: str
) -> None:
    config = resolve({"task": "selective_copying", "scale": "smoke", **settings})
    with pytest.raises(UserError) as raised:
        check_ranks(config, io, world)
    assert str(raised.value) == told
