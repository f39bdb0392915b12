"""The pages of docs/results are what their exports render to: no number on them is typed."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure

from seqsuite.report import Column, Report, Section
from seqsuite.report.pictures import svg_bytes
from seqsuite.results.benchmarks import Benchmark, export_benchmarks
from seqsuite.results.studies import load_studies

DOCS = Path(__file__).parents[2] / "docs"
MACHINE = {"processor": "a fast one", "cores": "2", "PyTorch": "2.11"}


@pytest.fixture(scope="module")
def renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_results", DOCS / "render_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["render_results"] = module  # dataclasses look for their module
    spec.loader.exec_module(module)
    return module


Rendered = tuple[dict[str, str], dict[str, Figure]]


@pytest.fixture(scope="module")
def rendered(renderer: ModuleType) -> Rendered:
    pages: Rendered = renderer.render(DOCS / "results", renderer.CARDS)
    return pages


def drawn(svg: str) -> tuple[str, npt.NDArray[np.float64]]:
    """Return what is drawn, in which colours and how, and where: no names, and no numbers in the first."""
    svg = re.sub(r"<dc:title>.*?</dc:title>", "", svg)  # which release of matplotlib drew it
    svg = re.sub(
        r"#[A-Za-z][A-Za-z0-9_.-]*(?=[\")])|id=\"[^\"]*\"", "", svg
    )  # names that come from the numbers
    number = r"(?<![\w#.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])"
    return re.sub(number, "", svg), np.array([float(found) for found in re.findall(number, svg)])


def test_the_pages_are_what_the_exports_say(rendered: Rendered) -> None:
    pages, pictures = rendered
    written = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "results").glob("*.md")}
    assert written == pages, "renew them by `make results`"
    assert {path.name for path in (DOCS / "results").glob("*.svg")} == set(pictures)


def test_the_times_of_studies_are_those_of_the_exports(renderer: ModuleType) -> None:
    assert json.loads(renderer.TIMES.read_text()) == renderer.seconds_a_cell(DOCS / "results")


def test_the_index_has_the_papers_studies_in_its_order_and_then_all_others(rendered: Rendered) -> None:
    names = re.findall(r"^\| \[.*?\]\((\w+)\.md\)", rendered[0]["index"], re.MULTILINE)
    of_paper = [name for name in names if re.fullmatch(r"(table|fig)\d+(context)?", name)]
    assert names[: len(of_paper)] == of_paper
    assert of_paper[:3] == ["table1", "table2", "fig4"]
    without = dict(re.findall(r"^- (\w+): (.*)$", rendered[0]["index"], re.MULTILINE))
    assert {*names, *without} >= set(load_studies()[0])
    assert not {*names} & {*without}
    assert without["table3"].endswith("With a model and questions of one's own it runs in the tests.")
    assert (
        of_paper.index("fig8")
        < of_paper.index("table6")
        < of_paper.index("table9")
        < of_paper.index("table10")
    )


@pytest.mark.parametrize("name", sorted(path.name for path in (DOCS / "results").glob("*.svg")))
def test_the_pictures_are_what_the_exports_say(rendered: Rendered, name: str) -> None:
    """To half a point: how numbers are rounded differs by machine, and letters by release of matplotlib."""
    what, where = drawn((DOCS / "results" / name).read_text(encoding="utf-8"))
    ours, there = drawn(svg_bytes(rendered[1][name]).decode())
    assert ours == what, "renew them by `make results`"
    np.testing.assert_allclose(there, where, atol=0.5, err_msg="renew them by `make results`")


def test_a_study_of_benchmarks_has_a_page_with_tables_picture_and_machine(
    renderer: ModuleType, tmp_path: Path
) -> None:
    columns = (
        Column("model", "model"),
        Column("seqlen", "L", "count"),
        Column("train_s", "train step", "seconds"),
    )
    rows = [{"model": "s4", "seqlen": seqlen, "train_s": seqlen / 1e4} for seqlen in (256, 1024)]
    section = Section("complexity", "Time by length", columns, rows, ["A note."], {"threads": 2})
    command = (
        "seqsuite bench complexity --shape 256 --shape 1024 --shape 4096 --peers mamba,s4,hyena,transformer++"
    )
    report = Report(command, MACHINE, [section])
    export_benchmarks([Benchmark("complexity", report, 90.0)], tmp_path / "s4table1.json")
    (tmp_path / "why.toml").write_text('s4table1 = "Short lengths hide the exponents."\n')
    pages, pictures = renderer.render(tmp_path)
    page = pages["s4table1"]
    assert list(pictures) == ["s4table1-cpu.svg"]
    assert "![What was measured; the tables below have the numbers](s4table1-cpu.svg)" in page
    assert "Short lengths hide the exponents." in page
    assert "1 of 1 benchmarks, 2 minutes" in page
    assert "processor: a fast one" in page
    assert "| s4 | 1 024 | 102 ms |" in page
    assert "A note." in page
    assert "(s4table1.md) | cpu | 1 of 1 benchmarks |" in pages["index"]
    assert json.loads((tmp_path / "s4table1.json").read_text())["benchmarks"][0]["what"] == "complexity"
