"""Checkpoints are whole, safe to read, and enough to use a model."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from seqsuite.errors import UserError
from seqsuite.experiments import checkpoints as module
from seqsuite.experiments.checkpoint_loading import load_for_inference
from seqsuite.experiments.checkpoints import (
    Checkpoints,
    Snapshot,
    weights_of,
    what_is_wrong,
)
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.models.build import build_shaped
from seqsuite.models.config import ModelShape
from seqsuite.models.sequence_model import SequenceModel

from .dying_calls import dying_after

SHAPE = ModelShape(vocab_size=16, seqlen=36)


def make(model: str = "mamba") -> tuple[SequenceModel, CellConfig]:
    config = resolve({"task": "selective_copying", "scale": "smoke", "model": model})
    return build_shaped(config.model, SHAPE).eval(), config


def save(folder: Path, *steps: int, best: tuple[int, ...] = (), model: str = "mamba") -> Checkpoints:
    built, config = make(model)
    checkpoints = Checkpoints(folder, config, SHAPE)
    for step in steps:
        best_step = max((number for number in best if number <= step), default=0)
        checkpoints.save(Snapshot(step, weights_of(built), {"step": step}, best_step))
    checkpoints.wait()
    return checkpoints


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


@pytest.mark.parametrize("name", ["mamba", "s4", "transformer"])
def test_a_loaded_model_computes_the_same(tmp_path: Path, name: str) -> None:
    model, config = make(name)
    checkpoints = Checkpoints(tmp_path, config, SHAPE)
    checkpoints.save(Snapshot(3, weights_of(model), {}))
    checkpoints.wait()
    newest = checkpoints.newest()
    assert newest is not None
    loaded, its_config = load_for_inference(newest)
    tokens = torch.randint(16, (2, 36))
    assert torch.equal(loaded(tokens), model(tokens))
    assert its_config.model_dump(exclude={"run"}) == config.model_dump(exclude={"run"})
    assert not loaded.training


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = save(tmp_path, 1, 2, 3, 4, best=(1, 2))
    assert steps_in(tmp_path) == [2, 3, 4]
    newest, best = checkpoints.newest(), checkpoints.best()
    assert (newest and newest.name, best and best.name) == ("step-000000004", "step-000000002")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"step-000000002", "step-000000003", "step-000000004"}


def test_what_is_best_is_told_by_the_newest(tmp_path: Path) -> None:
    checkpoints = save(tmp_path, 1, 2, best=(1, 2))
    shutil.rmtree(tmp_path / "step-000000002")
    best = checkpoints.best()
    assert best is not None
    assert best.name == "step-000000001"


def test_an_evaluation_after_a_checkpoint_of_the_same_step_counts(tmp_path: Path) -> None:
    """It was stopped within the evaluation, which is done when it goes on."""
    save(tmp_path, 1, best=(1,))
    checkpoints = save(tmp_path, 2)
    assert checkpoints.best() is None
    again = save(tmp_path, 2, best=(2,))
    assert again.best() == again.newest() == tmp_path / "step-000000002"


def test_files_can_be_read_by_those_who_may_read_the_folder(tmp_path: Path) -> None:
    save(tmp_path, 1)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "step-000000001").iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_weights_are_copies_and_shared_ones_are_kept_once() -> None:
    model, _ = make()
    weights = weights_of(model)
    assert "head.weight" not in weights
    before = weights["embedding.weight"].clone()
    with torch.no_grad():
        model.embedding.weight.add_(1)
    assert torch.equal(weights["embedding.weight"], before)


@pytest.mark.parametrize("damage", ["no manifest", "cut", "other bytes", "gone file", "bad manifest"])
def test_a_damaged_checkpoint_is_never_read(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = save(tmp_path, 1, 2, best=(2,))
    folder = tmp_path / "step-000000002"
    if damage == "no manifest":
        (folder / "manifest.json").unlink()
    if damage == "cut":
        (folder / "training.pt").write_bytes(b"")
    if damage == "other bytes":
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "model.safetensors").write_bytes(content)
    if damage == "gone file":
        (folder / "config.json").unlink()
    if damage == "bad manifest":
        (folder / "manifest.json").write_text("[1]")
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.name == "step-000000001"
    assert checkpoints.best() is None  # the one before knew of none
    assert "step-000000002 is damaged" in caplog.text


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Die at each call that changes the disk, one after the other: the newest whole one is always there."""
    save(tmp_path / "first", 1, best=(1,))
    for place in range(100):
        folder = tmp_path / str(place)
        shutil.copytree(tmp_path / "first", folder)
        model, config = make()
        checkpoints = Checkpoints(folder, config, SHAPE)
        calls = (
            (module.os, "replace"),
            (module.os, "fsync"),
            (module, "save_file"),
            (module.torch, "save"),
            (module.shutil, "rmtree"),
        )
        with dying_after(place, calls, KeyboardInterrupt(), monkeypatch):
            try:
                checkpoints.write(Snapshot(2, weights_of(model), {}, best_step=2))
                died = False
            except KeyboardInterrupt:
                died = True
        newest, best = checkpoints.newest(), checkpoints.best()
        assert newest is not None
        assert best is not None
        assert what_is_wrong(newest) is None
        assert best == newest  # each was the best when it was saved
        if not died:
            assert newest.name == "step-000000002"
            break
    assert place > 5


@pytest.mark.parametrize(
    ("writer", "error", "told"),
    [
        (module, OSError(28, "No space left on device"), "No space left on device"),
        (module, SafetensorError("I/O error: No space (os error 28)"), "No space left on device"),
        (module, OSError("an odd one."), "an odd one"),
        (
            module.torch,
            RuntimeError("[enforce fail at inline_container.cc:672]"),
            "less was written than there",
        ),
    ],
)
def test_a_full_disk_keeps_the_old_checkpoint_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Any, error: Exception, told: str
) -> None:
    model, config = make()
    save(tmp_path, 1)

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(writer, "save_file" if writer is module else "save", full)
    checkpoints = Checkpoints(tmp_path, config, SHAPE)
    checkpoints.save(Snapshot(2, weights_of(model), {}))
    with pytest.raises(UserError, match=f"cannot be written: {told}.*; make room"):
        checkpoints.wait()
    assert steps_in(tmp_path) == [1]
    assert not list(tmp_path.glob(".*"))
    assert (checkpoints.seconds, Snapshot(2, {}, {}).best_step) == (0.0, 0)
