"""``seqsuite bench data``: loaders beside models, on data that is here."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from seqsuite.bench import data

Seqsuite = Callable[..., Result]


@pytest.fixture
def one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.TASKS, "names", lambda: ["selective_copying"])


@pytest.mark.usefixtures("one_task")
def test_loaders_and_waits_are_told(seqsuite: Seqsuite) -> None:
    options = ("--quick", "--threads", "1", "--peers", "mamba,transformer", "--format", "json")
    result = seqsuite("bench", "data", *options)
    assert result.exit_code == 0, result.output
    loaders, waits = json.loads(result.stdout)["sections"]
    (loader,) = loaders["rows"]
    assert loader["task"] == "selective_copying"
    size = [int(number) for number in loader["batch"].split(" × ")]
    assert loader["rows_per_s"] == pytest.approx(size[0] * loader["batches_per_s"])
    bytes_a_batch = 2 * 8 * size[0] * size[1]
    assert loader["mb_per_s"] == pytest.approx(loader["batches_per_s"] * bytes_a_batch / 1e6)
    assert [row["model"] for row in waits["rows"]] == ["mamba", "transformer"]
    fastest = min(waits["rows"], key=lambda row: row["step_s"])
    assert loader["model"] == fastest["model"]
    assert loader["ratio"] == pytest.approx(loader["batches_per_s"] / loader["steps_per_s"])
    for row in waits["rows"]:
        assert row["percent"] == pytest.approx(100 * row["wait_s"] / row["step_s"])


def test_a_model_that_is_not_known_is_one_sentence(seqsuite: Seqsuite) -> None:
    result = seqsuite("bench", "data", "--peers", "mamb")
    assert result.exit_code == 2
    assert "mamba" in result.output


def test_shapes_are_refused(seqsuite: Seqsuite) -> None:
    result = seqsuite("bench", "data", "--shape", "1,2")
    assert result.exit_code == 2
    assert "leave out --shape" in result.output
