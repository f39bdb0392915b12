"""What PyTorch's users do with a model beside training it: each named model takes part in all of it.

``python -m seqsuite.models.citizenship`` makes the table of docs/pytorch.md from the names of these tests.
"""

import copy
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from seqsuite.models import MODELS
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.generation import generate
from seqsuite.models.sequence_model import LanguageModel

VOCAB, SEQLEN = 13, 24

SENSITIVE = ("retnet", "gated_deltanet")
"""Each head's output is normalised by itself: over heads as narrow as here that enlarges rounding."""

every_model = pytest.mark.parametrize("name", MODELS.names())


def make_model(name: str, device: str = "cpu", seed: int = 0, **settings: object) -> LanguageModel:
    torch.manual_seed(seed)
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16, "n_layer": 4, **settings})
    with torch.device(device):
        return build_model(config, vocab_size=VOCAB, seqlen=SEQLEN).eval()


def some_tokens() -> Tensor:
    return torch.randint(VOCAB, (2, SEQLEN), generator=torch.Generator().manual_seed(1))


def decay_marks(model: nn.Module) -> list[tuple[str, str]]:
    """Return which parameters are exempt from weight decay, by the names that the layers give them."""
    return [
        (prefix, name)
        for prefix, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if name in getattr(module, "no_weight_decay", ())
    ]


def check_same(copied: LanguageModel, model: LanguageModel) -> None:
    """Check that a copy computes the same, shares no memory, and is described and tied alike."""
    assert torch.equal(copied(some_tokens()), model(some_tokens()))
    assert copied.config == model.config
    assert copied.tied == model.tied
    assert decay_marks(copied) == decay_marks(model)
    pairs = list(zip(copied.parameters(), model.parameters(), strict=True))
    assert all(mine.data_ptr() != other.data_ptr() for mine, other in pairs)


@every_model
def test_pickle(name: str, tmp_path: Path) -> None:
    model = make_model(name)
    check_same(pickle.loads(pickle.dumps(model)), model)
    torch.save(model, tmp_path / "model.pt")
    check_same(torch.load(tmp_path / "model.pt", weights_only=False), model)


@every_model
def test_deepcopy(name: str) -> None:
    model = make_model(name)
    check_same(copy.deepcopy(model), model)


@every_model
def test_meta_init(name: str) -> None:
    """Built without memory, given some full of NaN, then weights or the initial values of its modules."""
    model, empty = make_model(name), make_model(name, "meta")
    assert all(value.is_meta for value in (*empty.parameters(), *empty.buffers()))
    empty.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in (*empty.parameters(), *empty.buffers()):
            parameter.fill_(torch.nan)
    loaded, reset = copy.deepcopy(empty), empty
    loaded.load_state_dict(model.state_dict(), strict=True)
    check_same(loaded, model)

    torch.manual_seed(0)
    for module in reset.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert reset(some_tokens()).isfinite().all()
    assert reset.tied == model.tied
    for (key, value), wanted in zip(reset.named_parameters(), model.parameters(), strict=True):
        assert value.isfinite().all(), key
        if wanted.numel() >= 64:
            assert value.std().item() == pytest.approx(wanted.std().item(), rel=0.4, abs=1e-6), key
            assert value.abs().max().item() == pytest.approx(wanted.abs().max().item(), rel=1), key


@every_model
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    """Weights in half precision: outputs, steps and gradients are those of these weights, to its rounding."""
    model = make_model(name).to(dtype)
    exact, tokens = copy.deepcopy(model).double(), some_tokens()
    logits, expected = model(tokens), exact(tokens)
    assert logits.dtype == dtype
    bound = (16 if name in SENSITIVE else 2) * torch.finfo(dtype).eps
    assert (logits - expected).std() < bound * expected.std()
    state, steps = model.initial_state(2), []
    for token in tokens.unbind(1):
        step, state = model.step(token, state)
        steps.append(step)
    assert (torch.stack(steps, 1) - expected).std() < bound * expected.std()
    for computed in (logits, expected):
        nn.functional.cross_entropy(computed.double().flatten(0, 1), tokens.flatten()).backward()
    for (key, parameter), other in zip(model.named_parameters(), exact.parameters(), strict=True):
        error = (parameter.grad.double() - other.grad).norm() / (other.grad.norm() + 1e-3)
        assert error < 8 * bound, key


@every_model
@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
def test_quantize(name: str) -> None:
    """Dynamic quantisation of the linear layers to eight bits, whole and in generation."""
    model = make_model(name, d_model=64)
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert any(isinstance(module, torch.ao.nn.quantized.dynamic.Linear) for module in quantised.modules())
    tokens = some_tokens()
    expected, logits = model(tokens), quantised(tokens)
    bound = 0.5 if name in SENSITIVE else 0.1
    assert (logits - expected).std() < bound * expected.std()
    assert all(token.shape == (2,) for token in generate(quantised, tokens[:, :5], 4))


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, float]]]:
    """Return what two processes found that trained every model together, by the way of being parallel."""
    folder = tmp_path_factory.mktemp("parallel")
    worker = Path(__file__).with_name("parallel_worker.py")
    workers = [subprocess.Popen([sys.executable, worker, str(rank), folder]) for rank in range(2)]
    assert [process.wait(timeout=240) for process in workers] == [0, 0]
    return json.loads((folder / "0.json").read_text())


@every_model
def test_ddp(name: str, parallel: dict[str, dict[str, dict[str, float]]]) -> None:
    """Two processes with half of the rows each have the gradients that one has with all."""
    assert parallel["ddp"][name]["gradients"] < 1e-5


@every_model
def test_fsdp2(name: str, parallel: dict[str, dict[str, dict[str, float]]]) -> None:
    """So have two that hold half of the weights each; started on "meta"; in bfloat16 the loss is near."""
    found = parallel["fsdp2"][name]
    assert found["gradients"] < 1e-5
    assert found["fresh loss"] == pytest.approx(math.log(VOCAB), abs=0.3)
    assert found["bfloat16"] < 0.02


def test_a_head_of_ones_own_is_left_alone() -> None:
    """Weights are shared again only where they were shared before."""
    model = make_model("mamba")
    model.head = nn.Linear(16, 5, bias=False)
    kept = model.head.weight.double()
    assert torch.equal(model.double().head.weight, kept)
    assert model(some_tokens()).shape == (2, SEQLEN, 5)
