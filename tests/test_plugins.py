"""Plug-ins of other distributions: their presets, and their faults, which are theirs alone."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from seqsuite.errors import UserError
from seqsuite.experiments.config.keys import list_keys
from seqsuite.experiments.config.resolve import override_keys, resolve
from seqsuite.experiments.config.scales import preset
from seqsuite.experiments.failures import sentence
from seqsuite.registry import is_of_a_plugin

TASK = """
from seqsuite.options import PositiveInt

class Task:
    '''Good: a task of a plug-in.'''
    def __init__(self, *, seed: int, length: PositiveInt = 4) -> None: ...

PRESET = {"summary": "Mine", "smoke": {"task": {"length": 7}, "train": {"steps": 3}, "model": {"d_model": 5},
    "models": {"s4": {"n_layer": 9}}, "train_for": {"s4": {"steps": 4}}}}
WRONG = {"smoke": {"train": 3}}
"""
FAULTY = """
import numpy as np

from seqsuite.tasks.base import ModelIO
from seqsuite.tasks.rows import RowTask


class Whole(RowTask):
    def __init__(self, *, seed: int, times: tuple[int, ...] = (1,)) -> None:
        super().__init__(seed=seed)
        self.io = ModelIO(vocab_size=2, seqlen=4)

    def row(self, split, row):
        return np.random.default_rng(0).integers(3, 2, size=4), 0  # line 14: low is above high


class Raising(Whole):
    def __init__(self, *, seed: int) -> None:
        raise RuntimeError("no luck")


class NoIO(RowTask):
    def __init__(self, *, seed: int) -> None: ...

    def row(self, split, row): ...


class Abstract(RowTask):
    def __init__(self, *, seed: int) -> None: ...


class Exits(Whole):
    def __init__(self, *, seed: int) -> None:
        raise SystemExit(3)


class Unannotated(Whole):
    def __init__(self, *, seed: int, length=3) -> None: ...


class Required(Whole):
    def __init__(self, *, seed: int, length: int) -> None: ...


class Untyped(Whole):
    def __init__(self, *, seed: int, good: int = 1, table: np.ndarray = None) -> None: ...


class Forward(Whole):
    def __init__(self, *, seed: int, table: "Nowhere" = None) -> None: ...


class Named(Whole):
    def __init__(self, *, seed: int, name: str = "x") -> None: ...


class Several(Whole):
    def __init__(
        self, *, seed: int, words: list[str] = ["x"], pairs: tuple[float, ...] | None = None,
        table: dict[str, int] = {}, nested: tuple[tuple[int, ...], ...] = (),
    ) -> None: ...


def function(samples, task): ...


class Mixer:
    def __init__(self, d_model: int) -> None:
        raise RuntimeError("no layer")


class Odd:
    def __init__(self, d_model: int) -> None:
        raise ValueError("odd")


TABLE = {}
TWO = {"smoke": {}, "cpu": {}}
SMALL = {"summary": "Mine", "smoke": {}, "small": {}}
MODEL = {"smoke": {"train_for": {"mmaba": {"steps": 3}}}}
TRIAN = {"smoke": {"trian": {"steps": 3}}}
OPTION = {"smoke": {"task": {"tmes": [1]}}}
VALUE = {"smoke": {"train": {"steps": "many"}}}
UNSUMMED = {"smoke": {"train": {"steps": 3}}}
"""
NAMES = {
    "whole": "Whole", "init": "Raising", "no_io": "NoIO", "abstract": "Abstract", "exits": "Exits",
    "unannotated": "Unannotated", "required": "Required", "untyped": "Untyped", "forward": "Forward",
    "named": "Named", "several": "Several", "function": "function", "table": "TABLE",
    **dict.fromkeys(("two", "small", "model", "trian", "option", "value", "unsummed"), "Whole"),
}  # fmt: skip
PRESETS = {name: name.upper() for name in ("two", "small", "model", "trian", "option", "value", "unsummed")}
FILES = {
    "good_plugin.py": TASK,
    "faulty_plugin.py": FAULTY,
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
nobody = faulty_plugin:TWO
"""
ENTRY_POINTS += "\n".join(f"{name} = faulty_plugin:{point}" for name, point in PRESETS.items())
ENTRY_POINTS += (
    "\n[seqsuite.mixers]\nno_layer = faulty_plugin:Mixer\nodd = faulty_plugin:Odd\n[seqsuite.tasks]\n"
)
ENTRY_POINTS += "\n".join(f"{name} = faulty_plugin:{point}" for name, point in NAMES.items())


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
    assert resolve({"task": "two"}).train.steps == 1000
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


