"""``seqsuite bench generation``, at a small size."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result

Seqsuite = Callable[..., Result]


@pytest.mark.slow
def test_recurrent_states_stay_and_caches_grow(seqsuite: Seqsuite) -> None:
    arguments = ("--quick", "--threads", "1", "--peers", "s4d,transformer++", "--format", "json")
    shown = seqsuite("bench", "generation", *arguments)
    assert shown.exit_code == 0, shown.output
    (section,) = json.loads(shown.stdout)["sections"]
    rows = section["rows"]
    assert [(row["model"], row["tokens"]) for row in rows] == [
        (name, tokens) for name in ("s4d", "transformer++") for tokens in (200, 400)
    ]
    assert all(row["tokens_per_second"] > 0 and row["grown_bytes"] >= 0 for row in rows)
    sizes = [row["state_bytes"] for row in rows]
    assert sizes[0] == sizes[1]
    assert sizes[3] - sizes[2] == 200 * 2 * 16 * 4


@pytest.mark.slow
def test_a_length_that_takes_too_long_is_left_out(seqsuite: Seqsuite) -> None:
    arguments = ("--limit", "1e-9", "--shape", "2000", "--peers", "mamba", "--threads", "1", "--quick")
    shown = seqsuite("bench", "generation", *arguments, "--format", "json")
    (section,) = json.loads(shown.stdout)["sections"]
    assert [(row["tokens"], row["note"]) for row in section["rows"]] == [(2000, "not within 1e-09 s")]


def test_a_model_that_does_not_exist_is_refused(seqsuite: Seqsuite) -> None:
    result = seqsuite("bench", "generation", "--peers", "mambo")
    assert result.exit_code == 2
    assert "Did you mean 'mamba'?" in result.output
