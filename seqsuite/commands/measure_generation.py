"""How memory and speed of generation change with the length.

Run as ``python -m seqsuite.commands.measure_generation``; ``docs/generation.md`` shows what it printed. Each
model is measured in a process of its own, with fresh weights: what they are changes neither number.
"""

import multiprocessing
import platform
import resource
import time
from dataclasses import dataclass

import click
import torch

from seqsuite.models import MODELS
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.generation import Generation

_WARM_UP = 100  # tokens before anything is measured: kernels are compiled, allocators filled
_CHECK_EVERY = 1000  # tokens between looks at the clock
_VOCAB = 256
_MODELS = ("mamba", "mamba2", "s4d", "transformer++")
_KIB = 1024


@dataclass(frozen=True)
class Mark:
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


def measure(
    name: str, marks: list[int], *, d_model: int, n_layer: int, seconds: float, seed: int
) -> list[Mark]:
    """Generate up to each of ``marks`` with one model, as long as ``seconds`` allow; return the findings."""
    torch.manual_seed(seed)
    config = ModelConfig(name=name, **MODELS.load(name)(), d_model=d_model, n_layer=n_layer)
    model = build_model(config, vocab_size=_VOCAB, seqlen=max(marks)).eval()
    generation = Generation(model, torch.zeros(1, 1, dtype=torch.long), seed=seed)
    for _ in range(_WARM_UP):
        next(generation)
    found: list[Mark] = []
    made, floor = _WARM_UP, _peak_bytes()
    deadline = time.perf_counter() + seconds
    for mark in sorted(marks):
        begun, started = made, time.perf_counter()
        while made < mark:
            for _ in range(min(mark - made, _CHECK_EVERY)):
                next(generation)
                made += 1
            if time.perf_counter() > deadline and made < mark:
                return found
        speed = (made - begun) / (time.perf_counter() - started)
        found.append(Mark(mark, generation.state_bytes, _peak_bytes() - floor, speed))
    return found


def _peak_bytes() -> int:
    unit = 1 if platform.system() == "Darwin" else _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@click.command()
@click.option("--model", "models", multiple=True, default=_MODELS, show_default=True)
@click.option("--tokens", multiple=True, type=int, default=(1000, 10_000, 100_000), show_default=True)
@click.option("--d-model", default=64, show_default=True)
@click.option("--n-layer", default=2, show_default=True)
@click.option("--seconds", default=300.0, show_default=True, help="Time for each model.")
@click.option("--threads", default=1, show_default=True, help="Threads of PyTorch.")
@click.option("--seed", default=0, show_default=True)
def main(
    models: tuple[str, ...],
    tokens: tuple[int, ...],
    d_model: int,
    n_layer: int,
    seconds: float,
    threads: int,
    seed: int,
) -> None:
    """Print, as a Markdown table, memory and speed of generating at each number of tokens."""
    click.echo(f"{n_layer} layers, D = {d_model}, V = {_VOCAB}, float32, batch 1, {threads} thread(s), CPU\n")
    click.echo("| model | tokens | state | peak memory grown by | tokens/s since the row above |")
    click.echo("|---|--:|--:|--:|--:|")
    for name in models:
        settings = {"d_model": d_model, "n_layer": n_layer, "seconds": seconds, "seed": seed}
        with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, (threads,)) as pool:
            found = pool.apply(measure, (name, list(tokens)), settings)
        for mark in found:
            state, grown = f"{mark.state_bytes / _KIB:,.1f} KiB", f"{mark.grown_bytes / _KIB**2:,.1f} MiB"
            click.echo(f"| {name} | {mark.tokens:,} | {state} | {grown} | {mark.tokens_per_second:,.0f} |")
        for missed in sorted(tokens)[len(found) :]:
            click.echo(f"| {name} | {missed:,} | not within {seconds:.0f} s | | |")


if __name__ == "__main__":
    main()
