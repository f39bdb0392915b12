"""The table of docs/pytorch.md, made from a report of the tests.

``pytest tests/models --junitxml=REPORT`` writes the report, and the table is renewed by
``python -m seqsuite.models.citizenship docs/pytorch.md REPORT``.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from seqsuite.models import MODELS
from seqsuite.report import Column
from seqsuite.report.markup import markdown_table

PROPERTIES = {
    "pickle": "test_pickle",
    "deepcopy": "test_deepcopy",
    "meta": "test_meta_init",
    "half": "test_half_precision",
    "DDP": "test_ddp",
    "FSDP2": "test_fsdp2",
    "int8": "test_quantize",
    "adapters": "test_adapters_in_the_place_of_linear_layers",
    "compile": "test_compiles_as_one_graph_at_any_length",
    "export": "test_exports_with_batch_and_length_dynamic",
    "func.grad": "test_grad",
    "vmap(grad)": "test_gradients_of_each_example",
    "ensemble": "test_an_ensemble",
    "jvp": "test_jvp",
}
"""Columns, and the tests behind them: each takes the name of a model."""


def table(report: Path) -> str:
    """Return which tests passed for each model; columns without any test in the report are left out."""
    passed = _outcomes(report)
    columns = {title: test for title, test in PROPERTIES.items() if test in passed}
    rows = [
        (f"`{name}`", *("yes" if passed[test].get(name, False) else "no" for test in columns.values()))
        for name in MODELS.names()
    ]
    return markdown_table([Column(head, head) for head in ("model", *columns)], rows).rstrip()


def _outcomes(report: Path) -> Mapping[str, Mapping[str, bool]]:
    """Return for each test and model whether all its cases passed."""
    found: dict[str, dict[str, bool]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        test, _, parameters = case.get("name", "").rstrip("]").partition("[")
        model = next((part for part in parameters.split("-") if part in MODELS.names()), None)
        if model is None:
            continue
        ok = not any(child.tag in ("failure", "error", "skipped") for child in case)
        cases = found.setdefault(test, {})
        cases[model] = cases.get(model, True) and ok
    return found


def main(arguments: Sequence[str]) -> None:
    """Renew the table between ``<!-- citizenship -->`` and ``<!-- end -->`` of a page from a report."""
    page, report = map(Path, arguments)
    made = f"<!-- citizenship -->\n{table(report)}\n<!-- end -->"
    text = page.read_text(encoding="utf-8")
    page.write_text(
        re.sub(r"<!-- citizenship -->\n.*?<!-- end -->", made, text, flags=re.DOTALL), encoding="utf-8"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
