"""Gradients chunk by chunk: those of whole sequences, in the memory of one chunk and the states between."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seqsuite.api import build
from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.training.batches import TensorBatch
from seqsuite.experiments.training.forward import CarriedModel
from seqsuite.experiments.training.gradients import Gradients
from seqsuite.experiments.training.objectives import CrossEntropy
from seqsuite.experiments.training.placement import Single, check_batches
from seqsuite.experiments.training.precision import MixedPrecision
from seqsuite.tasks.base import IGNORE, ModelIO


def gradient(model, seqlen: int, chunk: int | None, cu_seqlens=None) -> list[torch.Tensor]:
    """Return the gradient of the loss on one sequence of random tokens, half of which count."""
    ids = torch.randint(16, (1, seqlen + 1), generator=torch.Generator().manual_seed(0))
    targets = ids[:, 1:].clone()
    targets[:, ::2] = IGNORE
    batch = TensorBatch(ids[:, :-1], targets, None, cu_seqlens, False, seqlen // 2)
    cpu = torch.device("cpu")
    gradients = Gradients(CrossEntropy(None), Single(cpu, TrainConfig()), MixedPrecision("fp32", cpu), chunk)
    model.zero_grad()
    gradients.add(CarriedModel(model), batch, seqlen // 2, carry=False, last=True)
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize(
    "name", ["mamba", "mamba2", "s4", "gated_deltanet", "retnet", "transformer", "hybrid"]
)
def test_chunks_have_the_gradient_of_the_whole(name: str) -> None:
    model = build(name, vocab_size=16, d_model=32, n_layer=2, seed=0).double()
    for chunk in (7, 32, 100):
        for whole, parts in zip(gradient(model, 50, None), gradient(model, 50, chunk), strict=True):
            torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-12)


def test_what_cannot_be_cut_into_chunks_is_refused() -> None:
    model = build("mamba", vocab_size=16, d_model=32, n_layer=1, seed=0)
    with pytest.raises(UserError, match=r"train\.chunk cuts whole sequences"):
        gradient(model, 8, 4, torch.tensor([0, 3, 8]))
    with pytest.raises(UserError, match=r"train\.chunk is for tasks with a target at each position"):
        check_batches(TrainConfig(chunk=4), ModelIO(seqlen=8, vocab_size=4, n_classes=2))
    check_batches(TrainConfig(batch_size=8, chunk=2), ModelIO(seqlen=4, lanes=8))
    check_batches(TrainConfig(batch_size=8), ModelIO(seqlen=4, n_classes=2))


@pytest.mark.slow
def test_a_million_positions_take_less_than_six_gigabytes() -> None:
    code = (
        "import sys, resource\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_length import gradient\n"
        "from seqsuite.api import build\n"
        "model = build('mamba', vocab_size=16, d_model=64, n_layer=2, seed=0)\n"
        "assert all(part.isfinite().all() for part in gradient(model, 2**20, 2**14))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak = int(ran.stdout) * 1024
    print(f"{peak / 1e9:.2f} GB at most, PyTorch included")
    assert peak < 6e9


@pytest.mark.slow
def test_long_sequences_have_the_gradient_of_the_plain_path() -> None:
    model = build("mamba", vocab_size=16, d_model=64, n_layer=2, seed=0).double()
    parts = gradient(model, 2**14, 2**12)
    for whole, part in zip(gradient(model, 2**14, None), parts, strict=True):
        assert (part - whole).abs().max() <= 1e-12 * whole.abs().max()
