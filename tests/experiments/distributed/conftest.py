"""Processes that train cells together."""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("train_as.py")

Curves = dict[str, dict[tuple[str, int], float]]


@pytest.fixture
def train_together(tmp_path: Path) -> Callable[[dict[str, dict[str, str]], int], Curves]:
    """Return a function that trains cases on a number of processes and returns every process's curves."""
    calls = count()

    def run(cases: dict[str, dict[str, str]], world: int) -> Curves:
        folder = tmp_path / f"call{next(calls)}"
        folder.mkdir()
        (folder / "cases.json").write_text(json.dumps(cases))
        processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    str(SCRIPT),
                    str(folder / "cases.json"),
                    str(rank),
                    str(world),
                    str(folder / "store"),
                    str(tmp_path / "runs"),
                    str(folder / f"{rank}.json"),
                ],
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        errors = [process.communicate()[1] for process in processes]
        assert [process.returncode for process in processes] == [0] * world, "\n".join(errors)
        found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]
        assert all(each == found[0] for each in found)
        return {
            name: {(key, step): value for key, step, value in points} for name, points in found[0].items()
        }

    return run
