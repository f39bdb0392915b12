"""Presets that come with a plug-in: as a table, or as a package with a TOML file."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.config.scales import preset, preset_layers

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs ``my_presets`` with a text, as the preset of the task ``mine``."""
    metadata = tmp_path / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")

    def install(point: str) -> None:
        (metadata / "entry_points.txt").write_text(f"[seqsuite.presets]\nmine = {point}\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    for name in [name for name in sys.modules if name.startswith("my_presets")]:
        del sys.modules[name]


TABLE = """
[cpu]
task.length = 16
train.steps = 7
models.mamba.d_model = 24
train_for.mamba.learning_rate = 0.5
"""


def test_a_package_holds_a_file_of_the_tasks_name(install: Install, tmp_path: Path) -> None:
    (tmp_path / "my_presets").mkdir()
    (tmp_path / "my_presets" / "__init__.py").touch()
    (tmp_path / "my_presets" / "mine.toml").write_text(TABLE)
    install("my_presets")
    assert preset_layers("mine", "mamba", "cpu") == [
        {"task": {"length": 16}, "train": {"steps": 7}},
        {"model": {"d_model": 24}},
        {"train": {"learning_rate": 0.5}},
    ]
    assert preset_layers("mine", "s4", "cpu")[1:] == [{"model": {}}, {"train": {}}]
    assert preset_layers("mine", "mamba", "gpu") == [{}, {"model": {}}, {"train": {}}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read from my_presets/mine.toml: "),
        ("[cpu", "cannot be read from my_presets/mine.toml: "),
    ],
)
def test_a_package_without_a_file_that_can_be_read_is_named(
    install: Install, tmp_path: Path, text: str | None, message: str
) -> None:
    (tmp_path / "my_presets").mkdir()
    (tmp_path / "my_presets" / "__init__.py").touch()
    if text is not None:
        (tmp_path / "my_presets" / "mine.toml").write_text(text)
    install("my_presets")
    with pytest.raises(UserError, match=message):
        preset("mine")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("PRESETS = 3", "is no table of scales: it is int"),
        ("PRESETS = {'cpu': 3}", "has no table at cpu"),
        ("PRESETS = {'smoke': {'train': 3}}", r"has no table at smoke\.train"),
        ("PRESETS = {'smoke': {'models': {'mamba': 3}}}", r"has no table at smoke\.models\.mamba"),
        ("PRESETS = {'smoke': {'train_for': {'s4': []}}}", r"has no table at smoke\.train_for\.s4"),
    ],
)
def test_what_is_no_preset_is_told_with_its_place(
    install: Install, tmp_path: Path, code: str, message: str
) -> None:
    (tmp_path / "my_presets.py").write_text(code)
    install("my_presets:PRESETS")
    with pytest.raises(UserError, match=message):
        preset("mine")


def test_a_table_may_set_values_that_are_no_tables(install: Install, tmp_path: Path) -> None:
    (tmp_path / "my_presets.py").write_text("PRESETS = {'smoke': {'train': {'steps': 3}, 'models': {}}}")
    install("my_presets:PRESETS")
    assert preset_layers("mine", "mamba", "smoke")[0] == {"train": {"steps": 3}}
    assert preset("no_such_task") == {}
