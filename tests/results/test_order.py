"""Names in the order of the numbers in them."""

import pytest

from seqsuite.results.order import natural


@pytest.mark.parametrize(
    "names",
    [
        ["length_64", "length_512", "length_4096"],
        ["mamba seqlen=256", "mamba seqlen=1024", "s4 seqlen=256"],
        ["1", "2.5", "16", "none"],
        ["-2", "-1", "0.5", "1", "1.0"],
        ["rate=-2 a", "rate=-1 a", "rate=3 a"],
        ["1e-05", "2e-3", "0.1", "3"],
        ["all", "all_2", "species_gorilla"],
        ["", "a", "a1", "a1b", "a2"],
    ],
)
def test_numbers_are_by_size_and_before_words(names: list[str]) -> None:
    assert sorted(set(names), key=natural) == names
