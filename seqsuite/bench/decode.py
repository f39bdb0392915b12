"""``seqsuite bench decode``: generating token by token, one sequence at a time, beside the peers."""

from seqsuite.bench.model_peers import MODEL_PEERS
from seqsuite.bench.models import ModelBench
from seqsuite.bench.operations import Say, each_setting, setting_title
from seqsuite.bench.settings import Settings
from seqsuite.report import Report, Section

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
            columns, rows = bench.time(models, lambda model, _: bench.token_step(model), 1, None)
            title = f"A token, batch 1, d_model {d_model}, {setting_title(allocator, threads)}"
            about = {"shape": [d_model], "work": "step", "threads": threads, "allocator": allocator}
            sections.append(Section("times", title, columns, rows, about=about))
    return bench.report(sections)
