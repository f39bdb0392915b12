"""The small plots of a card's page."""

import re

import pytest

from seqsuite.results.scorecard.plot import loglog_plot

from .drawn import check


def test_lengths_are_told_apart_by_mark_and_dash() -> None:
    lines = {
        f"a model whose name is long {place}"[place:]: [(64.0, 1e-4 * 4**place), (256.0, 0.001 * 4**place)]
        for place in range(7)
    }
    svg = loglog_plot("Train <step>", "seconds", lines, strong="a model whose name is long 0")
    further = loglog_plot("State", "bytes", {"one": [(8.0, 0.0), (16.0, 300.0)]}, strong="")
    check("plots.svg", f"{svg}\n{further}\n".replace("><", ">\n<"))
    assert loglog_plot("State", "bytes", {"none": [(8.0, 0.0)], "nor this": []}, strong="") == ""


def test_a_name_of_21_letters_is_whole_in_the_legend() -> None:
    for letters, shown in ((21, "x" * 21), (22, "x" * 20 + "…")):
        svg = loglog_plot("", "bytes", {"x" * letters: [(1.0, 1.0)]}, strong="")
        assert f">{shown}</text>" in svg


def test_every_name_of_the_legend_is_in_the_picture() -> None:
    for count, height in ((1, 210), (6, 210), (7, 224), (8, 224), (9, 238)):
        svg = loglog_plot("", "bytes", {f"{place}": [(1.0, 1.0)] for place in range(count)}, strong="")
        assert f'viewBox="0 0 300 {height}"' in svg
        assert float(re.findall(r'y="([\d.]+)">\d+</text>', svg)[-1]) == pytest.approx(
            height - 28.5 + 14 * min(2, (count - 1) // 2)
        )


@pytest.mark.parametrize(
    ("highest", "shown"),
    [
        (5.0, ["0.879", "5.69"]),  # one power of ten alone says nothing
        (10.0, ["1.00", "10.0"]),
        (1e6, ["1.00", "10.0", "100", "1.00 k", "10.0 k", "100 k", "1.00 M"]),
        (1e7, ["1.00", "100", "10.0 k", "1.00 M"]),  # of eight every second one
    ],
)
def test_powers_of_ten_are_marked_or_the_ends(highest: float, shown: list[str]) -> None:
    svg = loglog_plot("", "quantity", {"a": [(1.0, 1.0), (2.0, highest)]}, strong="")
    assert re.findall(r'text-anchor="end">([^<]*)<', svg) == shown
