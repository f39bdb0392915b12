"""``seqsuite eval``: a model of text on tasks of the lm-evaluation-harness."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqsuite.commands.sources import open_source
from seqsuite.devices import Device, choose_device
from seqsuite.errors import UserError
from seqsuite.experiments.evaluation.tokenizers import tokenizer_for
from seqsuite.models.pretrained import from_pretrained
from seqsuite.registry import did_you_mean

try:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from seqsuite.experiments.evaluation.harness import HarnessModel
except ImportError as missing:
    raise UserError("`seqsuite eval` needs the extra eval: pip install 'seqsuite[eval]'.") from missing


@dataclass(frozen=True)
class EvalOptions:
    """What to evaluate on, and how.

    Attributes:
        tasks: Names of the harness's tasks or groups, or paths of YAML files that define one.
        include: Folder with more YAML files, or ``None``.
        tokenizer: Folder or hub name of the tokenizer, where the model has none beside it.
        num_fewshot: Examples before each question; ``None`` leaves it to the task.
        limit: At most this many questions of each task; ``None`` is all.
        batch_size: Requests that are computed together.
        seed: Seed of examples and of sampling.
        device: Where to compute.
    """

    tasks: Sequence[str]
    include: Path | None = None
    tokenizer: str | None = None
    num_fewshot: int | None = None
    limit: int | None = None
    batch_size: int = 16
    seed: int = 0
    device: Device = "auto"


def evaluate_model(source: str, experiment: str, options: EvalOptions, output: Path | None) -> None:
    """Evaluate the model that ``source`` stands for; print a table, and write all results to ``output``.

    Of a run, the numbers are recorded with it too, as ``eval/<task>/<metric>``.

    Raises:
        UserError: if the model or a task is not there, the model is not one of text, or a file cannot be
            written.
    """
    device = choose_device(options.device, "--device cuda")
    tasks = _task_manager(options)
    with open_source(source, experiment) as found:
        model = from_pretrained(found.folder).to(device)
        tokenizer = tokenizer_for(found.folder, options.tokenizer)
    harness = HarnessModel(model, tokenizer, batch_size=options.batch_size, seed=options.seed)
    results = _evaluate(harness, tasks, options)
    scores = list(_scores(results["results"]))
    Console(highlight=False).print(_table(scores))
    if found.store is not None:
        found.store.metrics(found.identity, {score.key: score.value for score in scores})
    if output is not None:
        try:
            output.write_text(json.dumps(results, indent=2, default=str) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{output} cannot be written: {error.strerror}.") from error


def _task_manager(options: EvalOptions) -> Any:
    """Return the harness's index of tasks, with its own only if they are needed: they take a while to read.

    Raises:
        UserError: if a task is in none.
    """
    names = [name for name in options.tasks if not Path(name).is_file()]
    missing_files = [name for name in names if name.endswith((".yaml", ".yml"))]
    if missing_files:
        raise UserError(f"There is no file {missing_files[0]!r} with an evaluation task.")
    manager = TaskManager(include_path=options.include, include_defaults=False)
    if not set(names) <= set(manager.all_tasks):
        manager = TaskManager(include_path=options.include)
    for name in names:
        if name not in manager.all_tasks:
            raise UserError(f"Unknown evaluation task {name!r}.{did_you_mean(name, manager.all_tasks)}")
    return manager


def _evaluate(harness: HarnessModel, tasks: Any, options: EvalOptions) -> dict[str, Any]:
    try:
        results: dict[str, Any] = simple_evaluate(
            harness,
            tasks=list(options.tasks),
            task_manager=tasks,
            num_fewshot=options.num_fewshot,
            limit=options.limit,
            log_samples=False,
            random_seed=options.seed,
            numpy_random_seed=options.seed,
            torch_random_seed=options.seed,
            fewshot_random_seed=options.seed,
        )
    except (OSError, ImportError) as error:  # data that cannot be had, or a metric's package
        reason = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"The tasks {', '.join(options.tasks)} cannot be evaluated: {reason}.") from error
    return results


@dataclass(frozen=True)
class _Score:
    """One number of one task."""

    task: str
    metric: str
    value: float
    error: float | None

    @property
    def key(self) -> str:
        """Its name in MLflow, which allows few other characters."""
        return re.sub(r"[^\w./ -]", "_", f"eval/{self.task}/{self.metric}")


def _scores(results: Mapping[str, Mapping[str, Any]]) -> Iterator[_Score]:
    """Yield the results' numbers; the harness keys them ``"metric,filter"``."""
    for task, metrics in results.items():
        for key, value in metrics.items():
            metric, _, kind = key.partition(",")
            if not kind or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = metrics.get(f"{metric}_stderr,{kind}")
            shown = metric if kind == "none" else f"{metric} ({kind})"
            yield _Score(task, shown, float(value), error if isinstance(error, float) else None)


def _table(scores: Sequence[_Score]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("task", "metric", "value", "± standard error"):
        table.add_column(column, justify="right" if column.startswith(("value", "±")) else "left")
    for score in scores:
        error = "" if score.error is None else f"{score.error:.4f}"
        table.add_row(score.task, score.metric, f"{score.value:.4f}", error)
    return table
