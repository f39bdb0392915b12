"""The table of docs/pytorch.md: every model, every property, and a test behind each cell."""

import re
from pathlib import Path

from seqsuite.models import MODELS, citizenship

PAGE = Path(__file__).parents[2] / "docs" / "pytorch.md"


def test_every_cell_is_a_test_that_passes() -> None:
    page = PAGE.read_text(encoding="utf-8")
    heads, _, *rows = re.findall(r"^\|.*\|$", page.partition("<!-- end -->")[0], flags=re.MULTILINE)
    titles = [title.strip() for title in heads.strip("|").split("|")][1:]
    cells = {row.split("|")[1].strip(" `"): [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    assert set(cells) == set(MODELS.names())
    assert all(row == ["yes"] * len(titles) for row in cells.values())
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_t*.py"))
    for title in titles:
        assert f"def {citizenship.PROPERTIES[title]}(name: str" in tests


def test_a_failed_or_missing_test_is_a_no(tmp_path: Path) -> None:
    cases = [
        *(f'<testcase name="test_pickle[{name}]"/>' for name in MODELS.names() if name != "s4"),
        '<testcase name="test_half_precision[float16-mamba]"/>',
        '<testcase name="test_half_precision[bfloat16-mamba]"><failure/></testcase>',
        '<testcase name="test_half_precision[bfloat16-transformer++]"/>',
        '<testcase name="test_something_else"/>',
    ]
    report, page = tmp_path / "report.xml", tmp_path / "page.md"
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    page.write_text("before\n<!-- citizenship -->\nold\n<!-- end -->\nafter\n")
    citizenship.main([str(page), str(report)])
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "| model | pickle | half |" in lines
    assert {"| `s4` | no | no |", "| `mamba` | yes | no |", "| `transformer++` | yes | yes |"} <= set(lines)
