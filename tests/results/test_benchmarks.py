import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import open_store
from seqsuite.report import Column, Report, Section, as_json, write
from seqsuite.results.benchmark_figure import benchmark_figure
from seqsuite.results.benchmarks import (
    EXPERIMENT,
    QUICK,
    Benchmark,
    export_benchmarks,
    is_quick,
    labelled,
    metrics,
    read_benchmarks,
    record_benchmark,
    recorded_benchmarks,
    recorded_commands,
)

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
    run_id = record_benchmark("scan", REPORT, 12.5)
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

    again = Report(REPORT.command, {**REPORT.machine, "threads": "1"}, REPORT.sections, ["Later."])
    record_benchmark("scan", again, 13.0)
    (newest,) = recorded_benchmarks()  # of one command
    assert (newest.what, newest.seconds, newest.report.notes) == ("scan", 13.0, ["Later."])
    assert as_json(newest.report) == as_json(again)
    assert recorded_commands() == {REPORT.command}


def test_a_quick_benchmark_is_labelled_below_each_table() -> None:
    assert not is_quick(REPORT)
    assert is_quick(replace(REPORT, command="seqsuite bench scan --sweep --quick"))
    noted = replace(REPORT, sections=[replace(TIMES, notes=["Ours is faster."]), SAME])
    assert [section.notes for section in labelled(noted).sections] == [[QUICK, "Ours is faster."], [QUICK]]


def test_benchmarks_are_shared_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    export_benchmarks([Benchmark("scan", REPORT, 1.5), Benchmark("conv", REPORT)], path)
    read = read_benchmarks(path)
    assert read is not None
    assert [(found.what, found.seconds) for found in read] == [("scan", 1.5), ("conv", None)]
    for style in ("table", "md", "csv", "html"):
        ours, theirs = io.StringIO(), io.StringIO()
        write(REPORT, style, ours)
        write(read[0].report, style, theirs)
        assert ours.getvalue() == theirs.getvalue()
    before = path.read_bytes()
    export_benchmarks(read, path)
    assert path.read_bytes() == before


def test_files_of_something_else_and_damaged_ones(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    assert read_benchmarks(path) is None
    path.write_text('{"format": "seqsuite runs 1"}')
    assert read_benchmarks(path) is None
    path.write_text('{"format": "seqsuite benchmarks 1", "benchmarks": [{"what": "scan", "seconds": 1}]}')
    with pytest.raises(UserError, match="is damaged"):
        read_benchmarks(path)
    entry = {
        "what": "scan",
        "seconds": 1,
        "report": {"command": "x", "machine": {}, "notes": [], "sections": [{}]},
    }
    path.write_text(json.dumps({"format": "seqsuite benchmarks 1", "benchmarks": [entry]}))
    with pytest.raises(UserError, match="has no columns, or is damaged"):
        read_benchmarks(path)


def test_time_and_memory_are_drawn_by_length_with_their_slopes() -> None:
    columns = (Column("model", "model"), Column("seqlen", "L", "count"), Column("train_s", "time", "seconds"))
    rows = [{"model": "s4", "seqlen": length, "train_s": length / 1e4} for length in (256, 1024)]
    slopes = [{"model": "s4", "train_slope": 1.0}]
    sections = [Section("complexity", "by length", columns, rows), Section("exponents", "slopes", (), slopes)]
    speeds = [{"model": "s4", "tokens": tokens, "tokens_per_second": 500.0} for tokens in (1000, 10_000)]
    generation = Report("b", {}, [Section("generation", "speed", (), speeds)])
    machine = {"processor": "a fast one", "cores": "2", "PyTorch": "2.11"}
    figure = benchmark_figure([Report("a", machine, sections), generation])
    time, speed = figure.axes
    assert time.get_legend_handles_labels()[1] == ["s4, slope 1.00"]
    assert time.get_title() == "train step: time"
    assert (speed.get_xlabel(), speed.get_title()) == ("tokens generated", "generation: tokens a second")
    with pytest.raises(UserError, match="neither times of peers nor anything by length"):
        benchmark_figure([Report("host", machine, [SAME])])


def test_the_commands_show_draw_and_share_them(seqsuite: Callable[..., Result], tmp_path: Path) -> None:
    export_benchmarks([Benchmark("scan", REPORT), Benchmark("conv", REPORT)], tmp_path / "all.json")
    source = ("results", "--from", str(tmp_path / "all.json"))
    shown = seqsuite(*source, "benchmark=conv", "--export", str(tmp_path / "conv.json"))
    assert shown.exit_code == 0, shown.output
    assert "The scan's times" in shown.stdout
    assert shown.stderr == f"1 benchmark in {tmp_path}/conv.json.\n"
    refused = seqsuite(*source, "task=dna")
    assert refused.exit_code == 2
    assert "chosen by benchmark=NAME alone" in refused.output
    for option in (["--interval"], ["--rows", "model"], ["--best-of", "train.learning_rate"]):
        ended = seqsuite(*source, *option)
        assert (ended.exit_code, f"leave {option[0]} out" in ended.output) == (2, True)
    missing = seqsuite(*source, "benchmark=scna")
    assert "there is conv, scan. Did you mean 'scan'?" in missing.output
