"""The small plots of a card's page."""

import re

import pytest

from seqsuite.report.pictures import look
from seqsuite.results.scorecard.plot import Points, loglog_plot

from .drawn import check


def plot(title: str, unit: str, lines: dict[str, Points], *, strong: str = "") -> str:
    seen = {name: look(place) for place, name in enumerate(lines)}
    return loglog_plot(title, unit, lines, seen, strong=strong)


def test_lengths_are_told_apart_by_mark_and_dash() -> None:
    lines: dict[str, Points] = {
        f"a model whose name is long {place}"[place:]: [(64.0, 1e-4 * 4**place), (256.0, 0.001 * 4**place)]
        for place in range(13)
    }
    svg = plot("Train <step>", "seconds", lines, strong="a model whose name is long 0")
    further = plot("State", "bytes", {"one": [(8.0, 0.0), (16.0, 300.0)]})
    check("plots.svg", f"{svg}\n{further}\n".replace("><", ">\n<"))
    assert plot("State", "bytes", {"none": [(8.0, 0.0)], "nor this": []}) == ""


def test_a_name_of_42_letters_is_whole_in_the_legend() -> None:
    for letters, shown in ((42, "x" * 42), (43, "x" * 41 + "…")):
        assert f">{shown}</text>" in plot("", "bytes", {"x" * letters: [(1.0, 1.0)]})


def test_long_names_have_a_row_of_the_legend_each() -> None:
    for letters, places in ((16, ["35", "185", "35"]), (17, ["35", "35", "35"])):
        names = ["x" * letters, "y", "z"]
        svg = plot("", "bytes", {name: [(1.0, 1.0)] for name in names})
        assert [re.findall(rf'<text x="(\d+)"[^>]*>{name}<', svg)[0] for name in names] == places


def test_every_name_of_the_legend_is_in_the_picture() -> None:
    for count, height in ((1, 214), (6, 214), (7, 228), (8, 228), (9, 242)):
        svg = plot("", "bytes", {f"{place}": [(1.0, 1.0)] for place in range(count)})
        assert f'viewBox="0 0 300 {height}"' in svg
        assert float(re.findall(r'y="([\d.]+)">\d+</text>', svg)[-1]) == pytest.approx(
            height - 32.5 + 14 * min(2, (count - 1) // 2)
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
    svg = plot("", "quantity", {"a": [(1.0, 1.0), (2.0, highest)]})
    assert re.findall(r'text-anchor="end">([^<]*)<', svg) == shown
