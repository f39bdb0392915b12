"""``model.match``: models of a grid with as many parameters, state bytes or operations as another."""

import math
from collections.abc import Callable

import pytest
from click.testing import Result

from seqsuite.errors import UserError
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.match import MatchConfig, Quantity
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.matching import nearest, size_of

TOLERANCE = MatchConfig().match_within
SMALL = ("task=text", "scale=smoke")


def cells(*settings: str) -> list[CellConfig]:
    return resolve_grid(expand_grid([*SMALL, *settings]))


@pytest.mark.parametrize("quantity", ["params", "flops"])
def test_models_get_as_many_as_the_first_of_the_grid(quantity: Quantity) -> None:
    found = cells("model=mamba,s4d,transformer", f"model.match={quantity}", "model.n_layer=2")
    first, *others = [size_of(cell, quantity) for cell in found]
    assert found[0].model.d_model == 64
    assert len({cell.model.d_model for cell in found}) > 1
    for size in others:
        assert abs(size / first - 1) <= TOLERANCE


@pytest.mark.parametrize("quantity", ["params", "state", "flops"])
def test_heads_that_divide_few_widths_do_not_keep_a_model_from_being_equal(quantity: Quantity) -> None:
    """Eight heads turn by their position at widths of 16, 32, … alone, and none of these is near."""
    asked = (f"model.match={quantity}", "model.match_to=mamba")
    (found,) = cells("model=transformer++", *asked)
    (mamba,) = cells("model=mamba")
    assert abs(size_of(found, quantity) / size_of(mamba, quantity) - 1) <= TOLERANCE
    heads = int(found.model.mixer.model_dump()["n_heads"])
    assert heads < 8
    typed = (f"model.d_model={found.model.d_model}", f"model.mixer.n_heads={heads}")
    assert cells("model=transformer++", *typed)[0].cell_id("") == found.cell_id("")
    with pytest.raises(UserError, match="cannot be met by transformer"):
        cells("model=transformer++", "model.mixer.n_heads=8", *asked)


def test_the_state_is_matched_by_another_key_than_the_width() -> None:
    mamba, ssd = cells(
        "model=mamba,mamba2", "model.match=state", "model.match_by=mixer.d_state", "model.d_model=64"
    )
    assert mamba.model.d_model == ssd.model.d_model == 64
    assert size_of(ssd, "state") == pytest.approx(size_of(mamba, "state"), rel=TOLERANCE)


def test_a_reference_can_be_declared_and_a_matched_width_is_an_ordinary_one() -> None:
    (matched,) = cells("model=s4d", "model.match=params", "model.match_to=mamba", "seed=3")
    (typed,) = cells("model=s4d", f"model.d_model={matched.model.d_model}", "seed=3")
    assert matched.cell_id("") == typed.cell_id("")
    (reference,) = cells("model=mamba")
    assert size_of(matched, "params") == pytest.approx(size_of(reference, "params"), rel=TOLERANCE)
    again, _ = cells("model=mamba,s4d", "model.match=params", "model.match_to=mamba")
    assert again.model == reference.model


def test_each_size_of_a_grid_has_its_own_reference() -> None:
    found = cells("model=mamba,s4d", "model.d_model=16,32", "model.match=params", "seed=0..1")
    widths = {(cell.model.name, cell.model.d_model) for cell in found}
    assert len(widths) == 4
    assert {width for name, width in widths if name == "mamba"} == {16, 32}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["model=mamba,transformer++", "model.match=state", "task.seqlen=512"],
            "cannot be met by transformer",
        ),
        (["model=mamba,s4", "model.match=parms"], "Did you mean 'params'"),
        (["model=mamba,s4", "model.match=params", "model.match_within=-1"], "a number above 0"),
        (["model=mamba,s4", "model.match=params", "model.match_by=width"], "Unknown key 'model.width'"),
        (["model=s4", "model.match=params", "model.match_to=mambo"], "Unknown model 'mambo'"),
    ],
)
def test_what_cannot_be_matched_is_one_sentence(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        cells(*settings)
    assert "\n" not in str(caught.value)


def test_near_enough_is_what_the_tolerance_says() -> None:
    settings = ("model=mamba,s4d", "model.match=params", "model.n_layer=1")
    first, second = (size_of(cell, "params") for cell in cells(*settings))
    apart = abs(second / first - 1)
    assert apart > 0
    assert len(cells(*settings, f"model.match_within={apart!r}")) == 2
    with pytest.raises(
        UserError, match=f"mamba has {first:,} parameters, and the nearest to that is {second:,}"
    ):
        cells(*settings, f"model.match_within={math.nextafter(apart, 0)!r}")


@pytest.mark.parametrize("step", [1, 7, 48])
@pytest.mark.parametrize("goal", [1, 50, 4321, 10**9])
def test_the_nearest_value_is_found_among_those_that_can_be_used(step: int, goal: int) -> None:
    def size_at(value: int) -> int | None:
        return None if value % step else value * value + value

    every = [(value, size) for value in range(1, 2**14 + 1) if (size := size_at(value)) is not None]
    best = min(every, key=lambda found: abs(found[1] / goal - 1))
    found = nearest(size_at, goal)
    assert found is not None
    assert found[1] == best[1] or goal > every[-1][1]
    assert nearest(lambda value: None, goal) is None


def test_of_values_of_one_size_the_least_is_taken() -> None:
    assert nearest(lambda value: value // 4 * 10, 50) == (20, 50)
    assert nearest(lambda value: 40 if value < 19 else 50 if value < 24 else 60, 50) == (19, 50)
    assert nearest(lambda value: (value + 1) // 2, 2) == (3, 2)


def test_the_search_ends_where_models_get_no_wider() -> None:
    assert nearest(lambda value: value, 10**9) == (2**14, 2**14)
    assert nearest(lambda value: None if value % 255 else value, 1) == (255, 255)
    assert nearest(lambda value: None if value % 256 else value, 1) is None


def test_sizes_are_those_of_one_sequence() -> None:
    """By hand: a width of 64 has 128 channels, each with 16 numbers of state and 3 past inputs."""
    (mamba,) = cells("model=mamba", "model.d_model=64", "model.n_layer=2")
    assert size_of(mamba, "state") == 2 * 4 * 128 * (16 + 3)


def test_a_dry_run_shows_what_is_equal(seqsuite: Callable[..., Result]) -> None:
    shown = seqsuite("run", *SMALL, "model=mamba,s4d", "model.match=params", "--dry-run")
    assert shown.exit_code == 0, shown.output
    for word in ("d_model", "state bytes", "operations"):
        assert word in shown.output
    alone = ("model=s4d", "model.match=params", "model.match_to=mamba")
    printed = seqsuite("run", *SMALL, *alone, "--print-config")
    assert "match" not in printed.output
    assert 'name = "none"' in printed.output  # of the run: a matched width gives none
    assert "model.match_to" in seqsuite("keys", "model.match").output
