import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seqsuite import completion
from seqsuite.errors import UserError
from seqsuite.experiments.config import resolve as config

PROGRAM = """\
import sys

import click

from seqsuite.completion import complete_override, register, script
from seqsuite.experiments.config import resolve as config

register()
VALUES = {"task": ["dna", "text"], "model": ["mamba", "s4", "s4d"], "scale": ["smoke", "cpu"]}
config.override_keys = lambda task, model: VALUES | {"seed": [], "train.steps": [], "train.warmup": []}


def complete(ctx, param, incomplete):
    return complete_override(incomplete, ctx.params["settings"] or ())


@click.group()
def main():
    pass


@main.command()
@click.argument("settings", nargs=-1, shell_complete=complete)
@click.option("--dry-run", is_flag=True)
def run(settings, dry_run):
    pass


@main.command()
@click.option("--format", "style", type=click.Choice(["table", "md"]))
def results(style):
    pass


main(prog_name="seqsuite")
"""


def known_keys(task: str | None, model: str | None) -> dict[str, list[str]]:
    """Stand in for the configuration's function of this name."""
    keys: dict[str, list[str]] = {
        "task": ["selective_copying", "dna"],
        "model": ["mamba", "s4", "s4d"],
        "scale": ["smoke", "cpu"],
        "seed": [],
        "train.steps": [],
        "train.schedule": ["cosine", "constant"],
        "model.tie_embeddings": ["true", "false"],
    }
    if task in (None, "dna"):
        keys["task.path"] = []
    if task in (None, "selective_copying"):
        keys["task.length"] = []
    if model is not None:
        keys[f"model.mixer.of_{model}"] = []
    return keys


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(config, "override_keys", known_keys)

    def values(incomplete: str, *given: str) -> list[str]:
        return [item.value for item in completion.complete_override(incomplete, given)]

    return values


@pytest.mark.parametrize(
    ("incomplete", "given", "expected"),
    [
        ("", [], ["task=", "model=", "scale=", "seed=", "task.", "model.", "train.", "run."]),
        ("t", [], ["task=", "task.", "train."]),
        ("ta", ["task=dna"], ["task."]),
        ("task=", [], ["task=selective_copying", "task=dna"]),
        ("task=d", [], ["task=dna"]),
        ("model=s", [], ["model=s4", "model=s4d"]),
        ("model=mamba,s", [], ["model=mamba,s4", "model=mamba,s4d"]),
        ("model=mamba,s4,", [], ["model=mamba,s4,s4d"]),
        ("scale=", [], ["scale=smoke", "scale=cpu"]),
        ("seed=", [], []),
        ("train.s", [], ["train.steps=", "train.schedule="]),
        ("train.s", ["train.steps=5"], ["train.schedule="]),
        ("train.schedule=co", [], ["train.schedule=cosine", "train.schedule=constant"]),
        ("model.tie_embeddings=", [], ["model.tie_embeddings=true", "model.tie_embeddings=false"]),
        ("task.", ["task=dna"], ["task.path="]),
        ("task.", ["task=dna,text"], ["task.path=", "task.length="]),
        ("model.mixer.", ["model=s4"], ["model.mixer.of_s4="]),
        ("model.mixer.", [], ["model.mixer.of_mamba="]),
        ("model.size=1.4", [], ["model.size=1.4m", "model.size=1.4b"]),
        ("model.size=1.4", ["model=h3"], ["model.size=1.4m"]),
        ("model.size=", ["model=s4"], []),
        ("nonsense", [], []),
        ("nonsense=", [], []),
    ],
)
def test_keys_and_values_are_completed(
    complete: object, incomplete: str, given: list[str], expected: list[str]
) -> None:
    assert callable(complete)
    assert complete(incomplete, *given) == expected


def test_paths_are_left_to_the_shell() -> None:
    (item,) = completion.complete_override("task.path=data/ge")
    assert item.type == "file"


def test_a_wrong_name_before_does_not_stop_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(task: str | None, model: str | None) -> dict[str, list[str]]:
        if task == "dnaa":
            raise UserError("Unknown task 'dnaa'.")
        return known_keys(task, model)

    monkeypatch.setattr(config, "override_keys", refusing)
    items = completion.complete_override("train.st", ["task=dnaa"])
    assert [item.value for item in items] == ["train.steps="]


def test_the_real_configuration_is_completed() -> None:
    assert [item.value for item in completion.complete_override("task=gr")] == ["task=great_apes"]
    keys = [item.value for item in completion.complete_override("train.")]
    assert {"train.steps=", "train.learning_rate="} <= set(keys)


@pytest.fixture
def program(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``seqsuite`` is a small program that completes as the real one does."""
    path = tmp_path / "seqsuite"
    path.write_text(f"#!{sys.executable}\n{PROGRAM}")
    path.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}


LINES = {
    "seqsuite r": ["run ", "results "],
    "seqsuite run t": ["task=", "task.", "train."],
    "seqsuite run task=d": ["dna "],
    "seqsuite run model=mamba,s": ["mamba,s4 ", "mamba,s4d "],
    "seqsuite run task=dna train.s": ["train.steps="],
    "seqsuite run --d": ["--dry-run "],
    "seqsuite results --format=m": ["md "],
    "seqsuite run task=dna ": ["model=", "scale=", "seed=", "task.", "model.", "train.", "run."],
}


def test_bash_is_given_what_follows_its_word_breaks(program: dict[str, str]) -> None:
    """Bash itself cuts words at ``=`` and puts the answers in place of the last piece."""
    tries = "\n".join(
        f"COMP_LINE='{line}'; COMP_POINT={len(line)}; _seqsuite_completion seqsuite\n"
        "printf '%s|' \"${COMPREPLY[@]}\"; echo"
        for line in LINES
    )
    shown = subprocess.run(
        ["bash", "--norc", "-e", "-c", f"{completion.script('bash')}\n{tries}"],
        env=program,
        capture_output=True,
        text=True,
    )
    assert shown.stderr == ""
    answers = [line.rstrip("|").split("|") for line in shown.stdout.splitlines()]
    assert dict(zip(LINES, map(sorted, answers), strict=True)) == {
        line: sorted(expected) for line, expected in LINES.items()
    }


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_is_valid_in_other_shells(shell: str, program: dict[str, str], tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (tmp_path / "script").write_text(completion.script(shell))
    checked = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    if shell == "fish":
        lines = [line for line in LINES if "=" in line and "--" not in line]
        command = "source script; " + "; ".join(f"complete -C '{line}'; echo ." for line in lines)
        shown = subprocess.run(
            ["fish", "-c", command], cwd=tmp_path, env=program, capture_output=True, text=True
        )
        assert "task=dna\n" in shown.stdout
        assert "model=mamba,s4\nmodel=mamba,s4d\n" in shown.stdout
        assert "train.steps=\n" in shown.stdout


def test_an_unknown_shell_is_refused() -> None:
    with pytest.raises(UserError, match="Did you mean 'bash'"):
        completion.script("bsh")
