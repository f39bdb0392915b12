"""What a value means for its type, and how it is shown."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from seqsuite.experiments.config.values import read_as, shown


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, "1e3", 1000),
        (int, "-1.5E+1", -15),
        (int, "12e-1", "12e-1"),
        (int, "1.25e1", "1.25e1"),
        (int, "1e999", "1e999"),
        (int, "1e1000", "1e1000"),
        (int, "10", "10"),
        (Annotated[int, Field(gt=0)] | None, "2e0", 2),
        (int | float, "1e3", "1e3"),
        (int | str, "1e3", "1e3"),
        (str, "1e3", "1e3"),
        (tuple[int, ...], ["1e1", "x"], [10, "x"]),
        (Literal["none", "rotary"], None, "none"),
        (Literal["none", "rotary"] | None, None, None),
        (Literal["rotary"], None, None),
        (int, 1e3, 1e3),
    ],
)
def test_whole_numbers_have_exponents_and_none_is_a_name_where_it_must_be(
    annotation: Any, value: Any, expected: Any
) -> None:
    assert read_as(annotation, value) == expected


def test_a_value_is_shown_as_it_is_written_and_shortened_beyond_two_hundred_characters() -> None:
    assert shown([1, None, ("a", 2.5)]) == "[1,none,[a,2.5]]"
    assert shown("a\nb") == "'a\\nb'"
    assert shown("x" * 200) == "x" * 200
    assert shown("x" * 201) == "x" * 200 + "…"
