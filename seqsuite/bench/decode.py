"""``seqsuite bench decode``: generating token by token, one sequence at a time, beside the peers."""

import torch

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.model_peers import MODEL_PEERS, Model, random_tokens
from seqsuite.bench.models import ModelBench
from seqsuite.bench.operations import Say, each_setting, setting_title
from seqsuite.bench.report import Report, Section
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Run

WIDTHS = [(64,), (256,), (768,)]
QUICK_WIDTHS = [(16,)]


def run(settings: Settings, say: Say) -> Report:
    """Check, time and compare. A Transformer is left out: the cost of its step grows with those before it.

    Raises:
        UserError: a peer was asked for that is not known, or cannot run here.
    """
    bench = ModelBench(settings, say, [peer for peer in MODEL_PEERS if peer.name != "transformer++"])
    sections: list[Section] = []
    for allocator, threads in each_setting(settings):
        for (d_model,) in settings.shapes or (QUICK_WIDTHS if settings.quick else WIDTHS):
            models = bench.models(d_model)
            columns, rows = bench.time(
                models, lambda model, _: _step(model, settings.device), tokens=1, seqlen=None
            )
            title = f"A token, batch 1, d_model {d_model}, {setting_title(allocator, threads)}"
            about = {"shape": [d_model], "work": "step", "threads": threads, "allocator": allocator}
            sections.append(Section("times", title, columns, rows, about=about))
    return Report(
        settings.command,
        describe_machine(settings.device, settings.threads),
        [bench.check_section(), *sections],
    )


def _step(model: Model, device: str) -> Run:
    token = random_tokens(1, 1, device)[:, 0]
    model.module.eval()
    step = model.start(1)

    def run() -> None:
        with torch.inference_mode():
            step(token)

    return run
