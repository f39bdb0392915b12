"""``seqsuite bench generation``: how memory and speed of generating change with the length.

Each model is measured in a process of its own, with fresh weights: what they are changes neither number.
"""

import multiprocessing
import platform
import resource
import time
from typing import NamedTuple

import torch

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.operations import Say, choose
from seqsuite.bench.settings import Settings
from seqsuite.models import MODELS
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.generation import Generation
from seqsuite.report import Column, Report, Row, Section

LENGTHS, QUICK_LENGTHS = [(1000,), (10_000,), (100_000,)], [(200,), (400,)]
USUAL_MODELS = ("mamba", "mamba2", "s4d", "transformer++")

_SIZE = {"d_model": 64, "n_layer": 2}
_QUICK_SIZE = {"d_model": 16, "n_layer": 1}
_VOCAB = 256
_WARM_UP = 100  # tokens before anything is measured: kernels are compiled, allocators filled
_CHECK_EVERY = 1000  # tokens between looks at the clock
_KIB = 1024

_COLUMNS = (
    Column("model", "model"),
    Column("tokens", "tokens", "count"),
    Column("state_bytes", "state", "bytes"),
    Column("grown_bytes", "peak memory grown by", "bytes"),
    Column("tokens_per_second", "tokens/s since the row above", "quantity"),
    Column("note", "note"),
)


class Mark(NamedTuple):
    """What was measured when so many tokens had been generated.

    Attributes:
        tokens: How many.
        state_bytes: Size of what the model remembers.
        grown_bytes: How much the process's peak memory has grown since the warm-up.
        tokens_per_second: Speed since the mark before.
    """

    tokens: int
    state_bytes: int
    grown_bytes: int
    tokens_per_second: float


def run(settings: Settings, say: Say) -> Report:
    """Generate with each model up to each length, as long as the limit on its time allows.

    Raises:
        UserError: a model was asked for that is not known.
    """
    names = choose(settings.peers, MODELS.names()) if settings.peers else list(USUAL_MODELS)
    lengths = sorted(n for (n,) in settings.shapes or (QUICK_LENGTHS if settings.quick else LENGTHS))
    size = _QUICK_SIZE if settings.quick else _SIZE
    rows: list[Row] = []
    for name in names:
        say(name)
        # A fresh process: its peak memory is the model's alone.
        with multiprocessing.get_context("spawn").Pool(
            1, torch.set_num_threads, (settings.threads[0],)
        ) as pool:
            found = pool.apply(measure, (name, lengths, settings.limit_s), size)
        rows += [{"model": name, **mark._asdict()} for mark in found]
        rows += [
            {"model": name, "tokens": missed, "note": f"not within {settings.limit_s:g} s"}
            for missed in lengths[len(found) :]
        ]
    title = (
        f"{size['n_layer']} layers, d_model {size['d_model']}, {_VOCAB} tokens to choose from, batch 1, "
        f"{settings.threads[0]} thread(s), CPU"
    )
    notes = [f"A process's peak memory is compared with that after {_WARM_UP} tokens."]
    section = Section("generation", title, _COLUMNS, rows, notes, {**size, "threads": settings.threads[0]})
    return Report(settings.command, describe_machine("cpu", settings.threads), [section])


def measure(name: str, lengths: list[int], seconds: float, *, d_model: int, n_layer: int) -> list[Mark]:
    """Generate up to each of the ``lengths`` with one model, as long as ``seconds`` allow.

    Returns:
        A mark for each length reached, shortest first.
    """
    torch.manual_seed(0)
    config = ModelConfig(name=name, **MODELS.load(name)(), d_model=d_model, n_layer=n_layer)
    model = build_model(config, vocab_size=_VOCAB, seqlen=max(lengths)).eval()
    generation = Generation(model, torch.zeros(1, 1, dtype=torch.long), seed=0)
    for _ in range(_WARM_UP):
        next(generation)
    found: list[Mark] = []
    made, floor = _WARM_UP, _peak_bytes()
    deadline = time.perf_counter() + seconds
    for length in lengths:
        begun, started = made, time.perf_counter()
        while made < length:
            for _ in range(min(length - made, _CHECK_EVERY)):
                next(generation)
                made += 1
            if time.perf_counter() > deadline and made < length:
                return found
        speed = (made - begun) / (time.perf_counter() - started)
        found.append(Mark(length, generation.state_bytes, _peak_bytes() - floor, speed))
    return found


def _peak_bytes() -> int:
    unit = 1 if platform.system() == "Darwin" else _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
