"""The figures of docs/ideas.md are those that its script draws today, and show what the page says."""

from pathlib import Path

import ideas_figures
import numpy as np
import pytest
from matplotlib.figure import Figure

from seqsuite.report.pictures import svg_bytes

from .test_pages_of_docs import drawn

PAGE = Path(ideas_figures.__file__).parent / "ideas.md"


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return ideas_figures.figures()


def test_each_figure_is_on_the_page_as_it_is_drawn_today(figures: dict[str, Figure]) -> None:
    for name, figure in figures.items():
        assert f"(images/{name})" in PAGE.read_text(encoding="utf-8")
        what, where = drawn((ideas_figures.IMAGES / name).read_text(encoding="utf-8"))
        ours, there = drawn(svg_bytes(figure).decode())
        assert ours == what, "renew it by `python docs/ideas_figures.py`"
        np.testing.assert_allclose(there, where, atol=0.5, err_msg=name)


def test_a_figure_has_the_same_bytes_each_time() -> None:
    assert svg_bytes(ideas_figures.modes()) == svg_bytes(ideas_figures.modes())


def test_s4s_two_modes_arrive_at_the_same_outputs() -> None:
    _, _, recurrence, convolution = ideas_figures.two_modes()
    np.testing.assert_allclose(recurrence, convolution, atol=1e-6)
