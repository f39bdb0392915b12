"""Fine-tuning from a checkpoint's backbone, and the confusion matrix of a finished classifier."""

import csv
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from seqsuite.errors import UserError
from seqsuite.experiments.cell import Host, run_cell
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.initial import load_backbone
from seqsuite.models.build import build_shaped
from seqsuite.models.config import ModelShape
from seqsuite.tasks.great_apes import GreatApes

SMALL = {"model": "mamba", "scale": "smoke", "model.d_model": "8", "model.n_layer": "1"}


@pytest.fixture
def apes(tmp_path: Path) -> Path:
    folder = tmp_path / "apes"
    folder.mkdir()
    (folder / "human.fa").write_text(">1\n" + "GT" * 1500 + "\n")
    (folder / "bonobo.fa").write_text(">1\n" + "AC" * 1500 + "\n")
    return folder


@pytest.fixture
def pretrained(make_trainer) -> Path:
    """A checkpoint of a language model of 5 tokens."""
    trainer = make_trainer(task=bases(), model__d_model="8", model__n_layer="1")
    trainer.save()
    trainer.parts.checkpoints.wait()
    found = trainer.parts.checkpoints.newest()
    assert found is not None
    return found


def bases():
    from seqsuite.tasks.dna import DNA

    return DNA(seed=0, seqlen=16, sample="packages")


def test_all_but_the_head_is_taken_over(pretrained: Path):
    from seqsuite.models.pretrained import from_pretrained

    config = resolve({"task": "great_apes", **SMALL}).model
    torch.manual_seed(1)
    model = build_shaped(config, ModelShape(seqlen=32, vocab_size=5, n_classes=3))
    head = model.head.weight.clone()
    load_backbone(model, str(pretrained), "none")
    weights = from_pretrained(pretrained).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, head if name == "head.weight" else weights[name]), name


def test_other_shapes_are_named(pretrained: Path):
    config = resolve({"task": "great_apes", **SMALL, "model.d_model": "12"}).model
    model = build_shaped(config, ModelShape(seqlen=32, vocab_size=5, n_classes=3))
    with pytest.raises(UserError, match=r"embedding\.weight is \(5, 8\) there and \(5, 12\) here; .* more"):
        load_backbone(model, str(pretrained), "none")


def test_a_moving_name_is_refused():
    with pytest.raises(ValidationError, match="latest is another one"):
        TrainConfig(init="latest")


def test_a_fine_tuned_cell_leaves_its_confusion_matrix(pretrained: Path, apes: Path, tmp_path: Path):
    settings = {"train.init": str(pretrained), "train.steps": "20", "train.learning_rate": "0.02"}
    paths = {
        "task.path": str(apes),
        "run.output": str(tmp_path / "runs"),
        "task.seqlen": "32",
        "task.longest": "128",
    }
    config = resolve({"task": "great_apes", **SMALL, **settings, **paths})

    def no_picture(journal, folder):
        (folder / "curve.txt").write_text("")
        return folder / "curve.txt"

    host = Host(None, lambda *_: nullcontext(Callback()), no_picture, InterruptionFlag())
    result = run_cell(config, host)
    assert result.outcome == "finished", result.message
    assert result.metrics["test/species_human/accuracy"] == 100
    assert result.metrics["test/length_128/accuracy"] > 90
    task = config.make_task()
    assert isinstance(task, GreatApes)
    folder = config.work_folder(task.fingerprint())
    rows = list(csv.reader((folder / "confusion.csv").read_text().splitlines()))
    assert rows[0] == ["true", "bonobo", "human"]
    counts = np.array([row[1:] for row in rows[1:]], dtype=int)
    assert counts.sum() == 32
    assert 100 * np.trace(counts) / 32 == pytest.approx(result.metrics["test/accuracy"])
    assert (folder / "confusion.png").stat().st_size > 1000
