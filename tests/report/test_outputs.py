"""A file that cannot be written is told before any work, by every command that writes one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from seqsuite.errors import UserError
from seqsuite.report.outputs import check_output


def test_what_can_be_written_is_no_complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_output("--export", None)
    check_output("--export", Path("new.json"))
    (tmp_path / "old.json").write_text("{}")
    check_output("--export", tmp_path / "old.json")
    (tmp_path / "link.json").symlink_to("not there yet.json")
    check_output("--export", tmp_path / "link.json")


def test_a_folder_a_missing_one_and_a_foreign_one_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=f"--export {tmp_path} cannot be written: there is a folder of that"):
        check_output("--export", tmp_path)
    with pytest.raises(UserError, match="cannot be written: there is no such folder, or it is not yours"):
        check_output("--export", tmp_path / "none" / "x.json")
    theirs = tmp_path / "theirs.json"
    theirs.write_text("{}")
    monkeypatch.setattr(
        "seqsuite.report.outputs.os.access", lambda path, mode: path != tmp_path / "theirs.json"
    )
    check_output("--export", tmp_path / "mine.json")
    with pytest.raises(UserError, match="or it is not yours"):
        check_output("--export", theirs)


def test_what_no_system_can_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        check_output("--export", tmp_path / ("x" * 300) / "x.json")


@pytest.mark.parametrize(
    "command",
    [
        "results --export none/x.json",
        "results --figure none/x.svg",
        "reproduce table1 --scale smoke --export none/x.json",
        "reproduce table1 --scale smoke --figure none/x.svg",
        "scorecard model=mamba --scale smoke --export none/x.json",
        "scorecard model=mamba --scale smoke --output none/x.html",
        "report --output none/x.html",
        "inspect --output none/x.html",
        "eval latest --tasks t --output none/x.json",
        "generate latest --output none/x.txt",
        "generate latest --save-state none/x.state",
        "bench scan --figure none/x.svg",
    ],
)
def test_each_command_tells_it_first(
    seqsuite: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = command.split()
    result = seqsuite(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    told = f"{arguments[-2]} {arguments[-1]} cannot be written: there is no such folder, or it is not yours."
    assert " ".join(result.stderr.split()).endswith(told)
    assert list(tmp_path.iterdir()) == []