PLANNED = [
    (
        "task=init",
        "The task 'init' cannot be made by faulty_plugin.Raising: RuntimeError: no luck (",
        "line 19",
    ),
    ("task=no_io", "The task 'no_io' cannot be used: faulty_plugin.NoIO sets no io", ""),
    ("task=abstract", "cannot be made by faulty_plugin.Abstract: TypeError: Can't instantiate", ""),
    ("task=exits", "cannot be made by faulty_plugin.Exits: SystemExit: 3 (", ""),
    ("task=table", "The task 'table' is no class but a dict", ""),
    (
        "task=function",
        "The option 'samples' of faulty_plugin.function, the task 'function', has no default",
        "",
    ),
    (
        "task=whole model.mixer=no_layer",
        "The model 'mamba' cannot be built: RuntimeError: no layer (",
        "faulty_plugin.py, line 69",
    ),
    (
        "task=whole model.mixer=odd",
        "The model 'mamba' cannot be built: ValueError: odd (",
        "faulty_plugin.py, line 74",
    ),
]


@pytest.mark.parametrize(("settings", "said", "also"), PLANNED, ids=[case[0] for case in PLANNED])
@pytest.mark.parametrize("options", [["--dry-run"], []], ids=["planned", "run"])
def test_what_a_plugin_raises_is_a_sentence_planned_or_run(
    seqsuite: Callable[..., Result], settings: str, said: str, also: str, options: list[str]
) -> None:
    ended = seqsuite("run", *settings.split(), *options)
    assert ended.exit_code == 2
    told = ended.output.splitlines()[-1]
    assert told.startswith("Error: ")
    assert said in told
    assert also in told


