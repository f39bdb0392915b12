"""``seqsuite bench complexity``: how time and memory grow with length, as exponents beside those counted.

A model is trained on single sequences and then asked for single tokens, at several lengths. What grows like a
power of the length is a straight line between logarithms, and its slope the power.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.operations import Say, choose
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Run, loglog_slope, time_once
from seqsuite.experiments.config.resolve import resolve, resolve_model
from seqsuite.experiments.memory import estimate_memory
from seqsuite.models import MODELS
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.decoding import make_decoder
from seqsuite.models.flops import training_flops
from seqsuite.models.sequence_model import LanguageModel
from seqsuite.report import Column, Report, Row, Section
from seqsuite.tasks.base import ModelIO

LENGTHS, QUICK_LENGTHS = [(256,), (1024,), (4096,)], [(32,), (64,)]
USUAL_MODELS = ("mamba", "s4", "transformer++")
VOCAB = 256
_SIZE, _QUICK_SIZE = {"d_model": 64, "n_layer": 2}, {"d_model": 16, "n_layer": 1}
_DECODED = 32
_REPEATS, _QUICK_REPEATS = 3, 1
_FAR = 2**20, 2**22
"""Lengths at which operations are counted: those that grow the fastest are alone there."""

_COLUMNS = (
    Column("model", "model"),
    Column("seqlen", "L", "count"),
    Column("train_s", "train step", "seconds"),
    Column("train_bytes", "memory of training", "bytes"),
    Column("decode_s", "a token after L", "seconds"),
    Column("state_bytes", "state after L", "bytes"),
    Column("note", "note"),
)
_SLOPES = (
    Column("model", "model"),
    Column("training", "training, known"),
    Column("inference", "a token, known"),
    Column("parameters", "params", "quantity"),
    Column("counted", "operations", "number"),
    Column("train_slope", "train step", "number"),
    Column("memory_slope", "memory of training", "number"),
    Column("decode_slope", "a token, measured", "number"),
    Column("state_slope", "state", "number"),
)
_LINEAR, _CONVOLUTION = ("O(L)", "O(1)"), ("O(L log L)", "O(1)")
_KNOWN = {
    "s6": _LINEAR,
    "ssd": _LINEAR,
    "retention": _LINEAR,
    "linear_attention": _LINEAR,
    "gated_delta": _LINEAR,
    "shift": _LINEAR,
    "s4": _CONVOLUTION,
    "s4d": _CONVOLUTION,
    "hyena": ("O(L log L)", "O(L)"),  # its filter is no recurrence: a token sums over all before
    "attention": ("O(L²)", "O(L)"),
}
"""Training on L positions, and one more token, by mixer (S4, arXiv 2111.00396, Table 1, and successors)."""


@dataclass(frozen=True)
class Growth:
    """What a model takes at one length.

    Attributes:
        seqlen: Positions L.
        train_seconds: Of forward and backward pass of one sequence.
        train_bytes: Estimate of what training on it takes; ``None`` where the model cannot be followed.
        decode_seconds: Of one more token after L.
        state_bytes: What is remembered of L positions.
    """

    seqlen: int
    train_seconds: float
    train_bytes: int | None
    decode_seconds: float
    state_bytes: int


def run(settings: Settings, say: Say) -> Report:
    """Measure each model at each length, as long as the limit on its time allows.

    Raises:
        UserError: a model was asked for that is not known.
    """
    names = choose(settings.peers, MODELS.names()) if settings.peers else list(USUAL_MODELS)
    lengths = sorted(n for (n,) in settings.shapes or (QUICK_LENGTHS if settings.quick else LENGTHS))
    size = _QUICK_SIZE if settings.quick else _SIZE
    repeats = _QUICK_REPEATS if settings.quick else _REPEATS
    rows: list[Row] = []
    slopes: list[Row] = []
    for name in names:
        say(name)
        config = resolve_model(name, size)
        found = measure(config, lengths, settings.limit_s, repeats)
        rows += [_row(name, growth) for growth in found]
        rows += [
            {"model": name, "seqlen": seqlen, "note": f"a step takes over {settings.limit_s:g} s"}
            for seqlen in lengths[len(found) :]
        ]
        slopes.append({"model": name, **exponents(config, found)})
    threads = settings.threads[0]
    shape = f"{size['n_layer']} layers, d_model {size['d_model']}, batch 1, {threads} thread(s), CPU"
    notes = [
        "Operations are counted between L = 2^20 and 2^22, where only what grows fastest is left; 1.05 is "
        "about L log L. Measured exponents are lower where a length is so short that calls count."
    ]
    about = {**size, "threads": threads}
    return Report(
        settings.command,
        describe_machine("cpu", settings.threads),
        [
            Section("complexity", f"Time and memory by length: {shape}", _COLUMNS, rows, about=about),
            Section("exponents", "Exponents of their growth with L", _SLOPES, slopes, notes, about),
        ],
    )


def measure(
    config: ModelConfig, lengths: Sequence[int], limit_s: float, repeats: int = _REPEATS
) -> list[Growth]:
    """Measure a model with fresh weights, as a language model of bytes.

    Args:
        config: The model.
        lengths: Lengths, shortest first.
        limit_s: A length whose train step takes longer is the last.
        repeats: Samples of each time, of which the least counts.
    """
    torch.manual_seed(0)
    model = build_model(config, vocab_size=VOCAB, seqlen=max(lengths) + _DECODED + 1)
    layers = list(model.blocks.layers())
    found: list[Growth] = []
    for seqlen in lengths:
        tokens = torch.randint(VOCAB, (1, seqlen + 1))
        train = _least(partial(_train, model, tokens), repeats)
        found.append(
            Growth(
                seqlen=seqlen,
                train_seconds=train,
                train_bytes=_train_bytes(config, seqlen),
                decode_seconds=_decode(model, tokens[:, :-1], repeats),
                state_bytes=4 * sum(layer.state_size(seqlen) for layer in layers),
            )
        )
        if train > limit_s:
            break
    return found


def parameters_of_bytes(config: ModelConfig) -> int:
    """Return how many parameters a model has as a language model of bytes."""
    with torch.device("meta"):
        return build_model(config, vocab_size=VOCAB, seqlen=1).num_parameters()


def exponents(config: ModelConfig, found: Sequence[Growth]) -> Row:
    """Return a model's parameters, what is known of it, and exponents: of operations, and measured."""
    with torch.device("meta"):
        model = build_model(config, vocab_size=VOCAB, seqlen=1)
    counted = [training_flops(model, seqlen) for seqlen in _FAR]
    alike = len({type(layer) for layer in model.blocks.layers()}) == 1
    training, inference = _KNOWN.get(config.mixer.name, ("", "")) if alike else ("", "")
    lengths = [growth.seqlen for growth in found]
    known = [growth for growth in found if growth.train_bytes is not None]
    return {
        "parameters": parameters_of_bytes(config),
        "training": training,
        "inference": inference,
        "counted": math.log(counted[1] / counted[0]) / math.log(_FAR[1] / _FAR[0]),
        "train_slope": loglog_slope(lengths, [growth.train_seconds for growth in found]),
        "memory_slope": loglog_slope(
            [growth.seqlen for growth in known], [float(growth.train_bytes or 0) for growth in known]
        ),
        "decode_slope": loglog_slope(lengths, [growth.decode_seconds for growth in found]),
        "state_slope": loglog_slope(lengths, [growth.state_bytes for growth in found]),
    }


