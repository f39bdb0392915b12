"""Small cells to run, with something done after one of their steps."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from seqsuite.experiments.afresh import begin_anew
from seqsuite.experiments.cell import CellResult, Host, run_cell
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.store import CellRun, Store
from seqsuite.experiments.training.callbacks import Callback

TIMED = (
    schema.SPEED,
    schema.TRAIN_SECONDS,
    schema.TOKENS_PER_SECOND,
    schema.INPUT_WAIT,
    schema.PEAK_MEMORY,
    schema.FLOPS_PER_SECOND,
)
"""Metrics of time, which are others in each run."""


class Watcher(Callback):
    """Counts steps, and does something after a given one."""

    def __init__(self, after: int | None, act: Callable[[], None]) -> None:
        self.after, self.act = after, act
        self.steps: list[int] = []

    def stepped(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        self.steps.append(step)
        if step == self.after:
            self.act()


def cell(tmp_path: Path, **settings: Any) -> CellConfig:
    quick = {
        "task": "selective_copying",
        "scale": "smoke",
        "train.steps": "8",
        "train.eval_every": "3",
        "task.eval_examples": "16",
        "run.output": str(tmp_path / "runs"),
        "run.checkpoint_every": "2",
    }
    return resolve({**quick, **settings})


def picture(journal: Journal, folder: Path) -> Path:
    path = folder / "curve.txt"
    path.write_text(str(journal.series("train/loss")))
    return path


def run(
    config: CellConfig,
    store: Store | None,
    after: int | None = None,
    act: Callable[[], None] | None = None,
    *,
    force: bool = False,
    **options: Any,
) -> tuple[CellResult, list[int]]:
    """Run a cell, with ``force`` anew; after a step, ask to stop or do something else."""
    if force:
        begin_anew([config])
    flag = InterruptionFlag()

    def interrupt() -> None:
        flag.requested = True

    watcher = Watcher(after, act or interrupt)
    host = Host(store, lambda *_: nullcontext(watcher), picture, flag, **options)
    return run_cell(config, host), watcher.steps


def folder_of(config: CellConfig) -> Path:
    return config.work_folder(config.make_task().fingerprint())


def cell_run(store: Store, config: CellConfig) -> CellRun:
    found = store.find_cell(config.cell_id(""))
    assert found is not None
    return found


def weights(store: Store, result: CellResult, folder: Path) -> dict[str, torch.Tensor]:
    return load_file(store.model_folder(result.run_id, folder) / "model.safetensors")


def series(store: Store, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Return all curves but those of time."""
    return {
        key: [(point.step, point.value) for point in store.client.get_metric_history(run_id, key)]
        for key in store.get(run_id).metrics
        if key not in TIMED
    }
