"""How counts are told."""

import pytest

from seqsuite.wording import counted


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1234, "1,234 runs")]
)
def test_one_is_singular_and_many_are_grouped(count: int, told: str) -> None:
    assert counted(count, "run") == told
