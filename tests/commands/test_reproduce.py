"""``seqsuite reproduce`` and ``report`` as users call them: a study of one's own, and those of the papers."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import seqsuite as package
from seqsuite.results.benchmarks import QUICK
from seqsuite.results.studies import load_studies

from ..spoken import write_digits

Seqsuite = Callable[..., Result]

STUDY = """
title = "Copying, <tiny>"
source = "Nowhere"
finding = "S6 is ahead."
[grids]
smoke = [
  "task=selective_copying model=mamba run.experiment=tiny train.steps=2 train.eval_every=2",
  "task=selective_copying model=s4d run.experiment=tiny train.steps=2 train.eval_every=2",
]
[pivot]
rows = "model"
[[expected]]
task = "selective_copying"
better = { "model.mixer" = "s6" }
worse = { "model.mixer" = ["s4", "s4d"] }
"""


@pytest.fixture
def study(shared_folder: Path) -> str:
    (shared_folder / "tiny.toml").write_text(STUDY, encoding="utf-8")
    return "tiny.toml"


def test_a_study_of_ones_own_from_its_file_to_the_report(
    seqsuite: Seqsuite, study: str, shared_folder: Path
) -> None:
    shown = seqsuite("reproduce", study, "--scale", "smoke")
    assert shown.exit_code == 0, shown.output
    assert "selective_copying scale=smoke: test accuracy (%)" in shown.stdout
    assert "tiny at scale=smoke: smoke only." in shown.stdout
    assert "Found in the paper: S6 is ahead." in shown.stdout
    again = package.reproduce(study, scale="smoke")  # the cells are finished: none is run again
    frame = again.to_pandas()
    assert sorted(frame["model"]) == ["mamba", "s4d"]
    skipped = seqsuite("reproduce", study, "--scale", "smoke", "--format", "json")
    assert skipped.stderr.count("finished before") == 2
    kinds = [section["kind"] for section in json.loads(skipped.stdout)["sections"]]
    assert kinds[0] == "pivot"
    assert kinds[-1] == "order"
    (row,) = json.loads(skipped.stdout)["sections"][-1]["rows"]
    assert (row["low"], row["seeds"]) == (None, 1)  # of one seed there is no interval

    written = seqsuite("report", "--experiment", "tiny", "--output", "page.html")
    assert written.exit_code == 0, written.output
    page = (shared_folder / "page.html").read_text(encoding="utf-8")
    assert "2 finished runs from the experiment tiny." in page
    assert '<a href="#others">Other runs</a>' in page
    assert "<td>mamba</td>" in page
    assert 'src="data:image/svg+xml;base64,' in page
    assert "http" not in page.replace("https://seqsuite", "")  # nothing is fetched
    exported = seqsuite("results", "--experiment", "tiny", "--export", "tiny.json", "--format", "csv")
    assert exported.stderr == "2 runs in tiny.json.\n"
    from_file = seqsuite("report", "--from", "tiny.json", "--output", "from.html")
    assert from_file.exit_code == 0, from_file.output
    read = (shared_folder / "from.html").read_text(encoding="utf-8")
    where = "<code>seqsuite ui --experiment tiny</code> shows them in MLflow."
    assert where in page
    assert read.replace("tiny.json", "the experiment tiny") == page.replace(f" {where}", "")


def test_a_study_goes_on_from_runs_of_another_machine(
    seqsuite: Seqsuite, study: str, shared_folder: Path
) -> None:
    assert seqsuite("reproduce", study, "--scale", "smoke").exit_code == 0
    half = seqsuite("results", "model=mamba", "--experiment", "tiny", "--export", "half.json")
    assert half.exit_code == 0, half.output
    elsewhere = ["--scale", "smoke", "run.experiment=elsewhere", "--from", "half.json"]
    planned = seqsuite("reproduce", study, *elsewhere, "--dry-run", "--probe")
    assert "1 of 2 cells are finished in half.json." in planned.stdout
    assert "training" in planned.stdout  # how long it takes, by a few steps
    joined = seqsuite("reproduce", study, *elsewhere, "--export", "whole.json", "--format", "json")
    assert joined.exit_code == 0, joined.output
    assert "2 runs in whole.json." in joined.stderr
    assert "selective_copying-mamba" not in joined.stderr
    (table,) = [part for part in json.loads(joined.stdout)["sections"] if part["kind"] == "results"]
    assert sorted(row["model"] for row in table["rows"] if row.get("model")) == ["mamba", "s4d"]
    nothing_to_run = ["--scale", "smoke", "run.experiment=nowhere", "--from", "whole.json"]
    shown = seqsuite("reproduce", study, *nothing_to_run, "--figure", "joined.svg")
    assert shown.exit_code == 0, shown.output
    assert "2 of 2 cells are finished in whole.json." in shown.stdout
    assert (shared_folder / "joined.svg").is_file()


def test_the_list_shows_what_exists(seqsuite: Seqsuite) -> None:
    shown = seqsuite("reproduce", "--list", "--format", "json")
    assert shown.exit_code == 0, shown.output
    (section,) = json.loads(shown.stdout)["sections"]
    rows = {(row["study"], row["scale"]): row for row in section["rows"]}
    assert rows["table1", "cpu"]["cells"] == 27
    assert rows["table1", "cpu"]["finished"] == 0
    assert rows["table3", "smoke"]["other"] == "evaluates a model of yours"
    assert rows["table3", "cpu"]["other"] == "evaluates 1 model"
    assert (rows["fig8", "cpu"]["finished"], rows["fig8", "cpu"]["other"]) == (0, "2 benchmarks")
    assert rows["fig8", "smoke"]["finished"] is None  # a quick one is not kept
    of_one = json.loads(seqsuite("reproduce", "--list", "--scale", "gpu", "--format", "json").stdout)
    assert {row["scale"] for row in of_one["sections"][0]["rows"]} == {"gpu"}
    assert of_one["command"] == "seqsuite reproduce --list --scale gpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel1"], "Did you mean 'table1'"),
        (["none.toml"], "cannot be read"),
        (["table3", "--scale", "smoke"], "say model=RUN, FOLDER or NAME"),
        (["table3", "--scale", "smoke", "model=latest"], "say tasks=NAME or FILE.yaml"),
        (["table3", "seed=1"], "takes model, tasks, tokenizer, limit, no 'seed'"),
        (["table3", "limit=0"], "write limit=100"),
        (["table7", "--scale", "paper"], "it has smoke, cpu, gpu"),
        (["table1", "model.d_modle=3"], "model.d_model"),
        (["table1", "scale=smoke"], "by --scale"),
        (["table1", "--probe"], "--probe belongs to --dry-run"),
        (["table3", "--scale", "smoke", "--export", "runs.json"], "leave --from and --export out"),
        (["table3", "--interval"], "leave --interval out"),
        (["fig8", "--interval"], "leave --interval out"),
        (["fig8", "--retry-failed"], "leave --retry-failed out"),
    ],
)
def test_what_cannot_be_reproduced(seqsuite: Seqsuite, arguments: list[str], message: str) -> None:
    refused = seqsuite("reproduce", *arguments)
    assert refused.exit_code == 2
    assert message in refused.output
    assert refused.output.count("\n") == 1


def test_a_study_of_published_numbers_alone_cannot_be_run(seqsuite: Seqsuite, shared_folder: Path) -> None:
    text = (
        'title = "a"\nsource = "b"\n[[published]]\ntask = "text"\nmetrics = ["perplexity"]\nrows = [[3.0]]\n'
    )
    (shared_folder / "only.toml").write_text(text)
    refused = seqsuite("reproduce", "only.toml")
    assert refused.exit_code == 2
    assert "has only published numbers" in refused.output


def test_a_study_of_benchmarks(seqsuite: Seqsuite) -> None:
    planned = seqsuite("reproduce", "fig8", "--scale", "smoke", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "$ seqsuite bench scan --sweep --quick" in planned.stdout
    refused = seqsuite("reproduce", "fig8", "--scale", "smoke", "seed=1")
    assert refused.exit_code == 2
    assert "take no seed=1" in refused.output
    timed_here = seqsuite("reproduce", "fig8", "--scale", "smoke", "--export", "runs.json")
    assert timed_here.exit_code == 2
    assert "leave --from and --export out" in timed_here.output
    run = seqsuite("reproduce", "s4table1", "--scale", "smoke")
    assert run.exit_code == 0, run.output
    assert "Exponents of their growth with L" in run.stdout
    assert run.stdout.count(QUICK) == 2  # below the table of times and that of exponents
    assert "Found in the paper: In the length L" in run.stdout


@pytest.fixture(scope="session")
def genomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small made-up genomes of two species, for the study whose data is none of Python's packages."""
    folder = tmp_path_factory.mktemp("apes")
    drawn = np.random.default_rng(0)
    for species in ("human", "gorilla"):
        bases = "".join(drawn.choice(list("ACGT"), size=8000))
        (folder / f"{species}.fa").write_text(f">1\n{bases}\n")
    return folder


