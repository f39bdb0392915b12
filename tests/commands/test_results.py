"""``seqsuite results`` as users call it, on two short runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import open_reader

Seqsuite = Callable[..., Result]


@pytest.fixture(scope="session")
def two_runs(shared_folder: Path) -> tuple[str, str]:
    """Two models of one block, and how to look at them."""
    from click.testing import CliRunner

    from seqsuite.cli import main

    settings = ["task=selective_copying", "model=mamba", "model.mixer=s6,s4d", "scale=smoke"]
    quick = ["train.steps=4", "train.eval_every=2", "run.experiment=compared"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared_folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        result = CliRunner(catch_exceptions=False).invoke(main, ["run", *settings, *quick])
    assert result.exit_code == 0, result.output
    return "--experiment", "compared"


def test_rows_name_their_model_and_stand_beside_the_paper(
    seqsuite: Seqsuite, two_runs: tuple[str, str]
) -> None:
    shown = seqsuite("results", *two_runs)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("selective_copying scale=smoke: test accuracy (%)")
    assert any(line.startswith("mamba  ") and " 99.80 " in line for line in lines)
    assert any(line.startswith("mamba + mixer=s4d  ") and " – " in line for line in lines)
    assert "scale=smoke shows only that things run" in shown.stdout
    assert "Here: task.length=16, " in shown.stdout
    assert "99.80" not in seqsuite("results", *two_runs, "--no-paper").stdout


@pytest.mark.parametrize("axes", [[], ["--rows", "model"]])
def test_intervals_on_request(seqsuite: Seqsuite, two_runs: tuple[str, str], axes: list[str]) -> None:
    told = "In brackets: the 95 % interval of the mean"
    assert told in seqsuite("results", *two_runs, *axes, "--interval").stdout
    assert told not in seqsuite("results", *two_runs, *axes).stdout


def test_what_was_evaluated_is_recorded(
    two_runs: tuple[str, str], shared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it, an option that changes training only would part rows that can be compared."""
    monkeypatch.chdir(shared_folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = {cell.tags[schema.TAG_EVALS] for cell in open_reader("compared").cells()}
    assert found == {"all: 64 x 20"}


def test_filters_on_any_setting(seqsuite: Seqsuite, two_runs: tuple[str, str]) -> None:
    def models(*filters: str) -> list[str]:
        shown = seqsuite("results", *two_runs, *filters, "--no-paper", "--format", "json")
        assert shown.exit_code == 0, shown.output
        return [row["label"] for row in json.loads(shown.stdout)["sections"][0]["rows"]]

    assert models("model.mixer=s4d", "task.length>=16") == ["mamba + mixer=s4d"]
    assert models("model.mixer.d_state<64") == ["mamba"]
    for arguments, message in [
        (["task.length>16"], "No cell has task.length>16; there is task.length=16.\n"),
        (["model.mixer=s5d"], "there is model.mixer=s4d, s6. Did you mean 's4d'?"),
        (["model.mixer=s6", "model.mixer.d_state=64"], "No cell matches; there is task=selective_copying"),
        (["task.lenth=16"], "Did you mean 'task.length'"),
        (["mamba"], "is no filter"),
        (["task.length>many"], "compares with one number"),
    ]:
        refused = seqsuite("results", *two_runs, *arguments)
        assert refused.exit_code == 2
        assert message in refused.output
        assert refused.output.count("\n") == 1


def test_a_picture_is_written_where_and_as_it_is_asked_for(
    seqsuite: Seqsuite, two_runs: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "a.pdf"
    shown = seqsuite("results", *two_runs, "--figure", str(path), "--format", "csv")
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == f"The picture is in {path}.\n"
    assert path.read_bytes().startswith(b"%PDF")
    refused = seqsuite("results", *two_runs, "--figure", str(tmp_path / "a.jpg"))
    assert refused.exit_code == 2
    assert refused.output.startswith("Error: --figure ")
    assert "let it end in .png, .pdf, .svg" in refused.output


def test_forms_say_with_which_command_they_were_made(seqsuite: Seqsuite, two_runs: tuple[str, str]) -> None:
    page = seqsuite("results", *two_runs, "task=selective_copying", "--format", "html").stdout
    assert "<code>seqsuite results task=selective_copying</code>" in page
    assert "<td>mamba + mixer=s4d</td>" in page
    filtered = seqsuite("results", *two_runs, "task.length>=16", "--format", "latex").stdout
    assert filtered.startswith("% seqsuite results 'task.length>=16'\n")
