"""Checkpoints of what is split over processes: written by all of them together, whole or not at all.

The process of these tests is the only one; several are in ``test_placements.py`` and ``test_team.py``.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from seqsuite.errors import UserError
from seqsuite.experiments import checkpoints as module
from seqsuite.experiments.checkpoint_loading import load_for_inference, load_training
from seqsuite.experiments.checkpoints import Checkpoints
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.distributed import shards as shards_module
from seqsuite.experiments.distributed.shards import put_together, taken_apart
from seqsuite.experiments.distributed.team import join
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.training.assemble import assemble
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.placement import Placement
from seqsuite.experiments.training.trainer import Trainer

from ..dying_calls import dying_after

TINY = {
    "task": "selective_copying",
    "scale": "smoke",
    "task.length": "12",
    "model.d_model": "8",
    "model.n_layer": "1",
    "train.ema": "0.9",
    "run.distributed": "fsdp2",
    "run.checkpoint_every": "1",
}
CONFIG = resolve(TINY)


@pytest.fixture
def placement() -> Iterator[Placement]:
    """Be the one process of a run whose weights are split over one process."""
    with join(CONFIG, dist.HashStore(), 0, 1) as joined:
        yield joined


def trained(placement: Placement, folder: Path, steps: int, *, found: Path | None = None) -> Trainer:
    """Return a trainer that was stopped after so many steps, each of which it has saved."""

    class Stopping(Callback):
        def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
            interruption.requested = step == steps

    interruption = InterruptionFlag()
    trainer = assemble(CONFIG, CONFIG.make_task(), placement, folder, [Stopping()], found)
    with pytest.raises(Interrupted):
        trainer.train(interruption)
    return trainer


def newest(checkpoints: Checkpoints) -> Path:
    found = checkpoints.newest()
    assert found is not None
    return found


def test_the_optimizer_is_in_shards_and_the_weights_in_one_file(placement: Placement, tmp_path: Path) -> None:
    folder = newest(trained(placement, tmp_path, 2).parts.checkpoints)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    (shard,) = (folder / "shards").iterdir()
    of_one_process = {"config.json", "manifest.json", "model.safetensors", "training.pt"}
    assert names == of_one_process | {f"shards/{shard.name}"}
    assert shard.suffix == ".safetensors"
    with safe_open(shard, "pt") as file:
        assert {name.partition(".")[0] for name in file.keys()} == {"optimizer", "average"}  # noqa: SIM118
    model, _ = load_for_inference(folder)
    assert {name: tuple(value.shape) for name, value in load_file(folder / "model.safetensors").items()} == {
        name: tuple(value.shape) for name, value in model.named_parameters()
    }


def test_what_is_stopped_before_its_first_step_goes_on(placement: Placement, tmp_path: Path) -> None:
    interruption = InterruptionFlag()
    interruption.requested = True
    trainer = assemble(CONFIG, CONFIG.make_task(), placement, tmp_path, [Callback()])
    with pytest.raises(Interrupted):
        trainer.train(interruption)
    found = newest(trainer.parts.checkpoints)
    assert found.name == "step-000000000"
    assert trained(placement, tmp_path, 1, found=found).progress.step == 1


def test_numbers_lie_at_their_multiples(placement: Placement, tmp_path: Path) -> None:
    folder = newest(trained(placement, tmp_path, 1).parts.checkpoints)
    assert all(value.data_ptr() % 4 == 0 for value in load_file(folder / "model.safetensors").values())


def test_going_on_gives_the_bits_of_a_quiet_run(placement: Placement, tmp_path: Path) -> None:
    quiet = newest(trained(placement, tmp_path / "quiet", 4).parts.checkpoints)
    before = newest(trained(placement, tmp_path / "parts", 2).parts.checkpoints)
    after = newest(trained(placement, tmp_path / "parts", 4, found=before).parts.checkpoints)
    for files in zip(sorted(quiet.rglob("*.safetensors")), sorted(after.rglob("*.safetensors")), strict=True):
        expected, found = map(load_file, files)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("damage", ["gone", "cut", "other bytes"])
def test_a_damaged_shard_has_the_checkpoint_before_read(
    placement: Placement, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = trained(placement, tmp_path, 2).parts.checkpoints
    folder = newest(checkpoints)
    (shard,) = (folder / "shards").iterdir()
    content = bytearray(shard.read_bytes())
    if damage == "gone":
        shard.unlink()
    if damage == "cut":
        shard.write_bytes(content[:-1])
    if damage == "other bytes":
        content[-1] ^= 1
        shard.write_bytes(content)
    before = newest(checkpoints)
    assert (folder.name, before.name) == ("step-000000002", "step-000000001")
    assert "step-000000002 is damaged" in caplog.text
    assert f"shards/{shard.name}" in caplog.text
    assert trained(placement, tmp_path, 3, found=before).progress.step == 3


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(
    placement: Placement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Die at each call that changes the disk, one after the other, among them PyTorch's own."""
    trainer = trained(placement, tmp_path / "first", 1)
    trainer.progress.step = 2
    for place in range(100):
        folder = tmp_path / str(place)
        shutil.copytree(tmp_path / "first", folder)
        trainer.parts.checkpoints.folder = folder
        calls = (
            (module.os, "replace"),
            (module.os, "fsync"),
            (module.torch, "save"),
            (module.shutil, "rmtree"),
            (module.shutil, "copyfileobj"),
        )
        with dying_after(place, calls, OSError(28, "No space left on device"), monkeypatch):
            told = ""
            try:
                trainer.save()
            except UserError as error:
                told = str(error)
        step = newest(trainer.parts.checkpoints).name
        if not told:
            assert step == "step-000000002"
            break
        assert "cannot be written: No space left on device" in told
    assert place > 8


