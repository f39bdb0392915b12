"""``seqsuite reproduce --list``: the studies, with the budget of each and what of it exists."""

import sys
from collections.abc import Sequence, Set

from seqsuite import report
from seqsuite.commands.progress import count
from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import open_reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report import Column, Report, Section
from seqsuite.report import Row as Cells
from seqsuite.results.benchmarks import recorded_commands
from seqsuite.results.studies import Study, load_studies
from seqsuite.results.studies.plan import standing, study_cells, usual_seconds


def list_studies(style: str, experiment: str, scale: str | None = None) -> None:
    """Print each study with its budget at each scale, or at one, and what of it exists."""
    studies, problems = load_studies()
    runs, note = _recorded(experiment)
    timed = recorded_commands()
    columns = (
        Column("study", "study"),
        Column("title", "title", optional=True),
        Column("scale", "scale"),
        Column("cells", "cells", "count"),
        Column("steps", "steps", "quantity"),
        Column("finished", "finished", "count"),
        Column("other", "other", optional=True),
        Column("seconds_left", "time left", "duration"),
    )
    rows = [row for name, study in studies.items() for row in _listed(name, study, runs, timed)]
    if scale is not None:
        rows = [row for row in rows if row["scale"] == scale]
    notes = [
        "`seqsuite reproduce NAME --scale SCALE` runs what is missing. – published numbers only, so far."
    ]
    notes += [
        "Time left is that of the finished cells' training, for each that is missing; before there are any, "
        "and of benchmarks, that of the documentation's results, on one or two cores. `seqsuite reproduce "
        "NAME --scale SCALE --dry-run --probe` takes a few steps of each and tells what it takes here. Quick "
        "benchmarks, those of scale=smoke, are not kept."
    ]
    section = Section("studies", "Studies", columns, rows, notes=[*notes, *note, *problems])
    command = "seqsuite reproduce --list" + ("" if scale is None else f" --scale {scale}")
    report.write(Report(command, {}, [section]), style, sys.stdout)


def _recorded(experiment: str) -> tuple[list[CellRun], list[str]]:
    """Return the runs there are, and a sentence where there is no store yet."""
    try:
        return open_reader(experiment).cells(), []
    except UserError as error:
        return [], [str(error)]


def _listed(name: str, study: Study, runs: Sequence[CellRun], timed: Set[str]) -> list[Cells]:
    """Return a study's lines, one a scale, of which there are runs and commands of benchmarks."""
    told: Cells = {"study": name, "title": study.title}
    if not study.grids and not study.benches and not study.zero_shot:
        return [told | {"scale": "–"}]
    lines = []
    for scale, plan in study.zero_shot.items():
        models = count(len(plan.models), "model") if plan.models else "a model of yours"
        lines.append(told | {"scale": scale, "other": f"evaluates {models}"})
    for scale, benches in study.benches.items():
        kept = [bench.command in timed for bench in benches if not bench.quick]
        each, left = usual_seconds(scale, name), kept.count(False)
        lines.append(
            told
            | {"scale": scale, "other": count(len(benches), "benchmark")}
            | {"finished": sum(kept) if kept else None}
            | {"seconds_left": each * left if each is not None and left else None}
        )
    for scale in study.grids:
        try:
            stands = standing(study_cells(name, study, scale), runs)
        except UserError as error:  # such as a task of a plug-in that is not installed
            lines.append(told | {"scale": scale, "other": str(error)})
            continue
        others = {status: number for status, number in stands.statuses.items() if status != "FINISHED"}
        each = stands.seconds / stands.finished if stands.finished else usual_seconds(scale, name)
        left = stands.cells - stands.finished
        lines.append(
            told
            | {
                "scale": scale,
                "cells": stands.cells,
                "steps": stands.steps,
                "finished": stands.finished,
                "other": ", ".join(
                    f"{number} {schema.status_in_words(status)}" for status, number in others.items()
                ),
                "seconds_left": each * left if each is not None and left else None,
            }
        )
    return lines
