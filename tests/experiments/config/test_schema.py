"""Defaults of a cell, and the edges of what can be set."""

from pathlib import Path
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig, RunConfig, TrainConfig


def cell(**settings: Any) -> CellConfig:
    told = {key.replace("__", "."): value for key, value in settings.items()}
    return resolve({"task": "selective_copying", **told})


def test_training_has_these_defaults() -> None:
    assert TrainConfig().model_dump() == {
        "init": None,
        "steps": 1000,
        "batch_size": 32,
        "accumulate": 1,
        "chunk": None,
        "checkpoint_activations": False,
        "precision": "fp32",
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "muon_rate": 10.0,
        "schedule": "cosine",
        "warmup": 0.1,
        "decay": 0.2,
        "min_learning_rate": 1e-5,
        "beta1": 0.9,
        "beta2": 0.95,
        "weight_decay": 0.1,
        "clip": 1.0,
        "ema": None,
        "eval_every": 100,
        "eval_batch_size": 32,
        "patience": None,
        "max_time": None,
        "log_every": None,
        "graphs": "auto",
        "deterministic": False,
    }


def test_a_run_has_these_defaults() -> None:
    assert RunConfig().model_dump() == {
        "experiment": "seqsuite",
        "output": Path.cwd() / "runs",
        "device": "auto",
        "checkpoint_every": None,
        "checkpoint_seconds": 60.0,
        "sample_length": 512,
        "name": None,
        "nproc": 1,
        "distributed": "ddp",
        "sequence_parallel": 1,
        "memory": "check",
        "executor": "inline",
        "parallel": None,
        "threads": None,
        "gpus": None,
    }
    assert (cell().scale, cell().seed) == ("cpu", 0)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("seed", [0, 2**63 - 1], [-1, 2**63]),
        ("run.gpus", [0.01, 1], [0, 1.01]),
        ("run.name", ["x", "a b.c", "." + "x" * 199], ["", " . ", "a/b", "a\tb", "x" * 201]),
        ("train.steps", [1], [0]),
    ],
)
def test_values_are_taken_up_to_their_edges(key: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        found = cell(**{key: value}).model_dump()
        for part in key.split("."):
            found = found[part]
        assert found == value
    for value in bad:
        with pytest.raises(UserError, match=f"{key}=.* cannot be used"):
            cell(**{key: value})


def test_a_cell_is_called_by_its_name_or_by_what_it_is() -> None:
    assert cell(seed="3", model="s4", scale="gpu").title == "selective_copying-s4-gpu-seed3"
    named = cell(run__name="mine")
    assert (named.title, named.label) == ("mine", "selective_copying-mamba-cpu-seed0")
