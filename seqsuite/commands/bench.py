"""``seqsuite bench``: options to settings, progress on the error output, the report on the other."""

import importlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from rich.console import Console

from seqsuite.bench.operations import using_threads
from seqsuite.bench.settings import Settings
from seqsuite.devices import usable_cores
from seqsuite.errors import UserError
from seqsuite.report import Report
from seqsuite.report.pictures import PictureFile, check_picture
from seqsuite.results.growth_tables import write_benchmark

SIZES = {
    "scan": ("B", "L", "D", "N"),
    "conv": ("B", "L", "D", "K"),
    "ssd": ("B", "L", "D", "N"),
    "block": ("B", "L", "d_model"),
    "decode": ("d_model",),
    "generation": ("tokens",),
    "complexity": ("L",),
    "host": (),
    "zoo": ("B", "L", "d_model"),
}
_LIMIT_S = {"block": 60.0, "zoo": 60.0, "generation": 300.0, "complexity": 5.0}
_DEFAULT_LIMIT_S = 20.0
_NO_FIGURE = ("data", "executors", "host", "tracking")
_REPEATS, _QUICK_REPEATS = 7, 2
_MOST_TIMES = 1_000


def run_benchmark(
    what: str,
    *,
    shapes: Sequence[str] = (),
    sweep: bool = False,
    peers: str | None = None,
    repeats: int | None = None,
    threads: str | None = None,
    allocator: str = "default",
    limit: float | None = None,
    device: str = "auto",
    dtype: str = "float32",
    style: str = "table",
    figure: PictureFile | None = None,
    quick: bool = False,
) -> Report:
    """Run one benchmark, print its report, draw it if asked to, and return it.

    Raises:
        UserError: an option cannot be used, or a peer asked for cannot run here.
    """
    if what in ("tracking", "executors") and (shapes or peers):
        raise UserError(f"{what} trains one small model: leave out --shape and --peers.")
    if what == "data" and shapes:
        raise UserError("data takes the tasks as they are at scale=cpu: leave out --shape.")
    options: dict[str, object] = {
        "--shape": list(shapes),
        "--sweep": sweep,
        "--peers": peers,
        "--repeats": repeats,
        "--threads": threads,
        "--allocator": allocator if allocator != "default" else None,
        "--limit": None if limit is None else f"{limit:g}",
        "--device": device if device != "auto" else None,
        "--dtype": dtype if dtype != "float32" else None,
        "--quick": quick,
    }
    settings = Settings(
        command=_command(what, options),
        device=_device(device),
        dtype=dtype,
        threads=_threads(threads),
        allocators=("default", "tuned") if allocator == "both" else (allocator,),
        repeats=repeats or (_QUICK_REPEATS if quick else _REPEATS),
        limit_s=limit or _LIMIT_S.get(what, _DEFAULT_LIMIT_S),
        peers=tuple(name.strip() for name in peers.split(",")) if peers else (),
        shapes=tuple(_shape(text, SIZES[what]) for text in shapes),
        sweep=sweep,
        quick=quick,
    )
    if sweep and what != "scan":
        raise UserError(f"--sweep is for scan: {what} has no sweep over lengths.")
    if what == "host" and (shapes or peers):
        raise UserError("bench host has no --shape and no --peers: it takes small calls of our own kernels.")
    if dtype != "float32" and what in ("block", "complexity", "decode", "generation", "zoo"):
        raise UserError(f"--dtype {dtype} is for scan, conv and ssd; whole models are timed in float32.")
    if figure is not None:
        if what in _NO_FIGURE:
            raise UserError(f"--figure draws times of peers, and bench {what} compares none: leave it out.")
        check_picture(figure)
    benchmark = importlib.import_module(f"seqsuite.bench.{what}")
    started = time.perf_counter()
    with _progress() as say, using_threads(settings.threads[0]):
        report: Report = benchmark.run(settings, say)
    seconds = time.perf_counter() - started
    if quick:
        from seqsuite.results.benchmarks import labelled

        report = labelled(report)
    write_benchmark(report, style, sys.stdout)
    if not quick:
        from seqsuite.results.benchmarks import EXPERIMENT, record_benchmark

        run_id = record_benchmark(what, report, seconds)
        _say(f"Recorded as run {run_id[:8]} of the experiment {EXPERIMENT}.")
    if figure is not None:
        from seqsuite.results.benchmark_figure import draw  # matplotlib, which no table needs

        draw([report], figure)
        _say(f"The picture is in {figure}.")
    return report


def _say(sentence: str) -> None:
    Console(stderr=True, highlight=False).print(sentence, markup=False, soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being measured; the report is for the standard output alone."""
    console = Console(stderr=True, highlight=False)
    with console.status("starting") as status:
        yield lambda text: status.update(text)


def _command(what: str, options: dict[str, object]) -> str:
    words = ["seqsuite", "bench", what]
    for name, value in options.items():
        if value is True:
            words.append(name)
        elif isinstance(value, list):
            words += [word for item in value for word in (name, item)]
        elif value not in (None, False):
            words += [name, str(value)]
    return shlex.join(words)


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda needs a GPU that PyTorch can use, and there is none: use --device cpu."
        )
    return name


def _threads(text: str | None) -> tuple[int, ...]:
    if text is None:
        return (usable_cores(),)
    counts = tuple(int(part) if part.strip().isdecimal() else 0 for part in text.split(","))
    if not all(1 <= count <= _MOST_TIMES for count in counts):
        raise UserError(f"--threads {text} is not a list of positive numbers: write --threads 1,2.")
    return counts


def _shape(text: str, names: tuple[str, ...]) -> tuple[int, ...]:
    sizes = tuple(int(part) if part.strip().isdecimal() else 0 for part in text.split(","))
    if len(sizes) != len(names) or 0 in sizes:
        example = {"B": 8, "L": 1024, "D": 512, "N": 16, "K": 4, "d_model": 64, "tokens": 1000}
        right = ",".join(str(example[name]) for name in names)
        raise UserError(
            f"--shape {text} is not {','.join(names)} in positive numbers: write --shape {right}."
        )
    return sizes
