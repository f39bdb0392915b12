"""``seqsuite reproduce`` of given language models: what they answer without training, beside the paper."""

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqsuite.commands.console import make_console
from seqsuite.errors import UserError
from seqsuite.experiments.config.overrides import parse_arguments
from seqsuite.report import Column, Report, Section, write
from seqsuite.report import Row as Cells
from seqsuite.results.studies import Study
from seqsuite.results.studies.study import ZeroShot

if TYPE_CHECKING:
    from seqsuite.commands.eval import Score

_KEYS = ("model", "tasks", "tokenizer", "limit")
_USUAL = ("acc", "exact_match")
"""Metrics to show of a task of the user's own, the first that it has."""


def reproduce_zero_shot(
    study: Study,
    scale: str,
    settings: Sequence[str],
    command: str,
    *,
    dry_run: bool,
    style: str,
    experiment: str,
) -> int:
    """Evaluate each model of a study, print the table, and return the exit status.

    Args:
        study: The study.
        scale: One of its scales.
        settings: ``model=``, ``tasks=``, ``tokenizer=`` and ``limit=`` over those of the study.
        command: The command that it stands for.
        dry_run: Whether to say only what would be evaluated.
        style: One of :data:`seqsuite.report.FORMATS`.
        experiment: MLflow experiment of models that are runs.

    Raises:
        UserError: if a setting is of something else, no model or task is named, or one cannot be had.
    """
    plan = _plan(study.zero_shot[scale], settings)
    console = make_console(stderr=style != "table")
    for model in plan.models:
        limit = f", {plan.limit} questions each" if plan.limit else ""
        console.print(f"{model}: {', '.join(plan.tasks)}{limit}", soft_wrap=True)
    if dry_run:
        return 0
    from seqsuite.commands.eval import EvalOptions, evaluate  # the extra eval, which no other study needs

    options = EvalOptions(tasks=list(plan.tasks), usual_tokenizer=plan.tokenizer, limit=plan.limit)
    scores = {model: evaluate(model, experiment, options)[0] for model in plan.models}
    comparable = plan.tasks == study.zero_shot[scale].tasks and plan.limit is None
    write(_report(study, scores, plan, command, comparable=comparable), style, sys.stdout)
    return 0


def _plan(plan: ZeroShot, settings: Sequence[str]) -> ZeroShot:
    given = parse_arguments(settings)
    for key in given:
        if key not in _KEYS:
            raise UserError(
                f"This study is of given models and takes {', '.join(_KEYS)}, no {key!r}: leave it out."
            )
    models = list(map(str, given.get("model", plan.models)))
    tasks = list(map(str, given.get("tasks", plan.tasks)))
    tokenizer, limit = given.get("tokenizer", [plan.tokenizer])[0], given.get("limit", [plan.limit])[0]
    if not models or not tasks:
        missing = "model=RUN, FOLDER or NAME" if not models else "tasks=NAME or FILE.yaml"
        raise UserError(f"At this scale the study leaves what is evaluated to you: say {missing}.")
    if limit is not None and (not str(limit).isdecimal() or int(limit) < 1):
        raise UserError(f"limit={limit} is no number of questions: write limit=100.")
    return ZeroShot(
        models=models,
        tasks={name: plan.tasks.get(name, "") for name in tasks},
        tokenizer=tokenizer if tokenizer is None else str(tokenizer),
        limit=None if limit is None else int(str(limit)),
    )


def _report(
    study: Study, scores: Mapping[str, Sequence["Score"]], plan: ZeroShot, command: str, *, comparable: bool
) -> Report:
    """Return a row a model, with the paper's numbers of the same one."""
    rows = [_row(model, found, plan.tasks) for model, found in scores.items()]
    names = list(dict.fromkeys(key for row in rows for key in row if "/" in key))
    columns = [Column("model", "model")]
    columns += [Column(name, name.replace("/", " "), "number", 2) for name in names]
    columns += [Column("average", "average of accuracies (%)", "number", 1)]
    for row in rows:
        row |= _published(study, str(row["model"]))
    papers = list(dict.fromkeys(key for row in rows for key in row if key.startswith("paper ")))
    columns += [Column(key, key.replace("_", " "), "number", 2) for key in papers]
    notes = [f"Paper: {study.source}; {published.protocol}." for published in study.published if papers]
    if not comparable:
        notes.append(
            "These are not all questions of the paper's tasks: the averages are not comparable with its."
        )
    section = Section("zero shot", study.title, tuple(columns), rows, notes)
    return Report(command, {}, [section])


def _row(model: str, scores: Sequence["Score"], tasks: Mapping[str, str]) -> Cells:
    row: Cells = {"model": Path(model).name}
    accuracies = []
    for task in dict.fromkeys(score.task for score in scores):
        of_task = {score.metric: score for score in scores if score.task == task}
        wanted = [tasks.get(task, ""), *_USUAL, *of_task]
        metric = next(name for name in wanted if name in of_task)
        is_share = metric.startswith(_USUAL)
        row[f"{task}/{metric}"] = 100 * of_task[metric].value if is_share else of_task[metric].value
        if is_share:
            accuracies.append(100 * of_task[metric].value)
    return row | {"average": statistics.fmean(accuracies) if accuracies else None}


def _published(study: Study, model: str) -> Cells:
    """Return the paper's numbers of the model whose name ends alike, such as ``mamba-130m``."""
    return {
        f"paper {key}": value
        for name, values in _models(study)
        for key, value in values.items()
        if name == model
    }


def _models(study: Study) -> Iterator[tuple[str, Mapping[str, float]]]:
    for published in study.published:
        for entry in published.entries():
            yield "-".join(map(str, entry.settings.values())), entry.values
