"""Checkpoints are whole, safe to read, and enough to use a model."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.experiments import checkpoints
from seqsuite.experiments.checkpoints import Shape, load_for_inference, load_training, save_checkpoint
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.models.build import build_model
from seqsuite.models.sequence_model import LanguageModel

SHAPE = Shape(vocab_size=16, seqlen=36)


def make(model: str = "mamba") -> tuple[LanguageModel, CellConfig]:
    config = resolve({"task": "selective_copying", "scale": "smoke", "model": model})
    return build_model(config.model, vocab_size=SHAPE.vocab_size, seqlen=SHAPE.seqlen).eval(), config


@pytest.mark.parametrize("name", ["mamba", "s4", "transformer"])
def test_a_loaded_model_computes_the_same(tmp_path: Path, name: str) -> None:
    model, config = make(name)
    save_checkpoint(tmp_path / "best", model=model, config=config, shape=SHAPE, step=3)
    loaded, its_config = load_for_inference(tmp_path / "best")
    tokens = torch.randint(16, (2, 36))
    assert torch.equal(loaded(tokens), model(tokens))
    assert its_config == config
    assert not loaded.training
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["config.json", "model.safetensors"]


def test_replacing_leaves_nothing_else_behind(tmp_path: Path) -> None:
    model, config = make()
    for step in (1, 2):
        save_checkpoint(tmp_path / "last", model=model, config=config, shape=SHAPE, step=step)
    assert json.loads((tmp_path / "last" / "config.json").read_text())["step"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = make()
    save_checkpoint(tmp_path / "last", model=model, config=config, shape=SHAPE, step=1)

    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoints, "save_model", full_disk)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        save_checkpoint(tmp_path / "last", model=model, config=config, shape=SHAPE, step=2)
    assert json.loads((tmp_path / "last" / "config.json").read_text())["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


@pytest.mark.parametrize("damage", ["missing", "empty weights", "no json", "other version"])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, damage: str) -> None:
    model, config = make()
    folder = tmp_path / "best"
    if damage != "missing":
        save_checkpoint(folder, model=model, config=config, shape=SHAPE, step=1)
    if damage == "empty weights":
        (folder / "model.safetensors").write_bytes(b"")
    if damage == "no json":
        (folder / "config.json").write_text("{")
    if damage == "other version":
        (folder / "config.json").write_text(json.dumps({"config": {"task": {"name": "dna"}, "new": 1}}))
    with pytest.raises(UserError, match="holds no checkpoint that this version can read") as raised:
        load_for_inference(folder)
    assert "\n" not in str(raised.value)


def test_reading_a_training_state_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "ran"),))

    model, config = make()
    folder = tmp_path / "last"
    save_checkpoint(folder, model=model, config=config, shape=SHAPE, step=1, training={})
    (folder / "training.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(UserError, match="cannot be resumed from"):
        load_training(folder, model)
    assert not (tmp_path / "ran").exists()
