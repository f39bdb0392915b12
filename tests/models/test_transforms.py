"""Every named model under PyTorch's transforms; each test is a cell of the table in the documentation."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call, grad, jvp, vmap

from seqsuite.kernels.backend import BACKEND_VARIABLE
from seqsuite.models import MODELS
from seqsuite.models.backbones.base import States
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.generation import generate
from seqsuite.models.sequence_model import BackboneState, LanguageModel

VOCABULARY, SEQLEN = 11, 256
FAST = ("mamba", "transformer++")
"""Models that are compiled in the quick tests too."""

# PyTorch's forward mode compiles its rules with torch.jit, which it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
every_model = pytest.mark.parametrize("name", MODELS.names())
slow_but_two = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in MODELS.names()]
)

ANY_LENGTH = [name for name in MODELS.names() if name not in ("s4", "s4d", "h3")]
"""Models that are exported with a state for chunks of any length; the others cut theirs by it."""

Weights = dict[str, Tensor]


def build(name: str) -> LanguageModel:
    """Return a small model in float64 that has every kind of its blocks."""
    torch.manual_seed(0)
    settings = MODELS.load(name)() | {"d_model": 16, "n_layer": 1}
    if name == "hybrid":
        settings["n_layer"] = 2
        settings["backbone"] = {"name": "isotropic", "pattern": ["main", "attention"]}
    return build_model(ModelConfig(name=name, **settings), vocab_size=VOCABULARY, seqlen=SEQLEN).double()


def random_tokens(batch: int, seqlen: int) -> Tensor:
    generator = torch.Generator().manual_seed(seqlen)
    return torch.randint(VOCABULARY, (batch, seqlen), generator=generator)


def loss_of(model: nn.Module) -> Callable[[Weights, Tensor], Tensor]:
    return lambda weights, tokens: functional_call(model, weights, (tokens,)).square().mean()


def gradients(model: nn.Module, loss: Tensor) -> Weights:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def detached(model: nn.Module) -> Weights:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def close(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)


@slow_but_two
def test_compiles_as_one_graph_at_any_length(name: str) -> None:
    """Forward and backward; the first length by itself, and every other as one more graph."""
    torch._dynamo.reset()
    model, counter = build(name), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for batch, seqlen in ((3, 20), (2, 150), (4, 64)):
        tokens = random_tokens(batch, seqlen)
        logits, expected = compiled(tokens), model(tokens)
        close(logits, expected)
        close(gradients(model, logits.square().mean()), gradients(model, expected.square().mean()))
    assert counter.frame_count <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mamba", "gated_deltanet"])
def test_compiles_to_code(name: str) -> None:
    """By PyTorch's own compiler, which needs one for C++; in float32, as users train."""
    torch._dynamo.reset()
    model, counter = build(name).float(), CompileCounterWithBackend("inductor")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for batch, seqlen in ((3, 20), (2, 150), (4, 64)):
        tokens = random_tokens(batch, seqlen)
        logits, expected = compiled(tokens), model(tokens)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        found, wanted = (gradients(model, y.square().mean()) for y in (logits, expected))
        for key, gradient in found.items():
            assert (gradient - wanted[key]).norm() < 1e-4 * wanted[key].norm(), key
    assert counter.frame_count <= 2


@slow_but_two
def test_exports_with_batch_and_length_dynamic(name: str) -> None:
    model = build(name)
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(model, (random_tokens(3, 200),), dynamic_shapes=({0: dynamic, 1: dynamic},))
    for batch, seqlen in ((3, 200), (1, 1), (2, 64), (4, 151)):
        tokens = random_tokens(batch, seqlen)
        close(program.module()(tokens), model(tokens))


class Prefill(nn.Module):
    """A chunk that follows a state, as a program of tensors alone."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, blocks: States) -> tuple[Tensor, States]:
        logits, after = self.model.prefill(tokens, BackboneState(0, blocks))
        return logits, after.blocks


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in ANY_LENGTH]
)
def test_exports_with_a_state(name: str) -> None:
    """Chunks shorter than a convolution's history too, whatever the length that was traced."""
    model = build(name)
    dynamic = torch.export.Dim.DYNAMIC
    states = model.initial_state(3).blocks
    shapes = ({0: dynamic, 1: dynamic}, tuple({key: {0: dynamic} for key in state} for state in states))
    exported = torch.export.export(Prefill(model), (random_tokens(3, 20), states), dynamic_shapes=shapes)
    for batch, seqlen in ((1, 1), (2, 2), (2, 64)):
        tokens, before = random_tokens(batch, seqlen), model.initial_state(batch)
        logits, after = model.prefill(tokens, before)
        close(exported.module()(tokens, before.blocks), (logits, after.blocks))


