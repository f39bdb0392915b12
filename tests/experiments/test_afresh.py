"""What ``--force`` does to cells before the first of them runs."""

import json
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.afresh import begin_anew, is_marked
from seqsuite.experiments.interruption import Interrupted
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.lease import Lease
from seqsuite.experiments.tracking.store import Store
from tests.experiments.cells import cell, folder_of, run


def test_a_stopped_grid_goes_on_anew_with_cells_that_had_not_begun(store: Store, tmp_path: Path) -> None:
    """Else half of its table would be what was to be run again."""
    grid = [cell(tmp_path, seed=str(seed)) for seed in range(3)]
    before = [run(config, store)[0].run_id for config in grid]
    begin_anew(grid)
    first, _ = run(grid[0], store)
    with pytest.raises(Interrupted):
        run(grid[1], store, 5)
    again = [run(config, store) for config in grid]
    assert [result.outcome for result, _ in again] == ["skipped", "finished", "finished"]
    assert [len(steps) for _, steps in again] == [0, 3, 8]
    runs = [result.run_id for result, _ in again]
    assert runs[0] == first.run_id
    assert not set(runs) & set(before)
    assert [run(config, store)[0].run_id for config in grid] == runs


def test_what_was_kept_is_thrown_away(tmp_path: Path) -> None:
    config = cell(tmp_path)
    assert run(config, None)[0].outcome == "finished"
    begin_anew([config])
    assert [path.name for path in folder_of(config).iterdir()] == ["begins-anew"]
    assert run(config, None)[1] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_cell_that_diverges_again_and_is_retried_is_still_anew(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path, **{"train.learning_rate": "1e30", "train.clip": None, "train.warmup": "0"})
    assert run(config, store)[0].outcome == "diverged"
    begin_anew([config])
    assert run(config, store)[0].outcome == "diverged"
    assert run(config, store, retry_failed=True)[0].outcome == "diverged"
    assert is_marked(folder_of(config)) == folder_of(config).exists()


def test_a_cell_of_another_process_is_left_unless_taken_over(tmp_path: Path) -> None:
    config = cell(tmp_path)
    folder = folder_of(config)
    with Journal.open(folder):
        pass
    with Lease.take(folder):
        lease = folder.with_name(f".{folder.name}.lease")
        alive = json.loads(lease.read_text()) | {"token": "another's"}
        lease.write_text(json.dumps(alive))
        begin_anew([config])
        assert not is_marked(folder)
        begin_anew([config], takeover=True)
        assert is_marked(folder)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    config = cell(tmp_path)
    config.run.output.mkdir()
    folder_of(config).touch()
    with pytest.raises(UserError, match=r"cannot be written .*run\.output"):
        begin_anew([config])
