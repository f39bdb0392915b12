"""What docs/extending.md teaches works as it stands: a task and a layer, as plug-ins."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result

from seqsuite.models import MIXERS
from seqsuite.models.build import build_mixer
from seqsuite.options import named_options

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
SNIPPETS = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
ENTRY_POINTS = """
[seqsuite.tasks]
parity = parity:Parity
broken = nowhere:Task
[seqsuite.mixers]
ema = ema:EMA
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the snippets and a distribution that names them on the path."""
    for name, code in SNIPPETS.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    metadata = tmp_path / "plugins-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in SNIPPETS:
        sys.modules.pop(name.removesuffix(".py"), None)


@pytest.mark.usefixtures("plugins")
def test_the_pages_task_and_layer_train_together(seqsuite: Callable[..., Result]) -> None:
    assert set(SNIPPETS) == {"parity.py", "ema.py"}
    settings = ["task=parity", "task.length=16", "model.mixer=ema", "model.mixer.initial_decay=0.5"]
    result = seqsuite("run", *settings, "train.steps=5", "run.experiment=extending")
    assert result.exit_code == 0, result.output
    assert "accuracy" in result.output
    assert "Unlike the defaults: " in result.output
    listed = seqsuite("list").output
    assert "Parity: is the number of ones so far odd?" in " ".join(listed.split())
    refused = seqsuite("run", "task=parity", "task.size=16")
    assert refused.exit_code == 2
    assert "Unknown key 'task.size'" in refused.output


@pytest.mark.usefixtures("plugins")
def test_code_that_has_changed_since_is_told(seqsuite: Callable[..., Result], tmp_path: Path) -> None:
    small = ["task=parity", "task.length=8", "model.mixer=ema", "train.steps=2", "train.eval_every=2"]
    settings = [*small, "run.experiment=changed"]
    assert seqsuite("run", *settings).exit_code == 0
    again = seqsuite("run", *settings).output
    assert "finished before (run" in again
    (tmp_path / "ema.py").write_text(SNIPPETS["ema.py"] + "# faster\n", encoding="utf-8")
    changed = " ".join(seqsuite("run", *settings).output.split())
    assert "finished before, with other code of its plug-ins than now (run" in changed
    assert re.search(
        r"plug-ins +ema\.py \w{8}, parity\.py \w{8}",
        seqsuite("runs", "--experiment", "changed", "show", "latest").output,
    )


FAULTS = {  # of a layer, and what is said of each
    "return torch.stack(outputs, dim=1), None if": (
        "return torch.stack(outputs[1:], dim=1), None if",
        "of the shape of its inputs (B, L, D), which is (32, 8, 128), but returned (32, 7, 128)",
    ),
    "return torch.stack(outputs, dim=1), None if state is None else carried": (
        "return torch.stack(outputs, dim=1)",
        "must return two values, outputs and a state (or None, if it was given none), but returned a value",
    ),
    "decay = self.logit.sigmoid()": (
        "decay = self.logit.sigmoid() * float('nan')",
        "the loss is nan at step 1, before anything was learned",
    ),
}


@pytest.mark.parametrize("line", FAULTS)
@pytest.mark.usefixtures("plugins")
def test_a_layer_with_a_fault_is_told_of_it(
    seqsuite: Callable[..., Result], tmp_path: Path, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    faulty, said = FAULTS[line]
    assert line in SNIPPETS["ema.py"]
    (tmp_path / "ema.py").write_text(SNIPPETS["ema.py"].replace(line, faulty), encoding="utf-8")
    small = ["task=parity", "task.length=8", "model.mixer=ema", "train.steps=2", "train.eval_every=2"]
    ended = seqsuite("run", *small, "train.batch_size=32", "model.d_model=64", "run.experiment=faults")
    assert ended.exit_code == 1
    told = " ".join(ended.output.split())
    assert said in told
    assert ("EMA.forward (" in told) == ("returned" in said)
    assert "Traceback" not in capfd.readouterr().err  # PyTorch's own, of the estimate of memory


@pytest.mark.slow
@pytest.mark.usefixtures("plugins")
def test_the_pages_layer_gets_its_card(
    seqsuite: Callable[..., Result], shared_folder: Path, tmp_path: Path
) -> None:
    settings = ["model=mamba", "model.mixer=ema", "train.steps=2", "train.eval_every=2"]
    made = seqsuite("scorecard", *settings, "--scale", "smoke", "--experiment", "ema", "--output", "ema.html")
    assert made.exit_code == 0, made.output
    assert "mamba + mixer=ema: scorecard at scale=smoke" in made.stdout
    assert "an exponential moving average of each channel" in (shared_folder / "ema.html").read_text()
    command = ["scorecard", *settings, "--scale", "smoke", "--experiment", "ema", "--output", "ema.html"]
    (tmp_path / "ema.py").write_text(SNIPPETS["ema.py"] + "# faster\n", encoding="utf-8")
    changed = seqsuite(*command)
    assert "best on validation" not in changed.output  # nothing is run again
    said = "9 runs of mamba + mixer=ema had other code of its plug-ins than there is now: --force"
    assert said in changed.stdout
    assert said in (shared_folder / "ema.html").read_text()
    planned = seqsuite(*command, "--force", "--dry-run").stdout
    assert "0 of 18 cells of the learning rates are finished" in planned

    def stopped(console: object, cells: list[object], again: str, **options: object) -> None:
        stops.append((len(cells), again))

    stops: list[tuple[int, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqsuite.commands.scorecard.run_shown", stopped)
        assert seqsuite(*command, "--force").exit_code == 130
        assert seqsuite(*command).exit_code == 130  # goes on with what was to begin anew
    assert [count for count, _ in stops] == [18, 18]
    assert "--force" not in stops[1][1]
    anew = seqsuite(*command)
    assert anew.exit_code == 0, anew.output
    assert anew.output.count("best on validation") == 18
    assert "other code" not in anew.output


@pytest.mark.usefixtures("plugins")
def test_the_pages_layer_is_one_graph_when_compiled() -> None:
    layer = build_mixer(named_options(MIXERS, {"name": "ema"}), 8, 16)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(compiled(x)[0], layer(x=x)[0])


@pytest.mark.usefixtures("plugins")
def test_a_plugin_that_cannot_be_loaded_is_named(seqsuite: Callable[..., Result]) -> None:
    refused = seqsuite("run", "task=broken")
    assert refused.exit_code == 2
    assert "The task 'broken' is a plug-in that cannot be loaded from nowhere:Task" in refused.output


def test_the_readme_fits_a_screen_and_a_half_and_its_links_lead_somewhere() -> None:
    root = Path(__file__).parents[1]
    text = (root / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (root / link).exists()] == []
