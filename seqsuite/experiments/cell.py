"""One cell from configuration to result: skip, resume or start; train; test; publish."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from seqsuite.errors import UserError
from seqsuite.experiments.checkpoints import load_for_inference
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.evaluation.scores import evaluate
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun, Store
from seqsuite.experiments.training.samples import write_sample
from seqsuite.experiments.training.trainer import DivergenceError, Observer, Trainer, final_metrics
from seqsuite.models.build import build_model
from seqsuite.tasks.base import Task

MakeObserver = Callable[[CellConfig, int], AbstractContextManager[Observer]]
"""Makes the progress display, from the cell and the step it starts at."""

_PREVIEW = 60  # tokens of a sample to show

Device = Literal["auto", "cpu", "cuda"]
Outcome = Literal["finished", "skipped", "busy", "diverged"]


@dataclass(frozen=True)
class CellResult:
    """What became of a cell.

    Attributes:
        config: The cell.
        outcome: ``"finished"`` now, ``"skipped"`` because it was finished before, ``"busy"`` because another
            process is running it, or ``"diverged"``.
        run_id: Its MLflow run.
        message: Why it diverged, or the beginning of the sample that it generated.
    """

    config: CellConfig
    outcome: Outcome
    run_id: str
    message: str = ""


def work_folder(config: CellConfig) -> Path:
    """Return the folder that holds a cell's checkpoints until it is finished."""
    return config.run.output / f"{config.label}-{config.cell_id}"


def choose_device(name: Device, setting: str = "run.device=cuda") -> torch.device:
    """Return the device to compute on.

    Args:
        name: What is asked for; ``"auto"`` is a GPU if there is one.
        setting: How a GPU was asked for, for the message.

    Raises:
        UserError: if a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{setting} needs a GPU that PyTorch can use, and finds none: leave it out.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def run_cell(
    config: CellConfig,
    store: Store,
    make_observer: MakeObserver,
    interruption: InterruptionFlag,
    *,
    parent_run_id: str | None = None,
    force: bool = False,
) -> CellResult:
    """Run one cell, unless it is finished; continue it if it was interrupted.

    Args:
        config: The cell.
        store: Where runs are recorded.
        make_observer: Makes the progress display.
        interruption: Set when the user asks to stop.
        parent_run_id: Run of the grid that the cell belongs to.
        force: Whether to start afresh in any case.

    Raises:
        Interrupted: after an interruption, with the run KILLED and a checkpoint saved.
        UserError: if the data, the output folder or the store cannot be used.
    """
    earlier = None if force else store.find_cell(config.cell_id)
    if earlier is not None and earlier.status == "FINISHED":
        return CellResult(config, "skipped", earlier.run_id)
    if earlier is not None and earlier.status == "RUNNING":
        return CellResult(config, "busy", earlier.run_id)
    folder = work_folder(config)
    resumed = _resumable(earlier, folder)
    task = config.make_task()
    torch.manual_seed(config.seed)
    model = build_model(config.model, vocab_size=task.spec.vocab_size, seqlen=task.spec.seqlen)
    tags = _tags(config, task)
    logger = store.start_cell(
        cell_id=config.cell_id,
        group_id=config.group_id,
        name=config.title,
        params=config.model_dump(mode="json"),
        tags=tags,
        parent_run_id=parent_run_id,
        resume_run_id=resumed.run_id if resumed else None,
    )
    trainer = Trainer(config, task, model, choose_device(config.run.device), logger, folder)
    try:
        with logger:
            if resumed:
                trainer.resume()
            with make_observer(config, trainer.progress.step) as observer:
                trainer.train(interruption, observer)
            sample = _publish(trainer, interruption)
    except DivergenceError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return CellResult(config, "diverged", logger.run_id, str(error))
    shutil.rmtree(folder)
    return CellResult(config, "finished", logger.run_id, sample)


def _resumable(earlier: CellRun | None, folder: Path) -> CellRun | None:
    """Return the interrupted run to continue: one that was KILLED and left a checkpoint."""
    if earlier is not None and earlier.status == "KILLED" and (folder / "last").is_dir():
        return earlier
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _tags(config: CellConfig, task: Task) -> dict[str, str]:
    return {
        schema.TAG_TASK: config.task.name,
        schema.TAG_MODEL: config.model.name,
        schema.TAG_SCALE: config.scale,
        schema.TAG_SEED: str(config.seed),
        schema.TAG_METRIC: task.spec.metric,
        schema.TAG_HIGHER_IS_BETTER: str(task.spec.higher_is_better).lower(),
        schema.TAG_BASELINE: task.baseline("validation")[0],
    }


def _publish(trainer: Trainer, interruption: InterruptionFlag) -> str:
    """Test the best checkpoint, and log its metrics, its weights, a sample and the last checkpoint.

    Returns:
        The beginning of the sample, as text; empty if the task has nothing to generate.
    """
    config, task, logger = trainer.config, trainer.task, trainer.logger
    model, _ = load_for_inference(trainer.best_folder)
    model.to(trainer.device)
    test = evaluate(
        model,
        task,
        "test",
        config.train.eval_batch_size,
        trainer.device,
        stop=lambda: interruption.requested,
    )
    if test is None:
        raise Interrupted
    logger.log(final_metrics(trainer, test), trainer.progress.step)
    logger.model(trainer.best_folder, name=config.title, params={"step": str(trainer.progress.best_step)})
    for path in sorted(trainer.last_folder.iterdir()):
        logger.artifact(path, "last")
    if task.spec.sample_suffix is None:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / f"sample{task.spec.sample_suffix}"
        tokens = write_sample(model, task, config.run.sample_length, sample)
        logger.artifact(sample)
    return task.decode(tokens[:_PREVIEW])
