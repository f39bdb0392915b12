"""The estimate of memory, and what it refuses."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

from seqsuite.experiments import memory
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.memory import estimate_cells, free_memory, gigabytes, memory_faults
from seqsuite.models import MODELS

MEASURE = """
import json, sys
import torch
import torch.nn.functional as F
from seqsuite.allocator import process_bytes, reset_peak, return_freed_memory
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.training.optimizer import make_optimizer
from seqsuite.models.build import build_model

def train(settings, seqlen, steps):
    config = resolve(settings)
    model = build_model(config.model, vocab_size=256, seqlen=seqlen)
    optimizer = make_optimizer(model, config.train)
    ids = torch.randint(256, (config.train.batch_size, seqlen))
    for _ in range(steps):
        F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

settings = json.loads(sys.argv[1])
train({**settings, "model.d_model": "16", "model.n_layer": "1"}, 16, 1)
return_freed_memory()
before = process_bytes("VmRSS")
reset_peak()
train(settings, int(settings["task.seqlen"]), 2)
print(process_bytes("VmHWM") - before)
"""


SMALL = {"scale": "smoke", "task__seqlen": "32"}


def cell(**settings: str) -> CellConfig:
    return resolve({"task": "text", **{key.replace("__", "."): value for key, value in settings.items()}})


def test_weights_gradients_and_moments_are_four_times_the_parameters() -> None:
    (estimate,) = estimate_cells([cell(model__size="130m")])
    assert 4 * 90e6 < estimate.weights < 4 * 135e6
    assert (estimate.gradients, estimate.optimizer) == (estimate.weights, 2 * estimate.weights)


def test_activations_grow_with_batch_and_depth() -> None:
    def activations(batch: int, depth: int) -> int:
        sizes = {
            **SMALL,
            "train__batch_size": str(batch),
            "model__n_layer": str(depth),
            "train__eval_batch_size": "1",
        }
        (estimate,) = estimate_cells([cell(**sizes)])
        assert estimate.activations is not None
        return estimate.activations

    assert 1.5 * activations(4, 2) < activations(8, 2) <= 2 * activations(4, 2)
    assert activations(8, 6) > 1.5 * activations(8, 2)


@pytest.mark.parametrize("model", MODELS.names())
def test_every_model_can_be_followed(model: str) -> None:
    (estimate,) = estimate_cells([cell(model=model, **SMALL)])
    assert estimate.activations


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mamba", "mamba2", "s4", "transformer"])
def test_the_estimate_is_near_what_training_takes(model: str) -> None:
    sizes = {"task.seqlen": "512", "train.batch_size": "8", "train.eval_batch_size": "8"}
    settings = {"task": "text", "model": model, "model.d_model": "128", "model.n_layer": "4", **sizes}
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(settings)], capture_output=True, text=True, check=True
    )
    (estimate,) = estimate_cells([resolve(settings)])
    assert 0.7 < estimate.total / int(ran.stdout) < 1.4


def test_what_cannot_fit_is_refused_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 50_000_000)
    device = torch.device("cpu")
    large = {"model": "s4", "model__d_model": "4000", "model__n_layer": "1", "train__batch_size": "1"}
    cells = [cell(**SMALL), cell(**large), cell(**large, run__memory="ignore")]
    fits, fault, ignored = memory_faults(cells, device)
    assert (fits, ignored) == (None, None)
    assert re.search("needs more memory than there is: about .* and 50 MB are free", str(fault))
    assert "run.memory=ignore" in str(fault)


def test_a_run_that_cannot_fit_leaves_nothing(
    seqsuite: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 1_000_000)
    refused = seqsuite("run", "task=selective_copying", "run.experiment=too large")
    assert refused.exit_code == 2
    assert "needs more memory than there is" in refused.output
    assert "There are no results yet" in seqsuite("runs", "--experiment", "too large").output


@pytest.mark.parametrize("setting", ["train.batch_size=1e18", "task.length=1e18", "task.length=1" + "0" * 30])
def test_sizes_past_any_memory_are_refused(seqsuite: Callable[..., Result], setting: str) -> None:
    refused = seqsuite("run", "task=selective_copying", setting)
    assert refused.exit_code == 2
    assert "needs more memory than there is" in refused.output


@pytest.mark.parametrize("setting", ["model.d_model=1e18", "model.n_layer=1e9", "model.block.expand=1e30"])
def test_models_past_any_size_are_refused(seqsuite: Callable[..., Result], setting: str) -> None:
    refused = seqsuite("run", "task=selective_copying", setting, "--dry-run")
    assert refused.exit_code == 2
    assert refused.output.startswith("Error: ")


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/meminfo": "MemTotal: 99 kB\nMemAvailable: 5000 kB\n"}, 5_120_000),
        (
            {
                "proc/meminfo": "MemAvailable: 5000 kB\n",
                "proc/self/cgroup": "0::/outer/inner\n",
                "groups/outer/memory.max": "900000\n",
                "groups/outer/memory.current": "400000\n",
                "groups/outer/memory.stat": "anon 1\ninactive_file 100000\n",
                "groups/outer/inner/memory.max": "max\n",
                "groups/outer/inner/memory.current": "5\n",
            },
            600_000,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/x\n4:memory:/job\n",
                "groups/memory/job/memory.limit_in_bytes": "70000\n",
                "groups/memory/job/memory.usage_in_bytes": "50000\n",
            },
            20_000,
        ),
        ({}, None),
    ],
)
def test_free_memory_is_what_the_tightest_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int | None
) -> None:
    write(tmp_path, files)
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "groups")
    assert free_memory(torch.device("cpu")) == expected


def test_sizes_have_their_unit() -> None:
    assert [gigabytes(size) for size in (1000, 85_000_000, 1_230_000_000, 4 * 10**12)] == [
        "1 MB",
        "85 MB",
        "1.2 GB",
        "4.0 TB",
    ]