def _row(name: str, growth: Growth) -> Row:
    return {
        "model": name,
        "seqlen": growth.seqlen,
        "train_s": growth.train_seconds,
        "train_bytes": growth.train_bytes,
        "decode_s": growth.decode_seconds,
        "state_bytes": growth.state_bytes,
    }


def _train(model: LanguageModel, tokens: Tensor) -> None:
    model.train()
    model.zero_grad(set_to_none=True)
    logits = model(tokens[:, :-1])
    F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]  # untyped in PyTorch


@torch.no_grad()
def _decode(model: LanguageModel, tokens: Tensor, repeats: int) -> float:
    """Return the seconds of a token after others (1, L)."""
    model.eval()
    _, state = model.prefill(tokens, model.initial_state(1))
    decoder = make_decoder(model, state)
    token = tokens[:, -1]
    decoder.step(token)

    def several() -> None:
        for _ in range(_DECODED // 4):
            decoder.step(token)

    return _least(several, min(repeats, 3)) / (_DECODED // 4)


def _least(call: Run, repeats: int) -> float:
    """Return the seconds of the fastest of some calls, after a first one that warms up."""
    call()
    return min(time_once(call, "cpu") for _ in range(repeats))


def _train_bytes(config: ModelConfig, seqlen: int) -> int | None:
    """Return an estimate of what training on one sequence takes."""
    single = {"train.batch_size": "1", "train.eval_batch_size": "1"}
    cell = resolve({"task": "text", "scale": "smoke", **single}).model_copy(update={"model": config})
    estimate = estimate_memory(cell, ModelIO(seqlen=seqlen, vocab_size=VOCAB))
    return None if estimate.activations is None else estimate.total
