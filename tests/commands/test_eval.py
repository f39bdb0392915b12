"""`seqsuite eval` on tasks and data of a local folder."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from click.testing import Result

from seqsuite.experiments.sources import find_run
from seqsuite.experiments.tracking.store import open_store
from seqsuite.models import from_pretrained
from seqsuite.models.scoring import score

Seqsuite = Callable[..., Result]

QUESTIONS = [
    {"question": "2 times 3 is", "choices": ["6", "five and a half"], "answer": 0},
    {"question": "3 times 4 is", "choices": ["12", "naïve"], "answer": 0},
    {"question": "9 times 10 is", "choices": ["zzzz", "90"], "answer": 1},
]
TASKS = {
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
    "rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "question",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
    "answering": {
        "output_type": "generate_until",
        "doc_to_text": "question",
        "doc_to_target": "{{choices[answer]}}",
        "generation_kwargs": {"until": ["\n", ":"], "max_gen_toks": 6, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    },
}
ANSWERING = {"output_type": "generate_until", "metric_list": [{"metric": "exact_match"}]}


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder with a YAML file a task, and their questions."""
    (tmp_path / "questions.jsonl").write_text("\n".join(json.dumps(question) for question in QUESTIONS))
    for name, settings in TASKS.items():
        data = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {
                "data_files": {"test": str(tmp_path / "questions.jsonl")},
                "cache_dir": str(tmp_path / "cache"),
            },
            "test_split": "test",
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**data, **settings}))
    return tmp_path


def test_a_run_is_evaluated_on_local_tasks(
    seqsuite: Seqsuite, shared_folder: Path, text_run: str, tasks: Path
) -> None:
    arguments = ["--tasks", ",".join(TASKS), "--include", str(tasks), "--experiment", "text"]
    shown = seqsuite("eval", text_run, *arguments, "--output", "results.json")
    assert shown.exit_code == 0, shown.output
    for word in ("choice", "acc", "rolling", "bits_per_byte", "answering", "exact_match"):
        assert word in shown.output
    results = json.loads((shared_folder / "results.json").read_text())["results"]

    if not (shared_folder / "for-eval").exists():
        made = seqsuite("convert", text_run, "for-eval", "--format", "native", "--experiment", "text")
        assert made.exit_code == 0
    model = from_pretrained(shared_folder / "for-eval")

    def likelihood(context: str, continuation: str) -> float:
        tokens = torch.tensor(list(f"{context}{continuation}".encode()))
        return score(model, [tokens])[0].log_likelihood[-len(continuation.encode()) :].sum().item()

    right = [
        max((0, 1), key=lambda choice: likelihood(asked["question"], f" {asked['choices'][choice]}"))
        == asked["answer"]
        for asked in QUESTIONS
    ]
    assert results["choice"]["acc,none"] == pytest.approx(sum(right) / 3)
    nats = -sum(likelihood("\n", asked["question"]) for asked in QUESTIONS)
    length = sum(len(asked["question"]) for asked in QUESTIONS)
    assert results["rolling"]["bits_per_byte,none"] == pytest.approx(nats / length / math.log(2))
    recorded = find_run(open_store("text", create=False), text_run).metrics
    assert recorded["eval/choice/acc"] == results["choice"]["acc,none"]
    assert recorded["eval/rolling/bits_per_byte"] == results["rolling"]["bits_per_byte,none"]


def test_a_task_can_be_a_file_and_a_model_a_folder(
    seqsuite: Seqsuite, shared_folder: Path, text_run: str, tasks: Path
) -> None:
    if not (shared_folder / "with-tokenizer").exists():
        assert seqsuite("convert", text_run, "with-tokenizer", "--experiment", "text").exit_code == 0
    arguments = ["--tasks", str(tasks / "rolling.yaml"), "--limit", "2"]
    by_files = seqsuite("eval", "with-tokenizer", *arguments)
    by_bytes = seqsuite("eval", text_run, *arguments, "--experiment", "text")
    assert by_files.exit_code == by_bytes.exit_code == 0, by_files.output
    assert by_files.output.splitlines()[-1] == by_bytes.output.splitlines()[-1]


