"""How time and memory grow with length: what is counted is exact, what is measured is there."""

import pytest

from seqsuite.bench.complexity import exponents, measure
from seqsuite.experiments.config.resolve import resolve_model


@pytest.mark.parametrize(
    ("name", "operations", "state"), [("mamba", 1.0, 0.0), ("s4d", 1.02, 0.0), ("transformer++", 2.0, 1.0)]
)
def test_exponents_are_those_of_the_layer(name: str, operations: float, state: float) -> None:
    config = resolve_model(name, {"d_model": 16, "n_layer": 1})
    found = measure(config, [16, 32], limit_s=60.0, repeats=1)
    assert [growth.seqlen for growth in found] == [16, 32]
    row = exponents(config, found)
    assert (row["training"], row["inference"]) == {
        "mamba": ("O(L)", "O(1)"),
        "s4d": ("O(L log L)", "O(1)"),
        "transformer++": ("O(L²)", "O(L)"),
    }[name]
    assert row["counted"] == pytest.approx(operations, abs=0.03)
    assert row["state_slope"] == pytest.approx(state, abs=0.01)
    assert all(row[key] is not None for key in ("train_slope", "decode_slope", "memory_slope"))


def test_a_step_over_the_limit_is_the_last() -> None:
    config = resolve_model("mamba", {"d_model": 16, "n_layer": 1})
    assert len(measure(config, [16, 32, 64], limit_s=0.0, repeats=1)) == 1
