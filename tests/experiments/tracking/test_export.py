"""Runs as a file: the text of a small one, and which points of long curves it has."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.export import FileReader, export_runs
from seqsuite.experiments.tracking.store import CellRun

TAGS = {"seqsuite.metric": "mse", "seqsuite.host": "mine", "mlflow.user": "me"}


def run(number: int, status: str = "FINISHED", **params: str) -> CellRun:
    told = {"task.name": "dna", "run.output": "/mine", **params}
    metrics = {"best/mse": math.inf, "worst": -math.inf, "none": math.nan}
    return CellRun(f"r{number}", "it", status, told, metrics, TAGS, 1.23456)  # type: ignore[arg-type]


def reader(points: list[tuple[int, float]]) -> Any:
    history = lambda run_id, metric: points if metric == "train/loss" else []  # noqa: E731
    return SimpleNamespace(experiment="e", history=history)


def test_a_file_says_what_differs_and_nothing_of_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    cells = [run(0, seed="0"), run(1, "RUNNING"), run(2, "FAILED", seed="1")]
    assert export_runs(reader([(1, 2.0), (2, math.nan)]), cells, path) == 2
    rest = (
        '"metrics":{"best/mse":1.7976931348623157e+308,"none":null,"worst":-1.7976931348623157e+308},'
        '"name":"it","params":{"seed":"%d"},"start":1.235,"status":"%s","tags":{"seqsuite.metric":"mse"}}'
    )
    curves = '"curves":{"train/loss":[[1,2],[2.0,null]]}'
    assert path.read_text().splitlines() == [
        '{"experiment":"e","format":"seqsuite runs 1","shared":{"task.name":"dna"},"runs":[',
        f'{{{curves},"id":"r0",{rest % (0, "FINISHED")},',
        f'{{{curves},"id":"r2",{rest % (1, "FAILED")}',
        "]}",
    ]
    again = FileReader(path)
    assert [cell.params for cell in again.cells()] == [
        {"task.name": "dna", "seed": seed} for seed in ("0", "1")
    ]
    assert again.get("r2").status == "FAILED"
    assert again.history("r0", "train/loss")[0] == (1, 2.0)
    assert math.isnan(again.history("r0", "train/loss")[1][1])
    assert again.history("r0", "validation/loss") == again.history("nobody", "train/loss") == []
    with pytest.raises(UserError, match="There is no run 'r1' in"):
        again.get("r1")


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        (1, [0]),
        (200, list(range(200))),
        (201, [*range(0, 200, 2), 200]),
        (400, [*range(0, 400, 2), 399]),
        (401, [*range(0, 400, 3), 400]),
    ],
)
def test_long_curves_are_thinned_and_keep_their_ends(tmp_path: Path, count: int, kept: list[int]) -> None:
    path = tmp_path / "runs.json"
    export_runs(reader([(step, math.inf) for step in range(count)]), [run(0)], path)
    assert FileReader(path).history("r0", "train/loss") == [(step, math.inf) for step in kept]
