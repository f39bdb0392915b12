import numpy as np
import pytest

from seqsuite.tasks.sources.cpg_islands import cpg_islands


@pytest.mark.parametrize("longest", [1, 2, 9])
def test_sequences_have_half_to_all_of_the_length(longest: int) -> None:
    found = cpg_islands(longest)
    assert {split: len(several) for split, several in found.items()} == {
        "train": 4096,
        "validation": 512,
        "test": 1024,
    }
    for several in found.values():
        assert {len(bases) for bases, _ in several} == set(range(max(longest // 2, 1), longest + 1))
        assert [label for _, label in several] == sorted(label for _, label in several)
        assert sum(label == "island" for _, label in several) == len(several) // 2


def test_steps_are_those_of_the_book() -> None:
    several = cpg_islands(60)["train"]
    for label, after_c in (
        ("background", [0.322, 0.298, 0.078, 0.302]),
        ("island", [0.171, 0.368, 0.274, 0.187]),
    ):
        steps = np.zeros((4, 4))
        for bases, one in several:
            if one == label:
                np.add.at(steps, (bases[:-1], bases[1:]), 1)
        np.testing.assert_allclose(steps[1] / steps[1].sum(), after_c, atol=0.015)
    firsts = np.bincount([bases[0] for bases, _ in several], minlength=4) / len(several)
    np.testing.assert_allclose(firsts, 0.25, atol=0.03)
