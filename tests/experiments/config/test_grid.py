"""What the cells of a grid are called."""

import pytest

from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.overrides import expand_grid


def titles(*arguments: str, zipped: bool = False) -> list[str]:
    return [cell.title for cell in resolve_grid(expand_grid(arguments, zipped=zipped))]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["task=dna"], ["dna-mamba-cpu-seed0"]),
        (["task=dna", "model.d_model=8"], ["dna-mamba-cpu-seed0"]),
        (["task=dna", "seed=0..1"], ["dna-mamba-cpu-seed0", "dna-mamba-cpu-seed1"]),
        (["task=dna", "model.mixer=s4d"], ["dna-mamba[mixer=s4d]-cpu-seed0"]),
        (
            ["task=dna", "model.mixer=s4d", "model.mixer.d_state=16,32"],
            ["dna-mamba[mixer=s4d,d_state=16]-cpu-seed0", "dna-mamba[mixer=s4d,d_state=32]-cpu-seed0"],
        ),
        (
            ["task=dna", "model.mixer=s6,s4d"],
            ["dna-mamba[mixer=s6]-cpu-seed0", "dna-mamba[mixer=s4d]-cpu-seed0"],
        ),
        (
            ["task=dna", "model.block.norm_eps=1e-5", "model=mamba2", "model.norm_eps=1e-5,1e-6"],
            ["dna-mamba2[norm_eps=1e-5]-cpu-seed0", "dna-mamba2[norm_eps=1e-6]-cpu-seed0"],
        ),
        (["task=dna", "run.name=mine"], ["mine"]),
        (["task=dna", "run.name=mine", "seed=0,1"], ["mine[seed=0]", "mine[seed=1]"]),
    ],
)
def test_a_title_names_what_differs(arguments: list[str], expected: list[str]) -> None:
    assert titles(*arguments) == expected


def test_names_of_zipped_cells_are_taken_as_they_are() -> None:
    named = titles("task=dna", "run.name=small,large", "model.d_model=8,16", zipped=True)
    assert named == ["small[d_model=8]", "large[d_model=16]"]


def test_paths_are_told_by_as_much_as_differs() -> None:
    same_name = titles("task=dna", "task.path=/data/a/x.fa,/data/b/x.fa")
    assert same_name == ["dna-mamba[path=a_x.fa]-cpu-seed0", "dna-mamba[path=b_x.fa]-cpu-seed0"]
    assert titles("task=dna", "task.path=/data/a.fa,none")[0] == "dna-mamba[path=a.fa]-cpu-seed0"
    for paths, told in (
        ("/a,/b", ("a", "b")),
        ("a/x,b/x", ("a_x", "b_x")),
        ("/a/x/y,/b/x/y", ("a_x_y", "b_x_y")),
    ):
        expected = [f"dna-mamba[path={each}]-cpu-seed0" for each in told]
        assert titles("task=dna", f"task.path={paths}") == expected


def test_titles_are_short_enough_for_files() -> None:
    many = titles("task=dna", f"task.path=/{'a' * 300}1,/{'a' * 300}2")
    assert len(set(many)) == 2
    assert all(len(title) < 200 for title in many)
    fits, cut = titles("task=dna", f"task.path=/{'a' * 95},/{'b' * 96}")
    assert fits == f"dna-mamba[path={'a' * 95}]-cpu-seed0"
    start, _, rest = cut.partition("…")
    assert start == f"dna-mamba[path={'b' * 95}"
    assert rest[4:] == "]-cpu-seed0"


def test_the_work_of_a_cell_is_found_by_any_grid() -> None:
    alone = resolve_grid(expand_grid(["task=dna", "model.d_model=8"]))[0]
    among = resolve_grid(expand_grid(["task=dna", "model.d_model=8,16"]))[0]
    assert alone.title != among.title
    assert among.cell_id("data") == alone.cell_id("data")
    assert among.work_folder("data") == alone.work_folder("data")
