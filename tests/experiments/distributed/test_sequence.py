"""Every layer computes a part of sequences, between processes that share them, as it computes the whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqsuite.api import build
from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.distributed.sequence import check_can_split, part_of
from seqsuite.experiments.grid import check_cells
from seqsuite.models.base import Mixer

SCRIPT = Path(__file__).with_name("split_as.py")


def split(folder: Path, world: int, backend: str | None) -> dict[str, float]:
    """Return how far each layer's outputs and gradients are from those of whole sequences."""
    environment = os.environ if backend is None else os.environ | {"SEQSUITE_BACKEND": backend}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(world), str(folder / "store"), f"{rank}.json"],
            env=environment,
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * world, "\n".join(errors)
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]
    return {case: max(each[case] for each in found) for case in found[0]}


@pytest.mark.parametrize(
    ("world", "backend"), [(3, "reference"), pytest.param(4, None, marks=pytest.mark.slow)]
)
def test_parts_are_computed_as_the_whole(tmp_path: Path, world: int, backend: str | None) -> None:
    distances = split(tmp_path, world, backend)
    assert len(distances) > 20
    assert {case: error for case, error in distances.items() if not error < 1e-12} == {}


def test_parts_are_all_positions_once_and_differ_by_one() -> None:
    assert [part_of(10, place, 4) for place in range(4)] == [(0, 2), (2, 5), (5, 7), (7, 10)]
    assert [part_of(1, place, 2) for place in range(2)] == [(0, 0), (0, 1)]


def test_a_layer_that_does_not_say_how_it_is_split_is_refused() -> None:
    class Own(Mixer):
        def forward(self, x, state=None, cu_seqlens=None):
            return x, state

        def step(self, x_t, state):
            return x_t, state

        def initial_state(self, batch_size, *, device=None, dtype=None):
            return {}

        def state_size(self, seqlen):
            return 0

    model = build("mamba", vocab_size=4, d_model=8, n_layer=1)
    check_can_split(model)
    model.blocks[0].mixer = Own()
    with pytest.raises(UserError, match=r"run\.sequence_parallel: Own does not say how it computes a part"):
        check_can_split(model)


def test_a_backbone_that_is_not_split_is_refused_before_anything_runs(tmp_path: Path) -> None:
    told = {"task": "selective_copying", "scale": "smoke", "run.output": str(tmp_path / "runs")}
    split = {"model.backbone": "unet", "run.nproc": "2", "run.sequence_parallel": "2"}
    with pytest.raises(UserError, match=r"splits sequences between blocks of one width"):
        check_cells([resolve(told | split)])