@pytest.fixture(scope="session")
def data_of(genomes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data of the studies whose default comes from a program of Debian's, by their names."""
    digits = write_digits(tmp_path_factory.mktemp("digits"))
    return {"fig6": genomes, "table4": digits, "table5": digits}


STUDIES = [name for name, study in load_studies()[0].items() if study.grids or study.benches]


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_studies_of_papers_at_the_smallest_scale(
    seqsuite: Seqsuite, name: str, shared_folder: Path, data_of: dict[str, Path]
) -> None:
    """`make test-studies` runs these, several in each process: what they share is imported once."""
    study = load_studies()[0][name]
    settings = ["run.experiment=studies"] if study.grids else []
    settings += [f"task.path={data_of[name]}"] if name in data_of else []
    shown = seqsuite("reproduce", name, "--scale", "smoke", *settings, "--figure", f"{name}.svg")
    assert shown.exit_code == 0, shown.output
    told = f"{name} at scale=smoke: " if study.grids else "Found in the paper: "
    assert told in shown.stdout
    assert (shared_folder / f"{name}.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("command", ["reproduce", "scorecard"])
def test_the_command_that_goes_on_looks_where_the_runs_are(
    seqsuite: Seqsuite, study: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    shown: list[str] = []

    def stopped(console: object, cells: object, again: str, **options: object) -> None:
        shown.append(again)

    monkeypatch.setattr(f"seqsuite.commands.{command}.run_shown", stopped)
    what = {"reproduce": [study], "scorecard": ["model=mamba", "--fresh"]}[command]
    first = seqsuite(command, *what, "--scale", "smoke", "--experiment", "mine")
    again = shlex.split(shown[0])
    assert again[:2] == ["seqsuite", command]
    second = seqsuite(*again[1:])
    assert first.exit_code == second.exit_code == 130
    assert "run.experiment=mine" in again
    assert shown[1] == shown[0]
    assert ("--fresh" in again) == (command == "scorecard")


def test_no_picture_is_promised_of_given_models(seqsuite: Seqsuite) -> None:
    refused = seqsuite("reproduce", "table3", "--figure", "table3.svg")
    assert (refused.exit_code, refused.output.count("leave --figure out")) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reproduce", "table7", "fig5", "--scale", "smoke"], "leave fig5 for a command of its own"),
        (["results", "export", "a.json"], "seqsuite results --export FILE"),
        (["results", "--style", "paper"], "say by --figure where it is drawn"),
    ],
)
def test_what_is_nearly_a_command_is_told_how_it_is_written(
    seqsuite: Seqsuite, arguments: list[str], said: str
) -> None:
    ended = seqsuite(*arguments)
    assert ended.exit_code == 2
    assert said in " ".join(ended.stderr.split())
