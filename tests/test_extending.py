"""What docs/extending.md teaches works as it stands: a task and a layer, as plug-ins."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

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


@pytest.mark.slow
@pytest.mark.usefixtures("plugins")
def test_the_pages_layer_gets_its_card(seqsuite: Callable[..., Result], shared_folder: Path) -> None:
    settings = ["model=mamba", "model.mixer=ema", "train.steps=2", "train.eval_every=2"]
    made = seqsuite("scorecard", *settings, "--scale", "smoke", "--experiment", "ema", "--output", "ema.html")
    assert made.exit_code == 0, made.output
    assert "mamba + mixer=ema: scorecard at scale=smoke" in made.stdout
    assert "an exponential moving average of each channel" in (shared_folder / "ema.html").read_text()


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
