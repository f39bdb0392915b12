"""``seqsuite bench zoo``: every named model at one size, training and generating.

Beside our Mamba and Mamba-2 stand transformers' own, with the same weights.
"""

from functools import partial

import torch

from seqsuite.bench.model_peers import Model, ModelPeer, as_it_is, our_model, random_tokens, transformers_twin
from seqsuite.bench.models import ModelBench
from seqsuite.bench.operations import Say, each_setting, setting_title
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Run
from seqsuite.models import MODELS
from seqsuite.report import Report, Section

LAYERS = 4
SHAPES = [(8, 512, 128)]
QUICK_SHAPES = [(2, 32, 32)]
GENERATED = 128
"""Tokens generated from an empty state; fewer where the sequences are shorter."""

_TWINS = {"transformers: mamba": "mamba", "transformers: mamba2": "mamba2"}
"""Transformers' models, and ours with the same weights."""


def run(settings: Settings, say: Say) -> Report:
    """Check, time and compare.

    Raises:
        UserError: a model was asked for that is not known, or cannot run here.
    """
    shapes = settings.shapes or (QUICK_SHAPES if settings.quick else SHAPES)
    longest = max(seqlen for _, seqlen, _ in shapes)
    bench = ModelBench(settings, say, _peers(longest), ours_of=_TWINS)
    sections: list[Section] = []
    for allocator, threads in each_setting(settings):
        for batch, seqlen, d_model in shapes:
            models = bench.models(d_model)
            generated = min(GENERATED, seqlen)

            def train_step(model: Model, length: int, batch: int = batch) -> Run:
                return bench.train_step(model, batch, length)

            def generate(model: Model, _: int, generated: int = generated) -> Run:
                return _generate(model, generated, settings.device)

            size = f"{LAYERS} layers, d_model {d_model}"
            works = {
                f"Train step, {size}, {batch} × {seqlen}": (train_step, batch * seqlen, seqlen),
                f"{generated} tokens one by one, batch 1, {size}": (generate, generated, None),
            }
            for title, (make_run, tokens, length) in works.items():
                columns, rows = bench.time(models, make_run, tokens, length)
                about = {
                    "shape": [batch, seqlen, d_model],
                    "work": "generate" if length is None else "train step",
                    "threads": threads,
                    "allocator": allocator,
                }
                title = f"{title}, {setting_title(allocator, threads)}"
                sections.append(Section("times", title, columns, rows, about=about))
    return bench.report(sections)


def _peers(seqlen: int) -> list[ModelPeer]:
    """Return every named model for sequences of ``seqlen``, then transformers' models."""
    ours = [ModelPeer(name, MODELS.summary(name), partial(_named, name, seqlen)) for name in MODELS.names()]
    theirs = [
        ModelPeer(
            peer, f"the same model as {name}, default settings", partial(_twin, name), ("transformers",)
        )
        for peer, name in _TWINS.items()
    ]
    return [*ours, *theirs]


def _named(name: str, seqlen: int, d_model: int) -> Model:
    return as_it_is(our_model(name, d_model, LAYERS, seqlen))


def _twin(name: str, d_model: int) -> Model:
    return transformers_twin(name, our_model(name, d_model, LAYERS))


def _generate(model: Model, count: int, device: str) -> Run:
    """Return a call that feeds a sequence token by token to a fresh state."""
    tokens = random_tokens(1, count, device).unbind(1)
    model.module.eval()

    def run() -> None:
        with torch.inference_mode():
            step = model.start(1)
            for token in tokens:
                step(token)

    return run
