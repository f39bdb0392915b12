"""What is no checkpoint is refused by a sentence, and reading one runs no code."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import load_for_inference, load_training

from .test_checkpoints import make, save


@pytest.mark.parametrize("damage", ["missing", "empty weights", "no json", "other version"])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "step-000000001"
    if damage != "missing":
        save(tmp_path, 1)
    if damage == "empty weights":
        (folder / "model.safetensors").write_bytes(b"")
    if damage == "no json":
        (folder / "config.json").write_text("{")
    if damage == "other version":
        (folder / "config.json").write_text(json.dumps({"config": {"task": {"name": "dna"}, "new": 1}}))
    with pytest.raises(UserError, match="holds no checkpoint that this version can read") as raised:
        load_for_inference(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["evil", "empty", "a list"])
def test_reading_a_training_state_runs_no_code_and_says_what_is_wrong(tmp_path: Path, content: str) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "ran"),))

    model, _ = make()
    save(tmp_path, 1)
    folder = tmp_path / "step-000000001"
    if content == "a list":
        torch.save([1], folder / "training.pt")
    else:
        evil = pickle.dumps(Evil(), protocol=2)
        (folder / "training.pt").write_bytes(evil if content == "evil" else b"")
    with pytest.raises(UserError, match="cannot be resumed from"):
        load_training(folder, model)
    assert not (tmp_path / "ran").exists()
