"""The numbers of the page on generation, at a small size."""

import re

import pytest
from click.testing import CliRunner

from seqsuite.commands.measure_generation import main


@pytest.mark.slow
def test_recurrent_states_stay_and_caches_grow() -> None:
    arguments = ["--model", "s4d", "--model", "transformer++", "--tokens", "200", "--tokens", "400"]
    shown = CliRunner(catch_exceptions=False).invoke(main, [*arguments, "--d-model", "16", "--n-layer", "1"])
    assert shown.exit_code == 0, shown.output
    rows = re.findall(r"\| (\S+) \| (\d+) \| ([\d.]+) KiB \| [\d.,]+ MiB \| [\d,]+ \|", shown.output)
    assert [row[:2] for row in rows] == [
        (name, tokens) for name in ("s4d", "transformer++") for tokens in ("200", "400")
    ]
    sizes = [float(size) for *_, size in rows]
    assert sizes[0] == sizes[1]
    assert sizes[3] - sizes[2] == 200 * 2 * 16 * 4 / 1024
