import json
from pathlib import Path

import pytest

from seqsuite.experiments.tracking.store import open_store
from seqsuite.report import Column, Report, Section
from seqsuite.results.benchmarks import EXPERIMENT, metrics, record_benchmark

TIMES = Section(
    "times",
    "The scan's times",
    (
        Column("peer", "peer"),
        Column("seconds", "time", "seconds"),
        Column("ratio", "ours is", "ratio"),
        Column("note", "note"),
    ),
    [
        {"peer": "seqsuite", "seconds": 0.002, "ratio": 1},
        {"peer": "other (compiled)", "seconds": 0.01, "ratio": 5.0},
        {"peer": "slow", "seconds": None, "ratio": "too slow"},
    ],
    about={"shape": "(8, 1024)"},
)
SAME = Section("floor", "Floor", (Column("bytes", "memory", "bytes"),), [{"bytes": 3}, {"bytes": 4}])
REPORT = Report("seqsuite bench scan", {"processor": "a fast one", "threads": "2"}, [TIMES, SAME])


def test_numbers_are_metrics_by_section_row_and_column() -> None:
    assert dict(metrics(REPORT)) == {
        "times/_8_ 1024_ seqsuite/seconds": 0.002,
        "times/_8_ 1024_ seqsuite/ratio": 1.0,
        "times/_8_ 1024_ other _compiled_/seconds": 0.01,
        "times/_8_ 1024_ other _compiled_/ratio": 5.0,
        "floor/all 0/bytes": 3.0,
        "floor/all 1/bytes": 4.0,
    }


def test_a_benchmark_is_a_run_with_its_tables(results_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{results_folder}/mlflow.db")
    run_id = record_benchmark("scan", REPORT)
    store = open_store(EXPERIMENT)
    run = store.get(run_id)
    assert (run.name, run.status) == ("scan", "FINISHED")
    assert run.params == {"command": "seqsuite bench scan", "processor": "a fast one", "threads": "2"}
    assert run.metrics["times/_8_ 1024_ seqsuite/seconds"] == 0.002
    assert "| seqsuite" in run.tags["mlflow.note.content"]
    files = {file.path for file in store.client.list_artifacts(run_id)}
    assert files == {"scan.json", "scan.md"}
    written = json.loads(Path(store.client.download_artifacts(run_id, "scan.json")).read_text())
    assert written["sections"][0]["kind"] == "times"
    assert not store.search("tags.`seqsuite.kind` = 'cell'")