def test_a_broken_connection_is_not_taken_for_a_full_disk(
    placement: Placement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("gloo: Connection closed by peer")

    trainer = trained(placement, tmp_path, 1)
    trainer.progress.step = 2
    monkeypatch.setattr(dist, "broadcast_object_list", broken)
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        trainer.save()
    assert newest(trainer.parts.checkpoints).name == "step-000000001"


@pytest.mark.parametrize("other", ["no file", "no tensors", "other sizes", "no place"])
def test_shards_of_something_else_are_refused_in_a_sentence(
    placement: Placement, tmp_path: Path, other: str
) -> None:
    trainer = trained(placement, tmp_path, 1)
    folder = newest(trainer.parts.checkpoints)
    (shard,) = (folder / "shards").iterdir()
    if other == "no file":
        shard.write_bytes(b"")
    if other == "no tensors":
        save_file({}, shard)
    if other == "other sizes":
        save_file({name: torch.zeros(2) for name in load_file(shard)}, shard)
    resume = partial(trainer.resume, folder)
    if other == "no place":
        resume = partial(load_training, folder, trainer.parts.model, placement.cut, likes={})
    with pytest.raises(UserError, match=r"step-000000001 cannot be resumed from \(.*\): start") as raised:
        resume()
    assert "\n" not in str(raised.value)


def test_what_one_process_does_alone_all_return_or_fail_as_it_does(
    placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards, heard = placement.shards, []
    assert shards is not None
    assert shards.first
    monkeypatch.setattr(dist, "broadcast_object_list", lambda told, **_: heard.append(list(told)))
    assert shards.alone(lambda: "made") == "made"

    def fail(error: Exception) -> None:
        raise error

    for error in (OSError("the disk is full"), OSError()):
        with pytest.raises(OSError, match=f"^{error}$") as raised:
            shards.alone(partial(fail, error))
        assert raised.value is error
    assert heard == [["made", ""], [None, "the disk is full"], [None, "OSError"]]
    shards.first = False

    def hear(told: list[object], **_: object) -> None:
        assert told == [None, ""]
        told[:] = heard.pop(0)

    monkeypatch.setattr(dist, "broadcast_object_list", hear)
    assert shards.alone(lambda: fail(AssertionError())) == "made"
    with pytest.raises(OSError, match="the disk is full"):
        shards.alone(lambda: fail(AssertionError()))


def test_parts_go_into_files_of_a_quarter_of_a_gigabyte(
    placement: Placement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[dict[str, int]] = []
    monkeypatch.setattr(
        shards_module,
        "HuggingFaceStorageWriter",
        lambda path, files_of, save_distributed: files.append(files_of) or SimpleNamespace(),
    )
    monkeypatch.setattr(shards_module, "save", lambda *_, **__: None)
    assert placement.shards is not None
    sizes = {"a": 2**28 - 2, "b": 2, "c": 2**28, "d": 2}
    halves = {
        name: torch.empty(size // 2, dtype=torch.float16, device="meta") for name, size in sizes.items()
    }
    placement.shards.write(tmp_path, halves)
    assert files == [{"a": 1, "b": 1, "c": 2, "d": 3}]


def test_containers_lose_what_is_split_and_keep_the_rest(placement: Placement) -> None:
    mesh = init_device_mesh("cpu", (1,))
    split = distribute_tensor(torch.ones(2), mesh, [Shard(0)])
    state = {"optimizer": [{"state": {3: {"exp_avg": split}}, "lr": 0.1}], "step": (1, "x"), "average": split}
    rest, found = taken_apart(state)
    assert rest["step"] == [1, "x"]
    assert rest["optimizer"][0]["lr"] == 0.1
    assert rest["optimizer"][0]["state"][3]["exp_avg"] == {"in shards": "optimizer.0.state.3.exp_avg"}
    assert set(found) == {"optimizer.0.state.3.exp_avg", "average"}
    assert put_together({"step": [1]}, Path("nowhere"), {}) == {"step": [1]}
    with pytest.raises(ValueError, match="it has average, for which there is no place"):
        put_together({"average": {"in shards": "average"}}, Path("nowhere"), {"optimizer": split})


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads sizes of processes from /proc")
def test_no_process_has_all_of_it_and_all_are_told_of_one_s_full_disk(tmp_path: Path) -> None:
    """Of four each has a quarter to copy and write, and what a file of weights takes besides."""
    script, world = Path(__file__).with_name("save_as.py"), 4
    outs = [tmp_path / f"{rank}.json" for rank in range(world)]
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), str(world), tmp_path / "store", tmp_path / "cell", out],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * world, "\n".join(errors)
    for out in outs:
        found = json.loads(out.read_text())
        assert found["saved"] < 0.65 * found["whole"]
        assert found["loaded"] < 0.65 * found["whole"]
        assert "cannot be written: No space left on device" in found["told"]
    assert {path.name for path in (tmp_path / "cell").iterdir()} == {"step-000000001", "step-000000002"}
