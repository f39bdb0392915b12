"""Calls recorded as graphs, by a recorder that replays on the CPU what a CUDA graph would on a GPU."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.graphs import CudaRecorder, GraphedCall, Outputs, TrainStep
from seqsuite.models import MODELS
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.decoding import GraphDecoder
from seqsuite.models.sequence_model import LanguageModel

from .graph_recorder import Recorder


def small_model(name: str = "mamba") -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(name=name, d_model=16, n_layer=2, **MODELS.load(name)())
    return build_model(config, vocab_size=11, seqlen=64)


def train(
    model: nn.Module, batches: list[Tensor], recorder: Recorder | None
) -> list[tuple[float, float, bool]]:
    """Take a step with each batch at a rate that falls; return losses, norms and finiteness."""

    def loss(tokens: Tensor) -> Tensor:
        return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    step = TrainStep(loss, torch.optim.AdamW(model.parameters(), fused=True), clip=0.5)
    call = step if recorder is None else GraphedCall(step, recorder)
    found = []
    for number, batch in enumerate(batches):
        step.set_rate(1e-2 / (number + 1))
        value, norm, finite = call(batch)
        found.append((float(value), float(norm), bool(finite)))
    return found


def test_a_train_step_replayed_is_the_step() -> None:
    """Also when a batch of another shape comes between, which runs beside the graph."""
    batches = [torch.randint(11, (2, 9)) for _ in range(7)]
    batches.insert(5, torch.randint(11, (1, 9)))
    plain, graphed, recorder = small_model(), small_model(), Recorder()
    expected = train(plain, batches, None)
    assert train(graphed, batches, recorder) == expected
    assert (recorder.warmed, recorder.recorded) == (3, 1)
    assert all(finite for *_, finite in expected)
    for (name, one), other in zip(plain.named_parameters(), graphed.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_other_shapes_are_said() -> None:
    call = GraphedCall(lambda x: (x + 1,), Recorder(), warm_up=0)
    assert call(torch.ones(2))[0].tolist() == [2.0, 2.0]
    assert call.reason == ""
    assert call(torch.ones(3))[0].tolist() == [2.0] * 3
    assert (
        call.reason == "Calls with tensors of other shapes than the first are not replayed as a CUDA graph."
    )
    assert call(torch.full((2,), 5.0))[0].tolist() == [6.0, 6.0]
    assert call.replays == 2


def test_a_call_that_waits_for_the_gpu_runs_without_a_graph() -> None:
    def reads(x: Tensor) -> Outputs:
        return (x * float(x.sum()),)

    call = GraphedCall(reads, Recorder(), warm_up=1)
    for value in (1.0, 2.0, 3.0):
        assert call(torch.full((2,), value))[0].tolist() == [2 * value * value] * 2
    assert call.replays == 0
    assert call.reason == (
        "The call cannot be recorded as a CUDA graph and runs without one: "
        "operation not permitted when stream is capturing"
    )


def test_what_is_not_finite_is_seen_on_the_device() -> None:
    weight = nn.Parameter(torch.ones(2))
    step = TrainStep(lambda x: (weight * x).sum(), torch.optim.AdamW([weight], fused=True))
    assert [bool(step(x)[2]) for x in (torch.ones(2), torch.tensor([1.0, torch.inf]))] == [True, False]


@pytest.mark.parametrize("name", ["mamba", "mamba2", "s4", "s4d", "retnet", "gated_deltanet"])
def test_decoding_replayed_is_decoding(name: str) -> None:
    model, recorder = small_model(name).eval(), Recorder()
    tokens = torch.randint(11, (9, 2))
    with torch.inference_mode():
        state = model.initial_state(2)
        decoder = GraphDecoder(model, state, recorder)
        decoded = torch.stack([decoder.step(token) for token in tokens])
        expected = []
        for token in tokens:
            logits, state = model.step(token, state)
            expected.append(logits)
    torch.testing.assert_close(decoded, torch.stack(expected), rtol=0, atol=0)
    assert recorder.recorded == 1
    assert decoder.state().position == 9
    for kept, block in zip(decoder.state().blocks, state.blocks, strict=True):
        assert all(torch.equal(kept[key], block[key]) for key in block)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
def test_a_train_step_as_a_cuda_graph() -> None:
    batches = [torch.randint(11, (2, 65)).cuda() for _ in range(8)]
    expected = train(small_model().cuda(), batches, None)
    recorder: Any = CudaRecorder()
    found = train(small_model().cuda(), batches, recorder)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
