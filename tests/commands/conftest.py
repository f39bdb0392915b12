"""A finished run on a small text, for the commands that use trained models."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from seqsuite.cli import main

EXPERIMENT = "text"


@pytest.fixture(scope="session")
def text_run(shared_folder: Path) -> str:
    """Return the name of a finished run in the experiment ``text``, in the shared folder."""
    lines = [f"{n} times {n + 1} is {n * (n + 1)}: naïve, but true.\n" for n in range(400)]
    (shared_folder / "lines.txt").write_text("".join(lines), encoding="utf-8")
    settings = [
        "task=text",
        "task.path=lines.txt",
        "task.seqlen=64",
        "scale=smoke",
        "model.d_model=32",
        "train.steps=30",
        "train.eval_every=30",
        "run.sample_length=8",
        f"run.experiment={EXPERIMENT}",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared_folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        result = CliRunner(catch_exceptions=False).invoke(main, ["run", *settings])
    assert result.exit_code == 0, result.output
    return "text-mamba-smoke-seed0"
