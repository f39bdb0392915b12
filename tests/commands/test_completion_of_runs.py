"""Shells complete the names of finished runs, and leave folders to themselves."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import Result

from seqsuite.cli import main
from seqsuite.completion import complete_run


def completed(arguments: list[str], incomplete: str) -> list[tuple[str, str]]:
    items = ShellComplete(main, {}, "seqsuite", "_X").get_completions(arguments, incomplete)
    return [(item.type, item.value) for item in items]


@pytest.mark.parametrize("command", ["generate", "convert", "eval", "inspect"])
def test_runs_are_completed(seqsuite: Callable[..., Result], text_run: str, command: str) -> None:
    given = [command, "--experiment", "text"]
    assert completed(given, "") == [("plain", "latest"), ("plain", text_run)]
    assert completed(given, "text-") == [("plain", text_run)]
    assert completed(given, "nope") == []


def test_folders_are_left_to_the_shell(seqsuite: Callable[..., Result]) -> None:
    assert completed(["convert"], "./my") == [("dir", "./my")]
    assert completed(["inspect"], "./my") == [("dir", "./my")]


def test_no_store_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert complete_run("", "seqsuite") == []
    assert list(tmp_path.iterdir()) == []
