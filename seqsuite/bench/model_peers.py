"""Whole language models: ours, the same Mamba in other libraries with our weights, and a Transformer."""

import copy
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.bench.peers import OURS, Check, relative_error
from seqsuite.models import MODELS, save_pretrained
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.decoding import make_decoder
from seqsuite.models.formats.foreign import HUGGING_FACE
from seqsuite.models.sequence_model import LanguageModel

VOCABULARY = 256
LAYERS = 2
TOLERANCES = (1e-4, 1e-3)
"""Largest relative errors in norm of logits and of any weight's gradient, in float32 against float64."""

Step = Callable[[Tensor], Tensor]

# Ours on the left, the name that mamba-ssm gave it and mambapy kept on the right.
_INSIDE_BLOCKS = {
    "norm.weight": "norm.weight",
    "in_proj.weight": "mixer.in_proj.weight",
    "conv_weight": "mixer.conv1d.weight",
    "conv_bias": "mixer.conv1d.bias",
    "mixer.x_proj.weight": "mixer.x_proj.weight",
    "mixer.dt_proj.weight": "mixer.dt_proj.weight",
    "mixer.dt_proj.bias": "mixer.dt_proj.bias",
    "mixer.A_log": "mixer.A_log",
    "mixer.D": "mixer.D",
    "out_proj.weight": "mixer.out_proj.weight",
}


