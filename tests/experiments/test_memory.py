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
from seqsuite.experiments.grid import parameter_counts
from seqsuite.experiments.memory import (
    MemoryEstimate,
    estimate_cells,
    estimate_memory,
    free_memory,
    gigabytes,
    is_out_of_memory,
    memory_faults,
    together_fault,
)
from seqsuite.models import MODELS
from seqsuite.tasks.base import ModelIO

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
    config = cell(model__size="130m", model__n_layer="2", task__seqlen="32")
    (estimate,) = estimate_cells([config])
    assert estimate.weights == 4 * parameter_counts([config])[0] > 4 * 7e6
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
        (
            {
                "proc/self/cgroup": "0::/job:7\n",
                "groups/job:7/memory.max": "50000\n",
                "groups/job:7/memory.current": "70000\n",
            },
            0,
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
    sizes = (1000, 85_000_000, 10**9, 1_230_000_000, 10**12, 4 * 10**15)
    told = ["1 MB", "85 MB", "1.0 GB", "1.2 GB", "1.0 TB", "4,000.0 TB"]
    assert [gigabytes(size) for size in sizes] == told


@pytest.mark.parametrize(("limit", "left"), [(5 * 10**9, 2_976_000_000), (10**9, 0), (-1, None)])
def test_a_limit_of_address_space_leaves_what_the_program_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, left: int | None
) -> None:
    """By hand: 1,000,000 KiB are used already, and a gigabyte is for the program."""
    write(tmp_path, {"self/status": "VmPeak: 9 kB\nVmSize: 1000000 kB\n"})
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory.resource, "getrlimit", lambda kind: (limit, -1))
    monkeypatch.setattr(memory.resource, "RLIM_INFINITY", -1)
    assert free_memory(torch.device("cpu")) == left


def test_a_gpu_says_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 7))
    assert free_memory(torch.device("cuda")) == 5


def test_an_estimate_is_told_part_by_part() -> None:
    whole = MemoryEstimate(4 * 10**6, 5 * 10**6, 8 * 10**6, 3 * 10**9)
    assert whole.total == 3_017_000_000
    assert str(whole) == "weights 4 MB, gradients 5 MB, optimizer 8 MB, activations 3.0 GB"
    unknown = MemoryEstimate(1, 2, 4, None)
    assert (unknown.total, str(unknown)) == (7, "weights 1 MB, gradients 1 MB, optimizer 1 MB")


@pytest.mark.parametrize("depth", [1, 2])
def test_a_layer_is_there_three_times_and_logits_are_too(depth: int) -> None:
    """What the forward pass keeps, K, is found from a large evaluation, which keeps one layer's alone."""

    def activations(**settings: str) -> int:
        (estimate,) = estimate_cells([cell(**SMALL, model__n_layer=str(depth), **settings)])
        assert estimate.activations is not None
        return estimate.activations

    training = activations(train__batch_size="8", train__eval_batch_size="1")
    evaluating = activations(train__batch_size="8", train__eval_batch_size="80") // 10
    logits = 3 * 8 * 32 * 256 * 4  # 8 sequences of 32 bytes, each with 256 logits of 4 bytes
    kept = training - evaluating
    assert kept > 10**5
    assert evaluating - logits == 2 * kept // depth


def test_a_step_in_parts_takes_what_its_largest_part_does() -> None:
    def activations(seqlen: int = 32, **settings: str) -> int | None:
        told = {**SMALL, "train__eval_batch_size": "1", "model__n_layer": "1", **settings}
        return estimate_memory(cell(**told), ModelIO(seqlen, vocab_size=256)).activations

    four = activations(train__batch_size="4")
    assert activations(train__batch_size="7", train__accumulate="2") == four
    assert activations(train__batch_size="4", train__chunk="16") == activations(16, train__batch_size="4")
    assert activations(train__batch_size="4", train__chunk="64") == four


@pytest.mark.parametrize(
    ("io", "outputs"),
    [
        (ModelIO(32, d_input=2, d_target=3), 32 * 3),
        (ModelIO(32, vocab_size=256, n_labels=5), 32 * 5),
        (ModelIO(32, d_input=2, n_classes=3), 0),
    ],
)
def test_outputs_of_numbers_and_classes_are_few(io: ModelIO, outputs: int) -> None:
    def activations(eval_batch: int) -> int:
        told = {**SMALL, "model__n_layer": "1", "train__batch_size": "4"}
        found = estimate_memory(cell(**told, train__eval_batch_size=str(eval_batch)), io).activations
        assert found is not None
        return found

    logits = 4 * 3 * 4 * outputs  # 4 sequences, three times, in 4 bytes
    assert 2 * (activations(1) - logits) == 3 * (activations(400) // 100 - logits)


def test_what_just_fits_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    device, one = torch.device("cpu"), cell(**SMALL)
    (estimate,) = estimate_cells([one])
    monkeypatch.setattr(memory, "free_memory", lambda device: estimate.total)
    assert memory_faults([one, one], device) == [None, None]
    assert memory_faults([one, one], device, [estimate.total, None]) == [None, None]
    (measured, _) = memory_faults([one, one], device, [estimate.total + 1, None])
    assert f"about {gigabytes(estimate.total + 1)} (measured), and" in str(measured)
    monkeypatch.setattr(memory, "free_memory", lambda device: estimate.total - 1)
    (estimated,) = memory_faults([one], device)
    assert f"({estimate}), and" in str(estimated)
    assert memory_faults([cell(**SMALL, run__memory="ignore")] * 2, device) == [None, None]
    monkeypatch.setattr(memory, "free_memory", lambda device: None)
    assert memory_faults([one], device) == [None]


def test_the_largest_of_what_runs_at_once_fit_together_or_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device, cells, measured = torch.device("cpu"), [cell(**SMALL)] * 3, [10**8, 3 * 10**8, 2 * 10**8]
    monkeypatch.setattr(memory, "free_memory", lambda device: 5 * 10**8)
    assert together_fault(cells, device, 2, measured) is None
    assert str(together_fault(cells, device, 3, measured)) == (
        "3 cells at once need more memory than there is: about 600 MB, and 500 MB are free; choose a smaller "
        "run.parallel."
    )
    monkeypatch.setattr(memory, "free_memory", lambda device: 5 * 10**8 - 1)
    assert together_fault(cells, device, 2, measured) is not None
    monkeypatch.setattr(memory, "free_memory", lambda device: 1)
    assert together_fault(cells, device, 1, measured) is None
    assert together_fault([cell(**SMALL, run__memory="ignore")] * 2, device, 2) is None


def test_a_lack_of_memory_is_known_by_its_kind_or_its_words() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
