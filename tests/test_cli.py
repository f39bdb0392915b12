"""The commands as users call them, and what bad input is answered with."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import Result

from seqsuite.experiments.tracking.store import open_store

Seqsuite = Callable[..., Result]
QUICK = ("task=selective_copying", "scale=smoke", "train.steps=6", "train.eval_every=3")


def test_a_grid_runs_is_skipped_on_a_rerun_and_shown(seqsuite: Seqsuite) -> None:
    grid = [*QUICK, "model=mamba,transformer", "seed=0..1", "run.experiment=grid"]
    first = seqsuite("run", *grid)
    assert first.exit_code == 0, first.output
    assert "mamba" in first.output
    assert "Look next" in first.output
    again = seqsuite("run", *grid)
    assert again.exit_code == 0
    assert again.output.count("finished before") == 4
    store = open_store("grid")
    cells = store.search("tags.`seqsuite.kind` = 'cell'")
    assert len(cells) == 4
    artifacts = {path.path for path in store.client.list_artifacts(cells[0].run_id)}
    assert {"loss_curve.png", "last"} <= artifacts

    table = seqsuite("results", "model=mamba", "--format", "json", "--experiment", "grid")
    section, *_ = json.loads(table.output)["sections"]
    (row,) = section["rows"]
    assert (section["task"], row["model"], len(row["values"])) == ("selective_copying", "mamba", 2)


def test_generation_continues_the_prompt(seqsuite: Seqsuite, shared_folder: Path) -> None:
    trained = seqsuite(
        "run",
        "task=dna",
        "model=s4d",
        "scale=smoke",
        "train.steps=4",
        "run.experiment=gen",
        "run.sample_length=20",
    )
    assert trained.exit_code == 0, trained.output
    made = seqsuite("generate", "latest", "--length", "30", "--output", "made.fasta", "--experiment", "gen")
    assert made.exit_code == 0, made.output
    header, *bases = (shared_folder / "made.fasta").read_text().splitlines()
    assert header.startswith(">")
    assert set("".join(bases)) <= set("ACGTN")
    assert len("".join(bases)) >= 30
    for arguments, message in [
        (["nope"], "No finished run 'nope'"),
        (["latest", "--output", "made.wav"], "writes .fasta files"),
        (["latest", "--length", "3", "--output", "missing/made.fasta"], "cannot be written"),
    ]:
        refused = seqsuite("generate", *arguments, "--experiment", "gen")
        assert refused.exit_code == 2
        assert message in refused.output


def test_a_dry_run_lists_the_cells_and_writes_nothing(
    seqsuite: Seqsuite, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = seqsuite(
        "run", "task=selective_copying", "model.block=none,mamba", "model.mixer=s4d,s6", "--dry-run"
    )
    assert shown.exit_code == 0, shown.output
    assert "4 cells" in shown.output
    assert list(tmp_path.iterdir()) == []


def test_a_printed_cell_is_run_from_its_file_and_a_grid_of_it(
    seqsuite: Seqsuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = seqsuite("run", *QUICK, "model.mixer=s4d", "run.experiment=file", "--print-config")
    assert printed.exit_code == 0, printed.output
    (tmp_path / "cell.toml").write_text(printed.output)
    again = seqsuite("run", "--config", "cell.toml", "--print-config")
    assert again.output == printed.output
    grid = printed.output + '[grid]\n"model.d_model" = [8, 16]\nseed = "0..1"\n'
    (tmp_path / "grid.toml").write_text(grid)
    shown = seqsuite("run", "--config", "grid.toml", "--dry-run").output
    assert "4 cells" in shown
    assert "selective_copying-mamba[mixer=s4d,d_model=16]-smoke-seed1" in shown
    paired = seqsuite("run", "--config", "grid.toml", "train.steps=7", "--zip", "--dry-run").output
    assert "2 cells" in paired
    assert "selective_copying-mamba[mixer=s4d,d_model=8]-smoke-seed0" in paired
    refused = seqsuite("run", "--config", "grid.toml", "--print-config")
    assert refused.exit_code == 2
    assert "prints one cell, and these are 4" in refused.output
    ran = seqsuite("run", "--config", "cell.toml", "train.steps=2", "run.name=short one")
    assert ran.exit_code == 0, ran.output
    assert "short one: test accuracy" in ran.output


def test_keys_are_listed(seqsuite: Seqsuite) -> None:
    listed = seqsuite("keys", "train.steps")
    assert listed.output.startswith("train.steps = 1000\n    whole number > 0. Optimizer steps.\n")
    assert seqsuite("keys", "trian").exit_code == 2


def test_lists_and_doctor_name_what_there_is(seqsuite: Seqsuite) -> None:
    listed, examined = seqsuite("list"), seqsuite("doctor")
    assert listed.exit_code == examined.exit_code == 0
    for name in ("selective_copying", "piano", "mamba", "transformer", "s6", "smoke"):
        assert name in listed.output
    for name in ("torch", "selective_scan", "samples"):
        assert name in examined.output


BAD_DATA = {
    "no_bases.fasta": b">empty\n\n",
    "binary.fasta": bytes(range(256)),
    "short.txt": b"too short",
}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["task=dnb"], "Did you mean 'dna'"),
        (["task=dna", "modle=mamba"], "Did you mean 'model'"),
        (["task=dna", "model=manba"], "Did you mean 'mamba'"),
        (["task=dna", "train.steps=ten"], "train.steps=ten"),
        (["task=dna", "train.steps=-5"], "train.steps=-5"),
        (["model=mamba"], "Which task"),
        (["mamba"], "is not a setting"),
        (["task=dna", "task.path=missing.fa"], "missing.fa"),
        (["task=dna", "task.path=no_bases.fasta"], "no_bases.fasta"),
        (["task=dna", "task.path=binary.fasta"], "binary.fasta"),
        (["task=text", "task.path=short.txt"], "short.txt"),
        (["task=text", "task.path=empty_folder"], "empty_folder"),
        (["task=piano", "task.path=silent.wav"], "silent.wav"),
        (["task=selective_copying", "task.num_tokens=999"], "task.num_tokens=999"),
        (["task=selective_copying", "model=transformer", "model.d_model=20"], "divisible by n_heads"),
        (["task=selective_copying", "run.device=cuda"], "run.device=cuda"),
        (["task=selective_copying", "run.output=a_file/runs"], "a_file"),
        (["task=selective_copying", "run.experiment=a,b"], "run.experiment"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    seqsuite: Seqsuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str], message: str
) -> None:
    data = tmp_path / "data"
    (data / "empty_folder").mkdir(parents=True)
    (data / "a_file").write_text("")
    for name, content in BAD_DATA.items():
        (data / name).write_bytes(content)
    soundfile.write(data / "silent.wav", np.zeros(0), 16_000)
    before = sorted(data.rglob("*"))
    monkeypatch.chdir(data)
    refused = seqsuite("run", *settings)
    assert refused.exit_code == 2, refused.output
    assert refused.output.startswith("Error: ")
    assert refused.output.count("\n") == 1
    assert message in refused.output
    assert sorted(data.rglob("*")) == before


def test_no_store_is_one_sentence(
    seqsuite: Seqsuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = seqsuite("results")
    assert shown.exit_code == 2
    assert "seqsuite run" in shown.output
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    refused = seqsuite("run", *QUICK)
    assert refused.exit_code == 2
    assert "http://127.0.0.1:9" in refused.output
    assert refused.output.count("\n") == 1


def test_a_read_only_folder_is_refused(
    seqsuite: Seqsuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # what a read-only mount answers, even to root
    refused = seqsuite("run", *QUICK, f"run.output={tmp_path / 'runs'}")
    assert refused.exit_code == 2
    assert "run.output" in refused.output


def test_a_lack_of_memory_is_one_sentence(seqsuite: Seqsuite) -> None:
    refused = seqsuite("run", *QUICK, "model.d_model=30000000", "run.experiment=memory")
    assert refused.exit_code == 2
    assert "needs more memory than there is" in refused.output


def test_divergence_ends_with_status_one(seqsuite: Seqsuite) -> None:
    result = seqsuite("run", *QUICK, "train.learning_rate=1e30", "train.clip=none", "train.warmup=0")
    assert result.exit_code == 1, result.output
    assert "is not finite at step 2" in result.output


def test_ctrl_c_saves_marks_and_says_how_to_go_on(shared_folder: Path) -> None:
    command = [sys.executable, "-m", "seqsuite", "run", *QUICK[:2], "train.steps=4000", "run.experiment=stop"]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    process = subprocess.Popen(command, cwd=shared_folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "validation" in line:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Go on with: seqsuite run task=selective_copying scale=smoke train.steps=4000" in output
    (killed,) = _cells(shared_folder, "stop")
    assert killed.status == "KILLED"

    process = subprocess.Popen(command, cwd=shared_folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "resumed at step" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    (again,) = _cells(shared_folder, "stop")
    assert (again.run_id, again.status) == (killed.run_id, "KILLED")


def _cells(folder: Path, experiment: str):
    here = Path.cwd()
    os.chdir(folder)
    try:
        return open_store(experiment).search("tags.`seqsuite.kind` = 'cell'")
    finally:
        os.chdir(here)
