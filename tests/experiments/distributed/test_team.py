"""Processes of one cell: started, lost, and resumed by other numbers of them; and what they refuse."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.distributed.team import world_size
from seqsuite.experiments.training.placement import check_ranks, share_of
from seqsuite.tasks.base import ModelIO


@pytest.mark.parametrize(
    ("settings", "world", "told"),
    [
        ({"run.sequence_parallel": "2"}, 3, r"run\.sequence_parallel=2 does not divide the 3 processes"),
        ({"train.batch_size": "6"}, 4, r"train\.batch_size=6 cannot be cut into 4 equal parts"),
        ({"train.accumulate": "4", "train.batch_size": "4"}, 2, r"choose a multiple of 8"),
        ({"run.sequence_parallel": "2", "train.chunk": "4"}, 2, "leave out task.carry_state and train.chunk"),
        ({"run.sequence_parallel": "16"}, 16, r"more than the 8 positions"),
        ({"run.distributed": "fsdp2", "train.optimizer": "muon"}, 2, r"train\.optimizer=muon needs whole"),
        ({"run.distributed": "fsdp2", "train.precision": "fp16"}, 2, r"train\.precision=fp16 needs whole"),
    ],
)
def test_what_processes_cannot_do_together_is_refused(settings, world, told) -> None:
    config = resolve({"task": "selective_copying", "scale": "smoke", "train.batch_size": "16", **settings})
    with pytest.raises(UserError, match=told):
        check_ranks(config, ModelIO(seqlen=8, vocab_size=4), world)


def test_torchrun_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    run = resolve({"task": "selective_copying", "run.nproc": "2"}).run
    assert world_size(run) == 2
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert world_size(run.model_copy(update={"nproc": 1})) == 4
    with pytest.raises(UserError, match=r"leave out run\.nproc"):
        world_size(run)


def test_shares_are_all_rows_once() -> None:
    for rows, world in ((range(3, 10), 3), (range(2), 4), (range(8), 1)):
        shares = [share_of(rows, rank, world) for rank in range(world)]
        assert [row for share in shares for row in share] == list(rows)


def _command(folder: Path, steps: int, *settings: str) -> list[str]:
    quick = ("task=selective_copying", "scale=smoke", "task.length=30", "run.checkpoint_every=5")
    told = (*quick, f"run.output={folder}", f"train.steps={steps}", f"train.eval_every={steps}", *settings)
    return [sys.executable, "-m", "seqsuite", "run", *told, "--offline"]


def _follower(parent: int) -> int | None:
    """Return the process that another one has started to train with."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next((int(child) for child in children), None)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the process to kill in /proc")
@pytest.mark.parametrize("way", ["ddp", "fsdp2"])
def test_a_killed_process_ends_the_run_which_other_numbers_of_them_resume(tmp_path: Path, way: str) -> None:
    steps, folder = 400, tmp_path / "runs"
    for number, world in enumerate(("2", "1", "4")):
        command = _command(folder, steps, f"run.nproc={world}", f"run.distributed={way}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        if number == 2:
            assert "test accuracy" in process.communicate()[0]
            continue
        reached = f"step-{20 * (number + 1):09d}"
        while not any(path.name >= reached for path in folder.glob("*/step-*")):
            assert process.poll() is None
            time.sleep(0.02)
        if number == 0:
            follower = _follower(process.pid)
            assert follower is not None
            os.kill(follower, signal.SIGKILL)
            told = process.communicate()[0]
            assert "Process 1 of the 2 that train this cell was killed by SIGKILL" in told
            assert process.returncode == 1
        else:
            process.kill()
            process.communicate()
    whole = tmp_path / "whole"
    subprocess.run(_command(whole, steps), check=True, cwd=tmp_path, capture_output=True)
    (resumed,), (expected,) = (list(path.glob(f"*/step-{steps:09d}")) for path in (folder, whole))
    trained, one = (load_file(path / "model.safetensors") for path in (resumed, expected))
    for name, value in one.items():
        assert (trained[name] - value).abs().max() <= 1e-3 * value.abs().max()
