"""How commands end when the machine is at fault."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from seqsuite.commands.group import SeqsuiteGroup
from seqsuite.experiments.interruption import Interrupted


def run(shell: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m seqsuite {shell}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("shell", "message"),
    [
        ("--help >/dev/full", "cannot be written: No space left on device"),
        ("completion bash >/dev/full", "cannot be written: No space left on device"),
        ("--help >&-", "Standard output is closed"),
    ],
)
def test_output_that_cannot_be_written_is_one_sentence(shell: str, message: str) -> None:
    ended = run(shell)
    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: ")
    assert ended.stderr.count("\n") == 1
    assert message in ended.stderr


def test_no_output_at_all_is_a_status() -> None:
    assert run("--help >&- 2>&-").returncode == 2


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    assert run("completion bash | head -c 1").stderr == ""


def test_too_little_address_space_is_said_before_pytorch_is_loaded() -> None:
    ended = subprocess.run(
        ["bash", "-c", f"ulimit -v 2000000; {sys.executable} -m seqsuite run task=dna"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "raise it (ulimit -v)" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] can't allocate memory"), OSError(12, os.strerror(12))],
)
def test_a_lack_of_memory_is_one_sentence(
    seqsuite: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("seqsuite.commands.doctor.show_machine", fail)
    ended = seqsuite("doctor")
    assert ended.exit_code == 2
    assert "There is not enough memory" in ended.output


def test_faults_of_our_own_are_not_hidden(
    seqsuite: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("seqsuite.commands.doctor.show_machine", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        seqsuite("doctor")


def test_address_space_without_a_limit_is_fine(
    seqsuite: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert seqsuite("run", "task=selective_copying", "--dry-run").exit_code == 0


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        (Interrupted, "Stopped; the work so far is saved, and the same command goes on.\n"),
        (KeyboardInterrupt, "Stopped.\n"),
    ],
)
def test_what_was_stopped_says_so_without_a_traceback(stop: type[BaseException], said: str) -> None:
    @click.group(cls=SeqsuiteGroup)
    def group() -> None: ...

    @group.command()
    def work() -> None:
        raise stop

    ended = CliRunner().invoke(group, ["work"])
    assert (ended.exit_code, ended.output) == (130, said)
