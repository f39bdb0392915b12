"""Processes of one cell: started, lost, and resumed by other numbers of them; and what they refuse."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
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


@pytest.mark.parametrize(
    ("settings", "io", "world"),
    [
        ({"run.sequence_parallel": "8"}, ModelIO(seqlen=8, vocab_size=4), 8),
        ({"run.sequence_parallel": "2", "train.accumulate": "4"}, ModelIO(seqlen=8, vocab_size=4), 8),
        ({"train.chunk": "4"}, ModelIO(seqlen=8, vocab_size=4, lanes=16), 2),
        ({"run.distributed": "fsdp2", "train.optimizer": "muon"}, ModelIO(seqlen=1, vocab_size=4), 1),
        ({"run.distributed": "ddp", "train.optimizer": "muon"}, ModelIO(seqlen=8, vocab_size=4), 2),
        ({"run.distributed": "fsdp2"}, ModelIO(seqlen=8, vocab_size=4), 2),
    ],
)
def test_what_processes_can_just_do_together_is_not_refused(settings, io, world) -> None:
    config = resolve({"task": "selective_copying", "scale": "smoke", "train.batch_size": "16", **settings})
    check_ranks(config, io, world)


def test_a_batch_that_cannot_be_shared_says_by_what_it_could() -> None:
    told = {"run.sequence_parallel": "2", "train.accumulate": "3", "train.batch_size": "20"}
    config = resolve({"task": "selective_copying", "scale": "smoke", **told})
    with pytest.raises(UserError) as raised:
        check_ranks(config, ModelIO(seqlen=8, vocab_size=4), 4)
    assert str(raised.value) == (
        "train.batch_size=20 cannot be cut into 6 equal parts, for 2 groups of processes and "
        "train.accumulate=3: choose a multiple of 6."
    )
    config = resolve({"task": "selective_copying", "scale": "smoke", "run.sequence_parallel": "2"})
    with pytest.raises(UserError, match=r"leave out task\.carry_state"):
        check_ranks(config, ModelIO(seqlen=8, vocab_size=4, lanes=32), 2)


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


STEPS = 80


class Run:
    """The same command, given again and again, in a folder of its own."""

    def __init__(self, folder: Path, *settings: str, launcher: tuple[str, ...] = ("-m", "seqsuite")) -> None:
        quick = ["task=selective_copying", "scale=smoke", "task.length=30", "run.checkpoint_every=5"]
        told = [f"run.output={folder}", f"train.steps={STEPS}", f"train.eval_every={STEPS}", *settings]
        self.folder = folder
        self._command = [sys.executable, *launcher, "run", *quick, *told, "--offline"]

    def start(self) -> subprocess.Popen[str]:
        """Start it in a process group, which its processes are in."""
        return subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder.parent,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def finish(self) -> None:
        process = self.start()
        told = process.communicate()[0]
        assert process.returncode == 0, told
        assert "test accuracy" in told

    def killed(self, step: int, number: int) -> tuple[str, int | None]:
        """Start it and kill one of its child processes at a step; return what it said, and its status."""
        process = self.start()
        while not any(path.name >= f"step-{step:09d}" for path in self.folder.glob("*/step-*")):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        os.kill(_children(process.pid)[number], signal.SIGKILL)
        return process.communicate()[0], process.returncode

    def weights(self) -> dict[str, torch.Tensor]:
        (checkpoint,) = self.folder.glob(f"*/step-{STEPS:09d}")
        return load_file(checkpoint / "model.safetensors")


def _children(parent: int) -> list[int]:
    """Return the processes that another one has started, in the order of their numbers."""
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("way", ["ddp", "fsdp2"])
def test_a_killed_process_ends_the_run_which_goes_on_to_the_bits_of_a_quiet_one(
    tmp_path: Path, way: str
) -> None:
    settings = ("run.nproc=2", f"run.distributed={way}")
    quiet, run = Run(tmp_path / "quiet", *settings), Run(tmp_path / "killed", *settings)
    quiet.finish()
    told, status = run.killed(10, 0)
    assert "Process 1 of the 2 that train this cell was killed by SIGKILL" in told
    assert status == 1
    run.finish()
    assert _same(run.weights(), quiet.weights())


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("rank", [0, 1])
def test_under_torchrun_too(tmp_path: Path, rank: int) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "seqsuite")
    quiet = Run(tmp_path / "quiet", "run.nproc=2")
    run = Run(tmp_path / "killed", launcher=launcher)
    quiet.finish()
    told, status = run.killed(10, rank)
    assert "The connection to another process that trains this cell has broken" in told
    assert status != 0
    run.finish()
    assert _same(run.weights(), quiet.weights())
