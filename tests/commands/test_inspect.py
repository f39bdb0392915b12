"""`seqsuite inspect`: pages and pictures of runs, and what it says to bad input."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from seqsuite.cli import main
from seqsuite.experiments.tracking.store import open_store

RUN = "hamburger-mamba-smoke-seed0"
OTHER = "selective_copying-mamba-smoke-seed0"


@pytest.fixture(scope="module")
def trained(shared_folder: Path, text_run: str) -> None:
    """Train a hamburger and a task of no codec beside the text, in its experiment."""
    small = ["train.steps=4", "train.eval_every=4", "model.d_model=8", "task.eval_examples=8"]
    tasks = (["task=hamburger"], ["task=selective_copying", "task.length=32", "train.batch_size=4"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared_folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for task in tasks:
            settings = [*task, "model=mamba", "scale=smoke", *small, "run.experiment=text"]
            made = CliRunner(catch_exceptions=False).invoke(main, ["run", *settings])
            assert made.exit_code == 0, made.output


@pytest.fixture
def inspect(seqsuite: Callable[..., Result], trained: None) -> Callable[..., Result]:
    return lambda *arguments: seqsuite("inspect", *arguments, "--experiment", "text", "--no-times")


def data_of(page: Path) -> Any:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_page_holds_inputs_models_and_weights_and_is_kept_with_its_run(
    inspect: Callable[..., Result], shared_folder: Path
) -> None:
    inputs = ["--input", "I want to order a hamburger", "--input", "what a day ."]
    made = inspect(RUN, *inputs, "--output", "page.html")
    assert made.exit_code == 0, made.output
    assert "inputs of 7, 4 tokens; in MLflow with its run" in " ".join(made.output.split())
    data = data_of(shared_folder / "page.html")
    assert [one["tokens"][0] for one in data["inputs"]] == ["i", "what"]
    [model] = data["models"]
    assert model["score"].startswith("test accuracy ")
    assert model["label"] == "mamba + d_model=8"
    assert model["live"]["weights"]
    assert data["why"] == ""
    assert data["scan"] is None
    store = open_store("text", create=False)
    [run] = [run for run in store.finished() if run.name == RUN]
    assert "inspection/page.html" in [
        file.path for file in store.client.list_artifacts(run.run_id, "inspection")
    ]


def test_a_picture_is_the_same_each_time(inspect: Callable[..., Result], shared_folder: Path) -> None:
    for name in ("one.png", "two.png"):
        assert inspect(RUN, "--output", name).exit_code == 0
    one, two = ((shared_folder / name).read_bytes() for name in ("one.png", "two.png"))
    assert one == two
    assert one.startswith(b"\x89PNG")


def test_text_is_shown_by_its_bytes(
    inspect: Callable[..., Result], text_run: str, shared_folder: Path
) -> None:
    made = inspect(text_run, "--input", "naïve\n", "--output", "text.html")
    assert made.exit_code == 0, made.output
    data = data_of(shared_folder / "text.html")
    assert data["inputs"][0]["tokens"] == ["n", "a", "xc3", "xaf", "v", "e", "x0a"]
    assert data["reader"]["labels"][:11:10] == ["x00", "x0a"]


def test_without_an_input_the_first_test_row_is_shown(
    inspect: Callable[..., Result], text_run: str, shared_folder: Path
) -> None:
    made = inspect(text_run, "--output", "row.html")
    assert made.exit_code == 0, made.output
    (only,) = data_of(shared_folder / "row.html")["inputs"]
    assert len(only["tokens"]) == len(only["text"].encode()) == 48
    assert inspect(RUN, "--output", "sentence.html").exit_code == 0
    (only,) = data_of(shared_folder / "sentence.html")["inputs"]
    assert only["text"] == "i want to order a hamburger ."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([RUN, "--input", " "], "--input is empty"),
        (
            [RUN, "--input", "i want to order a hamburgr ."],
            "'hamburgr' is not in the vocabulary of 77 words. Did",
        ),
        ([RUN, "--input", "a " * 256], "--input has 257 tokens: give it 1 to 256."),
        (["hamburger-mamba-smoke-seed1"], "No finished run 'hamburger-mamba-smoke-seed1'"),
        ([RUN, "--output", "nowhere/page.html"], "nowhere/page.html cannot be written"),
        ([RUN, "--output", "."], "must end in .html for a page"),
        ([RUN, "--output", "page.gif"], "page.gif must end in .html for a page, or .png, .pdf, .svg."),
        ([OTHER], "whose input is neither text nor DNA nor audio"),
        ([RUN, "text-mamba-smoke-seed0"], "side by side they need the same"),
        (["mlruns"], "mlruns"),
    ],
    ids=str,
)
def test_bad_input_is_one_sentence(
    inspect: Callable[..., Result], arguments: list[str], message: str
) -> None:
    refused = inspect(*arguments)
    assert refused.exit_code == 2, refused.output
    assert message in " ".join(refused.output.split())
    assert "Traceback" not in refused.output


def test_a_word_the_demonstration_cannot_read_is_refused_before_it_is_trained(
    seqsuite: Callable[..., Result], shared_folder: Path
) -> None:
    refused = seqsuite("inspect", "--input", "order a hamburgr", "--experiment", "untrained")
    assert refused.exit_code == 2
    assert "Did you mean 'hamburger'?" in refused.output
    assert "demonstration" not in refused.output


@pytest.mark.slow
def test_without_a_run_the_demonstration_is_trained(
    seqsuite: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    made = seqsuite("inspect", "--output", str(tmp_path / "page.html"), "--no-times")
    assert made.exit_code == 0, made.output
    data = data_of(tmp_path / "page.html")
    answers = [model["answers"][-1][0][0] for model in data["inputs"][0]["models"]]
    assert answers[0] == "order_food"
    assert [model["live"] is not None for model in data["models"]] == [True, True]
    mamba, s4d = data["inputs"][0]["models"]
    steps = max((layer["delta"]["mean"] for layer in mamba["layers"]), key=lambda mean: max(mean) - min(mean))
    words = data["inputs"][0]["tokens"]
    assert {words[place] for place in sorted(range(len(words)), key=steps.__getitem__)[-2:]} == {
        "order",
        "hamburger",
    }
    assert all(isinstance(layer["delta"]["mean"], float) for layer in s4d["layers"])  # flat
