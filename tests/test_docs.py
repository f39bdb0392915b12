"""What docs teach works as it stands: the tasks of docs/tasks.md, each trained as a plug-in."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result

DOCS = Path(__file__).parents[1] / "docs"
ONE_PROCESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "1"}
"""What `torchrun` sets for a single process."""

TASKS = dict(
    re.findall(
        r"```python\n# (\w+)\.py\n(.*?)```",
        (DOCS / "tasks.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
)
PAGES = ("checkpoints", "coming-from", "generation", "ideas", "inspect", "pytorch", "why", "zoo")
SNIPPETS = {
    f"{page}-{number}": code
    for page in PAGES
    for number, code in enumerate(
        re.findall(
            r"```python\n(.*?)```",
            (DOCS / f"{page}.md").read_text(encoding="utf-8"),
            re.DOTALL,
        )
    )
}
CLASSES = {name: re.findall(r"class (\w+)\(RowTask\)", code)[0] for name, code in TASKS.items()}
PRESETS = """
[seqsuite.presets]
majority = presets:PRESETS
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the tasks and a distribution that names them on the path."""
    for name, code in TASKS.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    (tmp_path / "presets.py").write_text(
        "PRESETS = {'cpu': {}, 'smoke': {'train': {'steps': 3, 'eval_every': 3}}}\n"
    )
    metadata = tmp_path / "plugins-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    points = "".join(f"{name} = {name}:{CLASSES[name]}\n" for name in TASKS)
    (metadata / "entry_points.txt").write_text(f"[seqsuite.tasks]\n{points}{PRESETS}")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in (*TASKS, "presets"):
        sys.modules.pop(name, None)


RECORDED = {
    "brackets": {"test/accuracy", "validation/accuracy"},
    "majority": {"test/accuracy", "baseline/accuracy"},
    "counting": {"test/bits_per_digit", "test/accuracy"},
    "repeat": {"test/accuracy", "test/length_64/accuracy", "test/length_128/accuracy"},
    "recall": {"test/accuracy", "test/pairs_8/accuracy", "test/pairs_4/accuracy"},
    "oscillator": {"test/mse", "test/mae"},
    "alternation": {"test/bits_per_letter", "sample/alternating"},
}


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize("name", RECORDED)
def test_each_task_of_the_docs_trains_and_records_what_it_says(
    seqsuite: Callable[..., Result], name: str
) -> None:
    import seqsuite as suite

    assert set(RECORDED) == set(TASKS)
    assert len([line for line in TASKS[name].splitlines() if line.strip()]) <= 40
    settings = [
        f"task={name}",
        "train.steps=4",
        "train.eval_every=4",
        "run.sample_length=8",
        "model.d_model=16",
    ]
    result = seqsuite("run", *settings, "run.experiment=docs")
    assert result.exit_code == 0, result.output
    (cell,) = suite.run(*settings, "run.experiment=docs")
    assert cell.outcome == "skipped"
    assert RECORDED[name] <= set(cell.metrics)


@pytest.mark.usefixtures("plugins")
def test_a_plug_in_has_scales_by_its_presets(seqsuite: Callable[..., Result]) -> None:
    planned = seqsuite("run", "task=majority", "scale=smoke", "--print-config")
    assert planned.exit_code == 0, planned.output
    assert "steps = 3" in planned.output


@pytest.mark.filterwarnings("ignore:DTensor random operators may not have complete support on cpu")
@pytest.mark.parametrize("name", SNIPPETS)
def test_what_the_pages_claim_holds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in ONE_PROCESS.items():
        monkeypatch.setenv(variable, value)
    try:
        exec(compile(SNIPPETS[name], name, "exec"), {})
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def test_no_page_has_a_sample_that_is_not_run() -> None:
    pages = {path.stem for path in DOCS.glob("*.md") if "```python" in path.read_text(encoding="utf-8")}
    assert pages == {*PAGES, "extending", "tasks"}  # test_extending.py, and above


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        str(DOCS),
        str(tmp_path),
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    for page in ("index", "generated/tasks/dna", "generated/studies/table1", "generated/cli", "python"):
        assert (tmp_path / f"{page}.html").exists()
    assert "<math " in (tmp_path / "ideas.html").read_text(encoding="utf-8")
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//[^"]*', page.read_text(encoding="utf-8")
        )
        assert not loaded, f"{page.name} needs a network"