def test_a_plan_goes_on_without_the_cells_of_a_plugin_that_fails(seqsuite: Callable[..., Result]) -> None:
    planned = seqsuite("run", "task=init,whole", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "Cannot run: init-mamba-cpu-seed0: The task 'init' cannot be made" in planned.output
    assert "whole-mamba-cpu-seed0" in planned.output


def test_a_studys_plan_does_too(seqsuite: Callable[..., Result], tmp_path: Path) -> None:
    study = tmp_path / "mine.toml"
    study.write_text('title = "Mine"\nsource = "me"\n[grids]\nsmoke = ["task=init,whole"]\n')
    planned = seqsuite("reproduce", str(study), "--scale", "smoke", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "Cannot run: init-mamba-smoke-seed0: The task 'init' cannot be made" in planned.output


def test_a_value_in_place_of_a_list_or_a_table_is_told_how_they_are_written() -> None:
    for task, key, said in [
        ("several", "task.words", r"as in task\.words=\[a,b\]"),
        ("several", "task.pairs", r"as in task\.pairs=\[1,2\]"),
        ("several", "task.table", r"table, .* as in task\.table\.NAME=VALUE"),
    ]:
        with pytest.raises(UserError, match=f"^{key}=3 cannot be used: it takes .*{said}"):
            resolve({"task": task, key: "3"})
    with pytest.raises(UserError, match=r"as in task\.nested=\[\[1,2\]\]"):
        resolve({"task": "several", "task.nested": ["1", "2"]})


def test_widths_for_a_plugin_that_fails_are_refused_in_a_sentence(seqsuite: Callable[..., Result]) -> None:
    matched = seqsuite("run", "task=init", "model=mamba,s4d", "model.match=params", "--dry-run")
    assert (matched.exit_code, "The task 'init' cannot be made" in matched.output) == (2, True)


@pytest.mark.slow
def test_the_scorecard_of_a_layer_that_fails_is_refused_in_a_sentence(
    seqsuite: Callable[..., Result],
) -> None:
    card = seqsuite("scorecard", "model=mamba", "model.mixer=no_layer", "--scale", "smoke", "--dry-run")
    assert (card.exit_code, "RuntimeError: no layer (" in card.output) == (2, True)


OPTIONS = [
    ("unannotated", "The option 'length' of faulty_plugin.Unannotated has no annotation"),
    ("required", "The option 'length' of faulty_plugin.Required, the task 'required', has no default"),
    ("untyped", "The option 'table' of faulty_plugin.Untyped cannot be set, as its type is numpy.ndarray"),
    ("forward", "The annotations of faulty_plugin.Forward cannot be read: NameError: name 'Nowhere'"),
    ("named", "No option can be called 'name', as one of faulty_plugin.Named is"),
]


@pytest.mark.parametrize(("task", "said"), OPTIONS)
def test_an_option_that_cannot_be_set_is_named_with_its_class(task: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        resolve({"task": task})
    with pytest.raises(UserError, match=re.escape(said)):
        list_keys(f"task={task}")


def test_the_options_of_others_are_listed_all_the_same(seqsuite: Callable[..., Result]) -> None:
    listed = seqsuite("keys", "task.")
    assert listed.exit_code == 0, listed.output
    for _, said in OPTIONS:
        assert f"Left out: {said}" in listed.output
    assert "task.times = [1]  (of whole)" in listed.output
    assert "Left out" not in seqsuite("keys", "train").output
    assert "task.length" in override_keys(None, None)
    assert override_keys("unannotated", None)["task.length"] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"task": "small"},
            "preset of the task 'small' has an unknown scale 'small': choose from smoke, cpu",
        ),
        ({"task": "model"}, "unknown model 'mmaba' at smoke.train_for: .* Did you mean 'mamba'"),
        ({"task": "trian"}, "unknown table 'trian' at smoke: .* Did you mean 'train'"),
        (
            {"task": "option"},
            "preset of the task 'option' at scale=smoke is at fault: .*Did you mean 'task.times'",
        ),
        ({"task": "value"}, "preset of the task 'value' at scale=smoke is at fault: train.steps=many"),
        (
            {"task": "unsummed", "scale": "paper"},
            "'unsummed' has no preset for scale=paper: choose scale=smoke",
        ),
        ({"task": "two", "scale": "gpu"}, "for scale=gpu: choose scale=smoke or scale=cpu"),
        ({"task": "whole", "task.times": "1"}, r"task.times=1 cannot be used: .* as in task.times=\[1,2\]"),
    ],
    ids=lambda case: str(case),
)
def test_a_preset_with_a_typo_or_without_the_scale_is_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve({"scale": "smoke", **settings})


def test_a_fault_of_the_users_is_not_the_presets() -> None:
    with pytest.raises(UserError, match=r"^train.steps=few cannot be used"):
        resolve({"task": "unsummed", "scale": "smoke", "train.steps": "few"})


def test_a_task_without_a_preset_says_so(seqsuite: Callable[..., Result]) -> None:
    said = "The task 'whole' has no preset: scale=paper sets nothing, and defaults are used."
    assert said in seqsuite("run", "task=whole", "scale=paper", "--dry-run").output
    assert "has no preset" not in seqsuite("run", "task=two", "--dry-run").output


def test_all_presets_are_listed(seqsuite: Callable[..., Result]) -> None:
    listed = " ".join(seqsuite("list").output.partition("presets")[2].split())
    assert "unsummed No summary (scale=smoke)" in listed
    assert "nobody Of no task: none is called 'nobody'" in listed


def test_the_line_named_is_the_plugins_where_a_library_raises() -> None:
    task = resolve({"task": "whole"}).make_task()
    with pytest.raises(ValueError, match="low >= high") as caught:
        task.train_batch(range(2))
    assert re.search(r"ValueError in .*faulty_plugin\.py, line 14: low >= high", sentence(caught.value))
    assert is_of_a_plugin(caught.value)
