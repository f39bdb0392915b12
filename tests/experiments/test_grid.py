"""Grids in which something is wrong with some cells: the others run, and a rerun goes on."""

import errno
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from seqsuite.errors import UserError
from seqsuite.experiments import memory
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.grid import check_cells
from seqsuite.tasks.selective_copying import SelectiveCopying

Seqsuite = Callable[..., Result]
SMALL = [
    "scale=smoke",
    "train.steps=4",
    "train.eval_every=2",
    "train.batch_size=2",
    "train.eval_batch_size=2",
    "model=transformer",
    "model.d_model=16",
    "run.checkpoint_every=1",
]
COPYING = ["task=selective_copying", "task.length=12,13,14", "task.num_tokens=4", "task.eval_examples=4"]


@pytest.fixture
def run(seqsuite: Seqsuite, tmp_path: Path) -> Seqsuite:
    """Run a small grid that is recorded to files, in a folder of its own."""

    def command(*settings: str) -> Result:
        return seqsuite("run", "--offline", *SMALL, f"run.output={tmp_path / 'runs'}", *settings)

    return command


def cells(*settings: str) -> list[UserError | None]:
    return check_cells(resolve_grid(expand_grid([*SMALL, *settings])))


def test_of_three_files_one_is_missing(run: Seqsuite, tmp_path: Path) -> None:
    for place, name in enumerate(("a", "c")):
        (tmp_path / f"{name}.fa").write_text(">x\n" + "ACGT"[place:] * 300 + "\n")
    paths = ",".join(str(tmp_path / f"{name}.fa") for name in "abc")
    result = run("task=dna", "task.seqlen=16", f"task.path={paths}")
    assert result.exit_code == 1, result.output
    assert result.output.count("the best on validation") == 2
    assert "failed:" in result.output
    assert "b.fa" in result.output
    (tmp_path / "b.fa").write_text(">x\n" + "TTGCA" * 300 + "\n")
    again = run("task=dna", "task.seqlen=16", f"task.path={paths}")
    assert again.exit_code == 0
    assert again.output.count("finished before") == 2
    assert again.output.count("the best on validation") == 1


@pytest.mark.parametrize("method", ["__init__", "eval_sets", "train_batch", "fingerprint"])
def test_an_exception_of_a_plug_in_stops_no_other_cell(
    run: Seqsuite, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    real = getattr(SelectiveCopying, method)

    @functools.wraps(real)  # options are read from the signature
    def broken(self: Any, *arguments: Any, **options: Any) -> Any:
        length = options.get("length") or getattr(self, "length", None)
        if length == 13:
            raise ZeroDivisionError("in my own task")
        return real(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(SelectiveCopying, method, broken)
        result = run(*COPYING)
    assert result.exit_code == 1, result.output
    assert result.output.count("the best on validation") == 2
    assert f"failed: ZeroDivisionError in {__file__}, line " in result.output
    assert "in my own task" in result.output


def test_a_cell_that_cannot_fit_or_be_written_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(memory, "free_memory", lambda device: 50_000_000)
    settings = ["task=selective_copying", "task.length=12,1000000", f"run.output={tmp_path / 'runs'}"]
    fits, large = cells(*settings)
    assert fits is None
    assert "needs more memory than there is" in str(large)
    good, unwritable = cells("task=selective_copying", f"run.output={tmp_path},{tmp_path}/file/runs")
    assert good is None
    assert "cannot be created (Not a directory)" in str(unwritable)
    with pytest.raises(UserError, match="cannot be created"):
        cells("task=selective_copying", f"run.output={tmp_path}/file/runs")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (FileNotFoundError(errno.ENOENT, "gone", "/data/x"), "/data/x cannot be used (No such file"),
        (MemoryError(), "more memory than there is"),
    ],
)
def test_what_fails_on_the_way_is_a_sentence_and_a_rerun_goes_on(
    run: Seqsuite, monkeypatch: pytest.MonkeyPatch, fault: Exception, sentence: str
) -> None:
    """It fails at the third step of the second cell."""
    real = SelectiveCopying.train_batch

    def failing(self: Any, rows: range) -> Any:
        if self.length == 13 and rows.start >= 4:
            raise fault
        return real(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(SelectiveCopying, "train_batch", failing)
        result = run(*COPYING)
    assert result.exit_code == 1, result.output
    assert result.output.count("the best on validation") == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
    again = run(*COPYING)
    assert again.exit_code == 0
    assert "resumed at step 2" in again.output
    assert again.output.count("finished before") == 2


@pytest.mark.parametrize("executor", ["slurm", "ray", "inline"])
def test_a_gpu_that_is_elsewhere_need_not_be_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, executor: str
) -> None:
    """Grids are started where a cluster's users log in, where there seldom is one."""
    pytest.importorskip({"slurm": "submitit", "ray": "ray"}.get(executor, "torch"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(memory, "free_memory", lambda *_: 1)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    chosen = [*SMALL, *COPYING, f"run.output={tmp_path}", f"run.executor={executor}", "run.device=cuda"]
    cells = resolve_grid(expand_grid(chosen))
    if executor == "inline":
        with pytest.raises(UserError, match=r"run\.device=cuda needs a GPU"):
            check_cells(cells)
    else:
        assert check_cells(cells) == [None] * 3
