"""Which rows and which ring each of several processes has, worked out by hand without starting them."""

import pytest
import torch
import torch.distributed as dist

from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.distributed import ranks as ranks_module
from seqsuite.experiments.distributed.ddp import DataParallel
from seqsuite.experiments.training.batches import TensorBatch

BATCH = TrainConfig(batch_size=8, accumulate=2)


def placed(monkeypatch: pytest.MonkeyPatch, rank: int, world: int, parts: int) -> DataParallel:
    monkeypatch.setattr(dist, "get_rank", lambda: rank)
    monkeypatch.setattr(dist, "get_world_size", lambda: world)
    return DataParallel(torch.device("cpu"), BATCH, parts)


def test_each_process_has_the_rows_after_those_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [placed(monkeypatch, rank, 2, 1).rows(1) for rank in range(2)]
    assert found == [[range(8, 10), range(10, 12)], [range(12, 14), range(14, 16)]]
    monkeypatch.setattr(ranks_module, "Ring", lambda members: pytest.fail("nothing is split"))
    four = [placed(monkeypatch, rank, 4, 1) for rank in range(4)]
    assert [placement.rows(0)[0] for placement in four] == [range(n, n + 1) for n in (0, 2, 4, 6)]
    assert [placement.share(range(6)) for placement in four] == [
        range(1),
        range(1, 3),
        range(3, 4),
        range(4, 6),
    ]


def test_neighbours_have_the_same_rows_and_one_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[range] = []

    class Ring:
        def __init__(self, members: range) -> None:
            made.append(members)
            self.members = members

        def span(self, length: int) -> tuple[int, int]:
            return self.members.start, length

    monkeypatch.setattr(ranks_module, "Ring", Ring)
    first, neighbour, other, last = (placed(monkeypatch, rank, 4, 2) for rank in range(4))
    assert made == [range(2), range(2, 4)] * 4  # every process takes part in making all
    assert first.rows(0) == neighbour.rows(0) == [range(2), range(2, 4)]
    assert other.rows(0) == last.rows(0) == [range(4, 6), range(6, 8)]
    assert other.rows(3) == [range(28, 30), range(30, 32)]
    batch = TensorBatch(
        torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, 5, dtype=torch.long), None, None, False, 5
    )
    lengths = [placement.part(batch).inputs.shape[1] for placement in (first, neighbour, other, last)]
    assert lengths == [5, 5, 3, 3]
    whole = placed(monkeypatch, 0, 2, 1)
    assert whole.part(batch) is batch
