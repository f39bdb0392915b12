"""Plug-ins of other distributions: their presets, and their faults, which are theirs alone."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.scales import preset

TASK = """
from seqsuite.options import PositiveInt

class Task:
    '''Good: a task of a plug-in.'''
    def __init__(self, *, seed: int, length: PositiveInt = 4) -> None: ...

PRESET = {"summary": "Mine", "smoke": {"task": {"length": 7}, "train": {"steps": 3}, "model": {"d_model": 5},
    "models": {"s4": {"n_layer": 9}}, "train_for": {"s4": {"steps": 4}}}}
WRONG = {"smoke": {"train": 3}}
"""
FILES = {
    "good_plugin.py": TASK,
    "exiting_plugin.py": "import sys\n\nsys.exit(3)\n",
    "raising_plugin.py": "def go():\n    raise RuntimeError('no luck\\nat all')\n\n\ngo()\n",
    "torn_plugin.py": "x = (\n",
    "preset_package/__init__.py": "",
    "preset_package/packaged.toml": "[cpu.train]\nsteps = 77\n",
}
ENTRY_POINTS = """
[seqsuite.tasks]
good = good_plugin:Task
packaged = good_plugin:Task
wrong = good_plugin:Task
unpacked = good_plugin:Task
exiting = exiting_plugin:Task
raising = raising_plugin:Task
torn = torn_plugin:Task
[seqsuite.models]
dying = exiting_plugin:model
[seqsuite.presets]
good = good_plugin:PRESET
wrong = good_plugin:WRONG
packaged = preset_package
unpacked = preset_package
exiting = exiting_plugin:PRESET
"""


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    metadata = tmp_path / "others-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    for name in FILES:
        monkeypatch.delitem(sys.modules, name.partition("/")[0].removesuffix(".py"), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("exiting", r"SystemExit: 3 \(.*exiting_plugin\.py, line 3\)"),
        ("raising", r"RuntimeError: no luck at all \(.*raising_plugin\.py, line 2\)"),
        ("torn", r"SyntaxError: .* \(.*torn_plugin\.py, line 1\)"),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_file_and_line(task: str, said: str) -> None:
    with pytest.raises(UserError, match=f"The task '{task}' is a plug-in that cannot be loaded.*{said}"):
        resolve({"task": task})


def test_the_others_are_listed_all_the_same(seqsuite: Callable[..., Result]) -> None:
    listed = seqsuite("list")
    assert listed.exit_code == 0
    for name in ("Good: a task of a plug-in", "exiting_plugin.py, line 3", "transformer", "Mine", "paper"):
        assert name in listed.output
    assert seqsuite("keys", "task").exit_code == 0
    refused = seqsuite("run", "task=dna", "train.step=3")
    assert "Did you mean 'train.steps'" in refused.output


def test_presets_of_plugins_give_scales_a_meaning() -> None:
    smoke = resolve({"task": "good", "scale": "smoke"})
    assert (smoke.task.arguments()["length"], smoke.train.steps, smoke.model.d_model) == (7, 3, 5)
    s4 = resolve({"task": "good", "scale": "smoke", "model": "s4"})
    assert (s4.model.n_layer, s4.train.steps) == (9, 4)
    assert resolve({"task": "good"}).train.steps == 1000
    assert resolve({"task": "packaged"}).train.steps == 77


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("wrong", "The preset of the task 'wrong' has no table at smoke.train"),
        ("unpacked", r"cannot be read from preset_package/unpacked\.toml"),
        ("exiting", r"The preset 'exiting' is a plug-in that cannot be loaded"),
    ],
)
def test_a_preset_that_cannot_be_read_is_named(task: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        preset(task)
