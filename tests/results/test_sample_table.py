"""Metrics of generated samples are results like others: in tables, beside published numbers, on axes."""

import csv
import io
import json
from collections.abc import Callable

import pytest

from seqsuite.experiments.tracking.reader import Reader
from seqsuite.results.collect import collect
from seqsuite.results.formats import print_results
from seqsuite.results.groups import newest
from seqsuite.results.pivot import Axes, pivot
from seqsuite.results.studies import Study
from seqsuite.results.studies.verdict import compared
from seqsuite.results.table import Results

Record = Callable[..., str]

SPEECH = {"task": "sc09", "metric": "bits_per_sample"}


def scored(fid: float, score: float, real: float) -> dict[str, float]:
    return {"sample/fid": fid, "sample/inception_score": score, "sample/of_test/fid": real}


@pytest.fixture
def spoken(reader: Reader, record: Record) -> Results:
    """Mamba of the paper's size with two seeds, S4, and a run whose samples were not scored."""
    for seed, fid in enumerate((1.0, 2.0)):
        metrics = scored(fid, 6.5, 0.25)
        record("mamba", 1.9, **SPEECH, seed=seed, options={"model.size": "6.1m"}, metrics=metrics)
    record("s4", 2.0, **SPEECH, metrics=scored(4.0, 3.0, 0.25))
    record("transformer", 2.5, **SPEECH)
    return collect(reader)


def text(results: Results, style: str) -> str:
    out = io.StringIO()
    print_results(results, style, out)
    return out.getvalue()


def test_samples_have_a_table_with_what_was_published(spoken: Results) -> None:
    _, _, table = text(spoken, "table").partition("measured on generated samples")
    lines = [line.split() for line in table.splitlines()]
    assert lines[1] == ["model", "fid", "inception", "score"]
    assert lines[2] == ["mamba", "1.500", "±", "0.707", "6.500", "±", "0.000"]
    assert lines[3][:4] == ["of", "test", "0.250", "±"]
    assert lines[4] == ["paper", "0.940", "6.260"]
    assert lines[5] == ["s4", "4.000", "3.000"]
    assert not any("transformer" in line for line in lines[:8])


def test_published_scores_of_other_settings_are_listed(spoken: Results) -> None:
    (section,) = spoken.sections
    listed = {(entry.label, entry.metric): entry.paper.value for entry in section.unmatched}
    assert listed["model=mamba size=24.3m", "sample/fid"] == 0.67
    assert any("another classifier" in note for note in section.notes)
    shown = text(spoken, "table")
    assert "sample/inception_score" in shown
    rows = json.loads(text(spoken, "json"))["sections"]
    assert [part["kind"] for part in rows][:2] == ["results", "samples"]
    assert list(csv.reader(io.StringIO(text(spoken, "csv"))))


def test_a_run_without_scores_lists_no_published_scores(reader: Reader, record: Record) -> None:
    record("mamba", 1.9, **SPEECH)
    (section,) = collect(reader).sections
    assert {entry.metric for entry in section.unmatched} == {"bits_per_sample"}
    assert "generated samples" not in text(collect(reader), "table")


def test_pandas_pivots_and_studies_know_them(spoken: Results, reader: Reader) -> None:
    frame = spoken.to_pandas()
    assert frame["sample/fid"].tolist()[:2] == [1.5, 4.0]
    assert "test/sample/fid" not in frame
    (section,) = pivot(newest(reader.cells()), Axes(("model",), None, "sample/fid"))
    assert "fid of generated samples" in section.title
    assert sorted(row["mean_0"] for row in section.rows) == [1.5, 4.0]
    order = {
        "task": "sc09",
        "better": {"model": "mamba"},
        "worse": {"model": "s4"},
        "metric": "sample/inception_score",
        "higher_is_better": True,
    }
    study = Study.model_validate({"title": "t", "source": "s", "expected": [order]})
    (pair,) = compared(study, spoken)
    assert pair.difference.mean == pytest.approx(3.5)
