"""``seqsuite eval``: a model of text on tasks of the lm-evaluation-harness."""

import json
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

import seqsuite
from seqsuite.commands.console import make_console, show
from seqsuite.devices import Device, choose_device
from seqsuite.errors import UserError
from seqsuite.experiments.evaluation.tokenizers import tokenizer_for
from seqsuite.experiments.sources import open_source, reads_text
from seqsuite.models.pretrained import from_pretrained
from seqsuite.registry import describe_error, did_you_mean
from seqsuite.report.outputs import check_output

try:
    import lm_eval.evaluator
    import yaml
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from seqsuite.experiments.evaluation.harness import HarnessModel
except ImportError as missing:
    raise UserError("`seqsuite eval` needs the extra eval: pip install 'seqsuite[eval]'.") from missing

# The harness runs git for a hash that nothing here reads, and git complains outside of a repository.
lm_eval.evaluator.get_git_commit_hash = lambda: None


@dataclass(frozen=True)
class EvalOptions:
    """What to evaluate on, and how.

    Attributes:
        tasks: Names of the harness's tasks or groups, or paths of YAML files that define one.
        include: Folder with more YAML files, or ``None``.
        tokenizer: Folder or hub name of the tokenizer, in place of the model's own.
        usual_tokenizer: The same, where the model has none of its own.
        num_fewshot: Examples before each question; ``None`` leaves it to the task.
        limit: At most this many questions of each task; ``None`` is all.
        batch_size: Requests that are computed together.
        seed: Seed of examples and of sampling.
        device: Where to compute.
    """

    tasks: Sequence[str]
    include: Path | None = None
    tokenizer: str | None = None
    usual_tokenizer: str | None = None
    num_fewshot: int | None = None
    limit: int | None = None
    batch_size: int = 16
    seed: int = 0
    device: Device = "auto"


@dataclass(frozen=True)
class Score:
    """One number of one task."""

    task: str
    metric: str
    value: float
    error: float | None
    questions: int | None

    @property
    def key(self) -> str:
        """Its name in MLflow, which allows few other characters."""
        return re.sub(r"[^\w./ -]", "_", f"eval/{self.task}/{self.metric}")


def evaluate_model(source: str, experiment: str, options: EvalOptions, output: Path | None) -> None:
    """Evaluate the model that ``source`` stands for; print a table, and write all results to ``output``.

    Of a run, the numbers are recorded with it too, as ``eval/<task>/<metric>``.

    Raises:
        UserError: if the model or a task is not there, the model is not one of text, or a file cannot be
            written.
    """
    check_output("--output", output)
    scores, results = evaluate(source, experiment, options)
    show(make_console(), _table(scores))
    if output is not None:
        try:
            output.write_text(json.dumps(results, indent=2, default=str) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{output} cannot be written: {error.strerror}.") from error


def evaluate(source: str, experiment: str, options: EvalOptions) -> tuple[list[Score], dict[str, Any]]:
    """Evaluate the model that ``source`` stands for; return its scores, and all that the harness says.

    Of a run, the scores are recorded with it too.

    Raises:
        UserError: if the model or a task is not there, or the model is not one of text.
    """
    device = choose_device(options.device, "--device cuda")
    tasks = _task_manager(options)
    with open_source(source, experiment, reads_text, "is of text") as found:
        tokenizer = tokenizer_for(found.folder, options.tokenizer, found.name, options.usual_tokenizer)
        model = from_pretrained(found.folder).to(device)
    harness = HarnessModel(model, tokenizer, batch_size=options.batch_size, seed=options.seed)
    results = _evaluate(harness, tasks, options)
    scores = list(_scores(results["results"], results.get("n-samples", {})))
    if found.store is not None:
        found.store.metrics(found.identity, {score.key: score.value for score in scores})
    return scores, results


def _task_manager(options: EvalOptions) -> Any:
    """Return the harness's index of tasks, with its own only if they are needed: they take a while to read.

    Raises:
        UserError: if a task is in none.
    """
    names = [name for name in options.tasks if not Path(name).is_file()]
    missing_files = [name for name in names if name.endswith((".yaml", ".yml"))]
    if missing_files:
        raise UserError(f"There is no file {missing_files[0]!r} with an evaluation task.")
    for file in set(options.tasks) - set(names):
        _check_file(Path(file))
    manager = TaskManager(include_path=options.include, include_defaults=False)
    if not set(names) <= set(manager.all_tasks):
        manager = TaskManager(include_path=options.include)
    for name in names:
        if name not in manager.all_tasks:
            raise UserError(f"Unknown evaluation task {name!r}.{did_you_mean(name, manager.all_tasks)}")
    return manager


def _check_file(file: Path) -> None:
    """Check that a file holds a table with a task's name; what else is wrong the harness finds.

    Raises:
        UserError: if it does not.
    """
    try:
        described = yaml.load(file.read_text(encoding="utf-8"), Loader=_AnyTag)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"The evaluation task {file} cannot be read as YAML: {reason}.") from error
    if not isinstance(described, dict) or not isinstance(described.get("task", described.get("group")), str):
        raise UserError(f"The evaluation task {file} is no table with the key task and a name there.")


class _AnyTag(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types here
    """Reads YAML whatever its tags, such as the harness's ``!function``, and runs none of them."""


_AnyTag.add_multi_constructor("!", lambda loader, tag, node: None)


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
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # data that cannot be had, a package, or a fault in a YAML file
        if _is_ours(error):
            raise
        reason = describe_error(error)
        raise UserError(f"The tasks {', '.join(options.tasks)} cannot be evaluated: {reason}.") from error
    return results


def _is_ours(error: BaseException) -> bool:
    """Return whether an exception comes from seqsuite's own code, and not from the harness or a task."""
    here, package = Path(__file__), Path(seqsuite.__file__).parent
    frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return any(frame.is_relative_to(package) and frame != here for frame in frames)


def _scores(
    results: Mapping[str, Mapping[str, Any]], counts: Mapping[str, Mapping[str, int]]
) -> Iterator[Score]:
    """Yield the results' numbers, which the harness keys ``"metric,filter"``, with its count of questions."""
    for task, metrics in results.items():
        for key, value in metrics.items():
            metric, _, kind = key.partition(",")
            if not kind or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = metrics.get(f"{metric}_stderr,{kind}")
            shown = metric if kind == "none" else f"{metric} ({kind})"
            error = error if isinstance(error, float) else None
            yield Score(task, shown, float(value), error, counts.get(task, {}).get("effective"))


def _table(scores: Sequence[Score]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("task", "metric", "value", "± standard error", "questions"):
        table.add_column(column, justify="left" if column in ("task", "metric") else "right")
    for score in scores:
        error = "" if score.error is None else f"{score.error:.4f}"
        questions = "" if score.questions is None else str(score.questions)
        table.add_row(score.task, score.metric, f"{score.value:.4f}", error, questions)
    return table
