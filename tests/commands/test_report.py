"""``seqsuite report`` as users call it, in stores with runs, with benchmarks, and with neither."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from seqsuite.cli import main
from seqsuite.commands.report import run_pages
from seqsuite.experiments.tracking.store import Store
from seqsuite.report import Column, Report, Section
from seqsuite.results.benchmarks import record_benchmark

Seqsuite = Callable[..., Result]
TIMES = Section(
    "times",
    "Times",
    (Column("peer", "peer"), Column("ratio", "ratio", "ratio")),
    [{"peer": "seqsuite", "ratio": 1.0}, {"peer": "other", "ratio": 2.0}],
)
MACHINE = {"processor": "one", "cores": "2", "PyTorch": "2"}


def test_a_store_with_benchmarks_only_has_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def report(*arguments: str) -> Result:
        return CliRunner(catch_exceptions=False).invoke(main, ["report", *arguments])

    nothing = report()
    assert (nothing.exit_code, nothing.output.count("\n")) == (2, 1)
    assert "There are no results yet" in nothing.output
    record_benchmark("scan", Report("seqsuite bench scan --sweep", MACHINE, [TIMES]), 1.0)
    made = report()
    assert made.exit_code == 0, made.output
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "1 benchmark from the experiment seqsuite-bench." in text
    assert "<code>seqsuite ui --experiment seqsuite-bench</code> shows them in MLflow." in text
    assert '<section id="fig8-cpu">' in text
    assert "Runs were made with" not in text
    chosen = report("task=dna")
    assert chosen.exit_code == 2
    assert chosen.output == (
        "Error: There are no runs to choose from by task=dna, but benchmarks: leave it out.\n"
    )


def test_a_report_of_runs_that_are_not_there_says_what_there_is(seqsuite: Seqsuite) -> None:
    quick = ("train.steps=2", "train.eval_every=2", "run.experiment=reported")
    made = seqsuite("run", "task=selective_copying", "model=mamba", "scale=smoke", *quick)
    assert made.exit_code == 0, made.output
    told = {"task=nope": "there is task=selective_copying.", "model=s4d": "there is model=mamba."}
    for filters in (["task=nope"], ["model=s4d", "scale=smoke"]):
        refused = seqsuite("report", *filters, "--experiment", "reported")
        assert refused.exit_code == 2
        assert refused.output == seqsuite("results", *filters, "--experiment", "reported").output
        assert told[filters[0]] in refused.output


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("sqlite:///mlflow.db", ""),
        ("https://host:5000", "https://host:5000/#/experiments/3/runs/"),
        ("https://me:secret@host/mlflow/?a=b", "https://host/mlflow/#/experiments/3/runs/"),
    ],
)
def test_runs_have_pages_on_a_server(uri: str, address: str) -> None:
    assert run_pages(Store(uri, "3", "seqsuite", None)) == address