@every_model
def test_grad(name: str) -> None:
    model, tokens = build(name), random_tokens(2, 20)
    loss = loss_of(model)
    expected = gradients(model, loss(dict(model.named_parameters()), tokens))
    close(grad(loss)(detached(model), tokens), expected)


@every_model
def test_gradients_of_each_example(name: str) -> None:
    model, tokens = build(name), random_tokens(2, 20)
    loss = grad(loss_of(model))
    each = vmap(loss, in_dims=(None, 0))(detached(model), tokens.unsqueeze(1))
    for index in range(2):
        alone = loss(detached(model), tokens[index : index + 1])
        close({key: gradient[index] for key, gradient in each.items()}, alone)


@every_model
def test_an_ensemble(name: str) -> None:
    """``vmap`` over weights."""
    model, tokens = build(name), random_tokens(2, 20)
    weights = [{key: scale * t for key, t in detached(model).items()} for scale in (1.0, 0.9)]
    stacked = {key: torch.stack([one[key] for one in weights]) for key in weights[0]}
    outputs = vmap(lambda w: functional_call(model, w, (tokens,)))(stacked)
    close(outputs, torch.stack([functional_call(model, one, (tokens,)) for one in weights]))


@every_model
def test_jvp(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tangent of the logits, against plain PyTorch and against finite differences."""
    model, tokens = build(name), random_tokens(2, 20)
    weights = detached(model)
    direction = {
        key: torch.cos(torch.arange(t.numel()) + 1.0).view(t.shape).to(t) for key, t in weights.items()
    }

    def run(weights: Weights) -> Tensor:
        return functional_call(model, weights, (tokens,))

    logits, tangent = jvp(run, (weights,), (direction,))
    moved = [run({k: t + step * direction[k] for k, t in weights.items()}) for step in (1e-6, -1e-6)]
    torch.testing.assert_close(tangent, (moved[0] - moved[1]) / 2e-6, rtol=1e-4, atol=1e-5)
    monkeypatch.setenv(BACKEND_VARIABLE, "reference")
    close((logits, tangent), jvp(run, (weights,), (direction,)))


@every_model
def test_deepcopy(name: str) -> None:
    model, tokens = build(name), random_tokens(1, 20)
    close(deepcopy(model)(tokens), model(tokens))


class Adapted(nn.Module):
    """A linear layer and what was learned beside it, as adapters do: its weight alone is not what it does."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        has_bias = base.bias is not None
        self.added = nn.Linear(base.in_features, base.out_features, has_bias, dtype=torch.float64)

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x) + self.added(x)
        return y

    def merge(self) -> nn.Linear:
        """Return one linear layer that does the same."""
        merged = deepcopy(self.added)
        with torch.no_grad():
            for parameter, base in zip(merged.parameters(), self.base.parameters(), strict=True):
                parameter += base
        return merged


def swap(model: nn.Module, kind: type[nn.Module], make: Callable[..., nn.Module]) -> nn.Module:
    """Put others in the place of the modules of a kind."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is kind:
                setattr(parent, name, make(child))
    return model


@every_model
def test_adapters_in_the_place_of_linear_layers(name: str) -> None:
    """Whole, and step by step with the kernels that generation uses."""
    tokens = random_tokens(1, 20)
    adapted = swap(build(name), nn.Linear, Adapted)
    merged = swap(deepcopy(adapted), Adapted, lambda layer: layer.merge())
    close(adapted(tokens), merged(tokens))
    one, other = (list(generate(model, tokens, 3, temperature=0.0)) for model in (adapted, merged))
    assert torch.equal(torch.cat(one), torch.cat(other))


@every_model
@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")
def test_dynamic_quantisation(name: str) -> None:
    """To eight bits: each layer's weights and inputs are off by up to 1 / 256 of their range."""
    model, tokens = build(name).float(), random_tokens(1, 20)
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    expected = model(tokens)
    assert (quantised(tokens) - expected).norm() < 0.1 * expected.norm()
