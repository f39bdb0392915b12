"""Published numbers: the files, and what is said of those that cannot be used."""

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.identity import identity_of
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import flatten
from seqsuite.results.studies import load_studies, read_study
from seqsuite.results.studies import study as study_module
from seqsuite.results.studies.plan import finished, study_cells
from seqsuite.results.studies.study import matches

from .made_up import run

STUDY = """
title = "Copying"
source = "A paper, Table 1"
[[published]]
task = "copying"
where = { "model.block" = "none" }
settings = ["model.mixer", "task.length"]
metrics = ["accuracy", "length_512/accuracy"]
rows = [["s4", 64, 18.3, nan], ["s6", "", 97.0, 55]]
"""


def test_the_built_in_studies_can_be_read_and_their_grids_run() -> None:
    studies, problems = load_studies()
    assert not problems
    of_the_paper = [
        *("table1", "table2", "fig4", "table3", "fig5", "fig5context", "fig6", "fig7", "table4", "table5"),
        *("fig8", "table6", "table7", "table8", "table9", "table10"),
    ]
    beyond = [
        "genomicbenchmarks",
        "lossbyposition",
        "mqar",
        "needle",
        "s4table1",
        "selectivity",
        "statetracking",
    ]
    assert list(studies) == [*of_the_paper, *beyond]
    for name, study in studies.items():
        assert study.published or study.finding or study.question
        for scale in study.grids:
            cells = study_cells(name, study, scale)
            assert len({cell.title for cell in cells}) == len(cells)
        if study.grids:  # whose runs an expected order can be read off
            cells = study_cells(name, study, "cpu")
            params = [flatten(cell.model_dump(mode="json")) for cell in cells]
            for expected in study.expected:
                for side in (expected.better, expected.worse):
                    assert any(matches(side, found) for found in params), (name, side)


def test_papers_numbers_are_those_of_its_tables() -> None:
    studies, _ = load_studies()
    (first,) = studies["table1"].published
    numbers = {tuple(entry.settings.values()): entry.values["accuracy"] for entry in first.entries()}
    assert numbers["none", "s4"] == 18.3
    assert numbers["mamba", "s6"] == 99.8
    assert len(numbers) == 8
    assert [published.secondary for published in studies["table6"].published] == [False, True]
    selective = [list(entry.settings.values())[2:] for entry in studies["table7"].published[0].entries()]
    assert selective[-1] == [True, True, "auto"]


def test_rows_have_the_settings_of_all_and_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(STUDY)
    (published,) = read_study(tmp_path / "a.toml").published
    first, second = published.entries()
    assert first.settings == {"model.block": "none", "model.mixer": "s4", "task.length": 64}
    assert first.values == {"accuracy": 18.3}
    assert second.settings == {"model.block": "none", "model.mixer": "s6"}
    assert second.values == {"accuracy": 97.0, "length_512/accuracy": 55.0}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"model.mixer": "s6"}, True),
        ({"model.mixer": "s4"}, False),
        ({"model.mixer": "s6", "task.length": 64}, True),
        ({"task.length": 65}, False),
        ({"train.learning_rate": 1e-3}, True),
        ({"model.mixer.selective": True}, True),
        ({"model.mixer.selective": False}, False),
        ({"model.mixer.dt_rank": "none"}, True),
        ({"model.mixer.dt_rank": 4}, False),
        ({"model.other": "x"}, False),
        ({}, True),
    ],
)
def test_settings_are_compared_as_they_are_recorded(wanted: dict[str, Any], found: bool) -> None:
    params = {
        "model.mixer.name": "s6",
        "model.mixer.selective": "true",
        "model.mixer.dt_rank": "null",
        "task.length": "64",
        "train.learning_rate": "0.001",
    }
    assert matches(wanted, params) is found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "cannot be read as TOML"),
        ("title = 'a'", "source"),
        (STUDY + "more = 1", r"published\.0\.more"),
        (STUDY.replace("97.0, 55", "97.0"), "row 2 must have 2 settings, then numbers"),
        (STUDY.replace("18.3", "'18.3'"), "row 1 must have"),
        (STUDY.replace("18.3", "true"), "row 1 must have"),
        (STUDY.replace('["accuracy", "length_512/accuracy"]', "[]"), "metrics"),
    ],
)
def test_a_study_that_cannot_be_used_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_study(path)
    assert str(path) in str(caught.value)
    with pytest.raises(UserError, match=r"missing\.toml cannot be read"):
        read_study(tmp_path / "missing.toml")


def test_plug_ins_bring_studies_and_a_broken_one_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_studies"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mine.toml").write_text(STUDY)
    (package / "table1.toml").write_text(STUDY)
    (package / "wrong.toml").write_text("title = 3")
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint("mine", "my_studies", study_module.GROUP),
        EntryPoint("gone", "not_a_package", study_module.GROUP),
    ]
    monkeypatch.setattr(study_module, "entry_points", lambda group: points)
    studies, problems = load_studies()
    assert studies["mine"].title == "Copying"
    assert studies["table1"].title == "Selective copying"
    assert len(problems) == 2
    assert any("wrong.toml" in problem for problem in problems)
    assert any("'gone' of a plug-in" in problem for problem in problems)


def test_runs_on_other_data_do_not_count() -> None:
    ours = run({}, task="copying", model="mamba")
    theirs = replace(ours, tags={**ours.tags, schema.TAG_DATA: "another file"})
    cells = [resolve({"task": "copying", "model": model, "scale": "cpu"}) for model in ("mamba", "s4")]
    mine = {identity_of(cells[0])}
    assert finished(cells, [ours]) == finished(cells, [theirs, ours]) == (mine, 0)
    assert finished(cells, [theirs]) == (set(), 1)
    assert finished(cells, [replace(ours, status="FAILED")]) == (set(), 0)


def test_where_the_data_is_not_here_runs_on_any_count(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = run({}, task="copying", model="mamba")
    theirs = replace(theirs, tags={**theirs.tags, schema.TAG_DATA: "another file"})
    cell = resolve({"task": "copying", "model": "mamba", "scale": "cpu"})

    def fail(self: object) -> str:
        raise UserError("It is not here.")

    monkeypatch.setattr("seqsuite.tasks.copying.Copying.fingerprint", fail)
    assert finished([cell], [theirs]) == ({identity_of(cell)}, 0)