def test_the_task_in_the_documentation_works(
    seqsuite: Seqsuite, text_run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    settings = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    settings["dataset_kwargs"]["data_files"]["test"] = str(tmp_path / "questions.jsonl")
    (tmp_path / "arithmetic.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "questions.jsonl").write_text("\n".join(json.dumps(question) for question in QUESTIONS))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    shown = seqsuite("eval", text_run, "--tasks", str(tmp_path / "arithmetic.yaml"), "--experiment", "text")
    assert shown.exit_code == 0, shown.output
    assert "arithmetic" in shown.output
    assert (tmp_path / "cache").is_dir()


def test_what_cannot_be_evaluated_is_one_sentence(
    seqsuite: Seqsuite, text_run: str, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = yaml.safe_load((tasks / "choice.yaml").read_text())
    settings["dataset_kwargs"]["data_files"]["test"] = "missing.jsonl"
    (tasks / "choice.yaml").write_text(yaml.safe_dump(settings))
    refused = seqsuite("eval", text_run, "--tasks", str(tasks / "choice.yaml"), "--experiment", "text")
    assert refused.exit_code == 2
    assert "cannot be evaluated" in refused.output
    missing = seqsuite("eval", text_run, "--tasks", "missing.yaml")
    assert missing.exit_code == 2
    assert "There is no file 'missing.yaml'" in missing.output

    def no_hub(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", no_hub)
    unknown = seqsuite("eval", "nowhere/model", "--tasks", str(tasks / "rolling.yaml"))
    assert unknown.exit_code == 2
    assert "There is no folder 'nowhere/model'" in unknown.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("", "is no table with the key task"),
        ("- a\n- b\n", "is no table with the key task"),
        ("task: [", "cannot be read as YAML"),
        ("task: 5", "is no table with the key task"),
        ({"doc_to_text": "{{question"}, "cannot be evaluated: TemplateSyntaxError"),
        ({"test_split": "nowhere"}, "cannot be evaluated"),
        ({"doc_to_text": "{{nothing.at.all}}"}, "cannot be evaluated: UndefinedError"),
        ({"output_type": "guessing"}, "cannot be evaluated"),
        ({"metric_list": [{"metric": "luck"}]}, "cannot be evaluated"),
        (ANSWERING | {"generation_kwargs": {"until": 5}}, "until"),
        (ANSWERING | {"generation_kwargs": {"until": ["x"], "max_gen_toks": "many"}}, "max_gen_toks"),
    ],
)
def test_a_task_that_is_wrong_is_one_sentence(
    seqsuite: Seqsuite, text_run: str, tasks: Path, change: str | dict[str, object], message: str
) -> None:
    path = tasks / "wrong.yaml"
    if isinstance(change, dict):
        settings = yaml.safe_load((tasks / "choice.yaml").read_text())
        path.write_text(yaml.safe_dump({**settings, "task": "wrong", **change}))
    else:
        path.write_text(change)
    refused = seqsuite("eval", text_run, "--tasks", str(path), "--experiment", "text")
    assert refused.exit_code == 2, refused.output
    assert message in refused.output
    assert "Traceback" not in refused.output


def test_git_is_not_asked(
    seqsuite: Seqsuite, text_run: str, tasks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--tasks", str(tasks / "rolling.yaml"), "--limit", "1", "--experiment", "text"]
    assert seqsuite("eval", text_run, *arguments).exit_code == 0
    assert "git" not in capfd.readouterr().err


def test_a_model_that_is_not_of_text_is_called_by_its_name(
    seqsuite: Seqsuite, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["task=dna", "model=s4d", "scale=smoke", "train.steps=2", "run.experiment=not text"]
    assert seqsuite("run", *settings, "model.d_model=8").exit_code == 0
    asked = ["--tasks", str(tasks / "rolling.yaml"), "--experiment", "not text"]
    latest = seqsuite("eval", "latest", *asked)
    assert latest.exit_code == 2
    assert "No finished run in experiment 'not text' is of text; the newest is dna-s4d-smoke" in latest.output
    named = seqsuite("eval", "dna-s4d-smoke-seed0", *asked)
    assert named.exit_code == 2
    assert "The model dna-s4d-smoke-seed0 is not one of text" in named.output


def test_code_beside_a_tokenizer_is_neither_run_nor_asked_about(
    seqsuite: Seqsuite, shared_folder: Path, text_run: str, tasks: Path
) -> None:
    folder = tasks / "with-code"
    assert seqsuite("convert", text_run, str(folder), "--experiment", "text").exit_code == 0
    (folder / "tokenizer.json").unlink()
    (folder / "mine.py").write_text("raise SystemExit('was run')\n")
    described = json.loads((folder / "tokenizer_config.json").read_text())
    described |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    refused = seqsuite("eval", str(folder), "--tasks", str(tasks / "rolling.yaml"), "--limit", "1")
    assert "was run" not in refused.output
    assert refused.exit_code == 2
    assert "cannot be read" in refused.output


def test_an_unknown_task_and_a_missing_extra_are_named(
    seqsuite: Seqsuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SimpleNamespace(all_tasks=["wikitext"])
    monkeypatch.setattr("seqsuite.commands.eval.TaskManager", lambda **_: known)
    refused = seqsuite("eval", "latest", "--tasks", "wikitex")
    assert refused.exit_code == 2
    assert "Unknown evaluation task 'wikitex'. Did you mean 'wikitext'?" in refused.output
    monkeypatch.delitem(sys.modules, "seqsuite.commands.eval")
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    refused = seqsuite("eval", "latest", "--tasks", "wikitext")
    assert refused.exit_code == 2
    assert "pip install 'seqsuite[eval]'" in refused.output


def test_given_models_are_evaluated_beside_the_papers(
    seqsuite: Seqsuite, shared_folder: Path, text_run: str, tasks: Path
) -> None:
    settings = [f"tasks={tasks / 'choice.yaml'},{tasks / 'rolling.yaml'}"]
    command = ("reproduce", "table3", "--scale", "smoke", "--experiment", "text", *settings)
    shown = seqsuite(*command, f"model={text_run}", "--format", "json")
    assert shown.exit_code == 0, shown.output
    (section,) = json.loads(shown.stdout)["sections"]
    (row,) = section["rows"]
    assert set(row) == {"model", "choice/acc", "rolling/bits_per_byte", "average"}
    assert row["average"] == row["choice/acc"]
    assert any("not comparable" in note for note in section["notes"])
    assert find_run(open_store("text"), text_run).metrics["eval/choice/acc"] == row["choice/acc"] / 100

    seqsuite("convert", text_run, "mamba-130m", "--experiment", "text", "--format", "native")
    beside = seqsuite(*command, "model=mamba-130m", "--format", "json")
    assert beside.exit_code == 0, beside.output
    (theirs,) = json.loads(beside.stdout)["sections"][0]["rows"]
    assert (theirs["paper pile_perplexity"], theirs["paper six_task_average"]) == (10.56, 44.7)
    planned = seqsuite(*command, "model=mamba-130m", "limit=2", "--dry-run")
    assert "mamba-130m: " in planned.output
    assert "2 questions each" in planned.output
