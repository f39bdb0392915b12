"""The notebook of docs runs as it stands, cell after cell, and says what it shows."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = json.loads((Path(__file__).parents[1] / "docs" / "python.ipynb").read_text(encoding="utf-8"))


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; return the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_every_cell_runs_and_shows_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    names: dict[str, Any] = {"__name__": "notebook"}
    shown = [
        run_cell("".join(cell["source"]), names) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"
    ]
    runs, table, sample, inspected, loss, same = shown
    assert [outcome for outcome, *_ in runs] == ["finished", "finished"]
    assert sorted(table["model"]) == ["mamba", "s4"]
    assert len(sample) == 40
    assert set(sample) <= set("ACGTN")
    assert inspected["delta"][1][:2] == ("batch", "position")
    assert loss < 5
    assert same is True
