"""``seqsuite bench block``: a train step of a two-layer Mamba language model beside its peers."""

from seqsuite.bench.model_peers import Model
from seqsuite.bench.models import ModelBench
from seqsuite.bench.operations import Say, each_setting, setting_title
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Run
from seqsuite.report import Report, Section

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
                return bench.train_step(model, batch, length)

            columns, rows = bench.time(models, train_step, batch * seqlen, seqlen)
            title = f"Train step, d_model {d_model}, {batch} × {seqlen}, {setting_title(allocator, threads)}"
            about = {
                "shape": [batch, seqlen, d_model],
                "work": "train step",
                "threads": threads,
                "allocator": allocator,
            }
            sections.append(Section("times", title, columns, rows, about=about))
    return bench.report(sections)