@dataclass(frozen=True)
class Model:
    """A language model that can be trained and stepped.

    Attributes:
        module: the module, whose parameters are trained.
        logits: token ids (B, L) to logits (B, L, V).
        start: returns a function from one token a sequence (B,) to logits (B, V), with a fresh state in it.
        ours: the model of ours whose weights it has; ``None`` where it stands for itself.
        names: our names of its parameters by its own, where it has the weights of ours.
    """

    module: nn.Module
    logits: Callable[[Tensor], Tensor]
    start: Callable[[int], Step]
    ours: LanguageModel | None = None
    names: dict[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """How many numbers are learned; shared ones count once."""
        return sum(parameter.numel() for parameter in self.module.parameters())


@dataclass(frozen=True)
class ModelPeer:
    """A library's model.

    Attributes:
        name: how it is asked for.
        description: what it is, in a few words.
        build: makes it at a width, with our weights in it if it is the same model.
        packages: what must be installed.
    """

    name: str
    description: str
    build: Callable[[int], Model]
    packages: tuple[str, ...] = ()

    def unavailable_because(self) -> str | None:
        """Return why it cannot run on this machine, or ``None`` if it can."""
        missing = [name for name in self.packages if find_spec(name) is None]
        return f"{', '.join(missing)} not installed; the extra 'bench' has it" if missing else None


def our_model(name: str, d_model: int, n_layer: int, seqlen: int = 1) -> LanguageModel:
    """Build a named model of ours with fixed weights, for sequences of ``seqlen`` where that matters."""
    config = ModelConfig(name=name, d_model=d_model, n_layer=n_layer, **MODELS.load(name)())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(config, vocab_size=VOCABULARY, seqlen=seqlen)


def as_it_is(model: LanguageModel) -> Model:
    """Return a model of ours as one that stands for itself."""

    def start(batch: int) -> Step:
        return make_decoder(model, model.initial_state(batch)).step

    return Model(model, model, start)


def _ours(d_model: int) -> Model:
    ours = our_model("mamba", d_model, LAYERS)
    copied = as_it_is(copy.deepcopy(ours))
    return replace(copied, ours=ours, names={name: name for name, _ in ours.named_parameters()})


def _transformer(d_model: int) -> Model:
    """One layer: attention and MLP take 12 D² parameters, two Mamba layers about as many."""
    return as_it_is(our_model("transformer++", d_model, n_layer=1))


def _mambapy(d_model: int) -> Model:
    """Its own ``LM`` cannot be imported without mamba-ssm, so embedding and head go around its stack here."""
    from mambapy.mamba import Mamba, MambaConfig, RMSNorm

    ours = our_model("mamba", d_model, LAYERS)
    stack = Mamba(MambaConfig(d_model=d_model, n_layers=LAYERS))
    embedding = nn.Embedding(VOCABULARY, d_model)
    module = nn.ModuleDict({"embedding": embedding, "stack": stack, "norm": RMSNorm(d_model)})
    names = _fill(
        module, ours, "stack.layers", {"embedding.weight": "embedding.weight", "norm.weight": "norm.weight"}
    )
    config = stack.config

    def head(x: Tensor) -> Tensor:
        return F.linear(module["norm"](x), embedding.weight)

    def start(batch: int) -> Step:
        inputs = embedding.weight.new_zeros(batch, config.d_inner, config.d_conv - 1)
        caches = [(None, inputs)] * LAYERS

        def step(token: Tensor) -> Tensor:
            nonlocal caches
            x, caches = stack.step(embedding(token), caches)
            return head(x)

        return step

    return Model(module, lambda tokens: head(stack(embedding(tokens))), start, ours, names)


def transformers_twin(name: str, ours: LanguageModel) -> Model:
    """Return transformers' model with the weights of ours, at its default settings.

    Args:
        name: which of our models ``ours`` is: "mamba" or "mamba2".
        ours: the model.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(ours, folder, format="hf")
        module = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    _, layout = HUGGING_FACE[name]
    names = {layout.name_of(ours_name): ours_name for ours_name, _ in ours.named_parameters()}

    def logits(tokens: Tensor) -> Tensor:
        output: Tensor = module(tokens, use_cache=False).logits
        return output

    def start(batch: int) -> Step:
        cache = None

        def step(token: Tensor) -> Tensor:
            nonlocal cache
            output = module(token[:, None], cache=cache, use_cache=True)
            cache = output.cache
            last: Tensor = output.logits[:, -1]
            return last

        return step

    return Model(module, logits, start, ours, names)


def _transformers(d_model: int) -> Model:
    return transformers_twin("mamba", our_model("mamba", d_model, LAYERS))


def _fill(module: nn.Module, ours: LanguageModel, layers: str, places: dict[str, str]) -> dict[str, str]:
    """Copy our weights into another library's Mamba; return our names by theirs."""
    names = {}
    theirs = dict(module.named_parameters())
    with torch.no_grad():
        for name, value in ours.named_parameters():
            block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
            place = f"{layers}.{block[1]}.{_INSIDE_BLOCKS[block[2]]}" if block else places[name]
            theirs[place].copy_(value.view_as(theirs[place]))
            names[place] = name
    return names


MODEL_PEERS = [
    ModelPeer(OURS, f"Mamba, {LAYERS} layers", _ours),
    ModelPeer("mambapy", "the same model", _mambapy, packages=("mambapy",)),
    ModelPeer("transformers", "the same model, default settings", _transformers, packages=("transformers",)),
    ModelPeer("transformer++", "a Transformer of about as many parameters, 1 layer", _transformer),
]


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of logits (B, L, V) and token ids (B, L)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def random_tokens(batch: int, seqlen: int, device: str) -> Tensor:
    """Return token ids (B, L), none of them 0, which mambapy and transformers take for padding."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, VOCABULARY, (batch, seqlen), generator=generator).to(device)


def check_model(model: Model, device: str) -> Check | None:
    """Compare a model with ours in float64: logits whole and step by step, and the gradient of every weight.

    Returns:
        The errors, or ``None`` where the model stands for itself; then whole and steps must agree.

    Raises:
        ValueError: it is further away than rounding explains.
    """
    tokens = random_tokens(2, 24, device)
    logits = model.logits(tokens)
    with torch.no_grad():
        step = model.start(2)
        stepped = torch.stack([step(token) for token in tokens.unbind(1)], dim=1)
    if model.ours is None:
        _within(relative_error(stepped, logits.detach()), 0.0)
        return None
    exact = copy.deepcopy(model.ours).double().to(device)
    expected = exact(tokens)
    targets = tokens.roll(-1, 1)
    gradients = torch.autograd.grad(loss(logits, targets), list(model.module.parameters()))
    expected_gradients = dict(
        zip(
            (name for name, _ in exact.named_parameters()),
            torch.autograd.grad(loss(expected, targets), list(exact.parameters())),
            strict=True,
        )
    )
    errors = [
        relative_error(gradient, expected_gradients[model.names[name]].view_as(gradient))
        for (name, _), gradient in zip(model.module.named_parameters(), gradients, strict=True)
    ]
    expected = expected.detach()
    forward = max(relative_error(logits.detach(), expected), relative_error(stepped, expected))
    _within(forward, max(errors))
    return Check(forward, max(errors))


def _within(forward: float, gradients: float) -> None:
    if not (forward <= TOLERANCES[0] and gradients <= TOLERANCES[1]):  # NaN fails too
        raise ValueError(
            f"differs from ours in float64 by {forward:.0e} (logits), {gradients:.0e} (gradients)"
        )
