"""``seqsuite bench block``: a train step of a two-layer Mamba language model beside its peers."""

import torch

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.model_peers import Model, loss, random_tokens
from seqsuite.bench.models import ModelBench
from seqsuite.bench.operations import Say, each_setting, setting_title
from seqsuite.bench.report import Report, Section
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Run

SHAPES = [(8, 256, 64), (8, 256, 256)]
QUICK_SHAPES = [(2, 32, 16)]


def run(settings: Settings, say: Say) -> Report:
    """Check, time and compare.

    Raises:
        UserError: a peer was asked for that is not known, or cannot run here.
    """
    bench = ModelBench(settings, say)
    sections: list[Section] = []
    for allocator, threads in each_setting(settings):
        for batch, seqlen, d_model in settings.shapes or (QUICK_SHAPES if settings.quick else SHAPES):
            models = bench.models(d_model)

            def train_step(model: Model, length: int, batch: int = batch) -> Run:
                return _train_step(model, batch, length, settings.device)

            columns, rows = bench.time(models, train_step, batch * seqlen, seqlen)
            title = f"Train step, d_model {d_model}, {batch} × {seqlen}, {setting_title(allocator, threads)}"
            about = {
                "shape": [batch, seqlen, d_model],
                "work": "train step",
                "threads": threads,
                "allocator": allocator,
            }
            sections.append(Section("times", title, columns, rows, about=about))
    return Report(
        settings.command,
        describe_machine(settings.device, settings.threads),
        [bench.check_section(), *sections],
    )


def _train_step(model: Model, batch: int, seqlen: int, device: str) -> Run:
    tokens = random_tokens(batch, seqlen + 1, device)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model.logits(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
