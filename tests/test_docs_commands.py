"""Each `seqsuite` command in the documentation has a command, options and settings that there are."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from seqsuite.cli import main
from seqsuite.errors import UserError
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.keys import list_keys
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.config.resolve import override_keys
from seqsuite.results.filters import parse_filters
from seqsuite.results.studies import find_study
from seqsuite.results.studies.plan import study_cells

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
ENDS = {"&&", "|", ">", ";", "&"}
RECORDED = {"benchmark", "scale", "seed"}
"""What results can be filtered by besides the keys of cells."""


def commands(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command of seqsuite in a page's fenced shell code."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words.pop(0)
            if words and words[0] == "seqsuite":
                end = next((at for at, word in enumerate(words) if word in ENDS), len(words))
                yield tuple(words[1:end])


COMMANDS = sorted({words for page in PAGES for words in commands(page.read_text(encoding="utf-8"))})


def parse(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the command that words call, and what Click makes of the others."""
    command, path, rest = click.Command(""), ["seqsuite"], list(words)
    command = main
    while isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        name, found, rest = command.resolve_command(context, rest)
        assert name is not None
        assert found is not None
        path.append(name)
        if isinstance(found, click.Group) and found.invoke_without_command and not rest:
            return " ".join(path[1:]), {}
        command = found
    return " ".join(path[1:]), command.make_context(path[-1], rest).params


def check(words: Sequence[str]) -> None:
    """Parse a command and resolve its settings, without running anything.

    Raises:
        UserError: if a setting is unknown or cannot be used.
        click.UsageError: if the command or an option is.
    """
    # A layer that docs/extending.md teaches stands in the place of one that there is.
    name, given = parse([word.replace("model.mixer=ema", "model.mixer=s4d") for word in words])
    if name == "run":
        resolve_grid(expand_grid(given["settings"], zipped=given["zipped"]))
    elif name == "scorecard":  # without the widths at which models are equal, which take long to find
        resolve_grid(expand_grid([f"scale={given['scale']}", "task=mqar", *given["settings"]]))
    elif name == "keys":
        list_keys(given["prefix"])
    elif name == "reproduce" and given["name"] is not None and not given["name"].endswith(".toml"):
        study_name, study = find_study(given["name"])
        if given["scale"] in study.grids:
            study_cells(study_name, study, given["scale"], given["settings"])
        elif given["settings"]:
            assert given["scale"] in study.zero_shot
            assert {setting.partition("=")[0] for setting in given["settings"]} <= {"model", "tasks", "limit"}
    elif name in ("results", "report"):
        known = {*override_keys(None, "mamba"), *RECORDED}
        assert {one.key for one in parse_filters(given["filters"])} <= known


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_docs_can_be_typed(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()  # which sync reads
    check(words)


@pytest.mark.parametrize(
    "line",
    [
        "run task=dna model.widht=3",
        "run task=nothing",
        "reproduce table99",
        "keys trian",
        "scorecard model=x",
    ],
)
def test_a_setting_that_there_is_not_is_found(line: str) -> None:
    with pytest.raises(UserError):
        check(line.split())


@pytest.mark.parametrize("line", ["rnu task=dna", "run --dry task=dna", "bench nothing", "generate"])
def test_a_command_or_option_that_there_is_not_is_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        check(line.split())


def test_commands_are_found_in_pages() -> None:
    command = "OMP_NUM_THREADS=1 seqsuite run task=dna \\\n    seed=0  # why\nmake run\n"
    page = f"```sh\n{command}```\n`seqsuite list`\n"
    assert list(commands(page)) == [("run", "task=dna", "seed=0")]
    assert len(COMMANDS) > 80
