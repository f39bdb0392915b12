"""Draws the figures of docs/ideas.md.

    python docs/ideas_figures.py            # draws them anew, in seconds
    python docs/ideas_figures.py --train    # trains the models of the first figure, too: a minute or more

What trained models let in is kept in ``images/ideas.json``, times are those of the committed exports of
fig8 and s4table1, and all else is computed.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

import seqsuite
from seqsuite.commands.inspect import DEMONSTRATION
from seqsuite.models.description import describe
from seqsuite.report.pictures import GREY, look, svg_bytes
from seqsuite.results.benchmarks import read_benchmarks

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
KEPT = IMAGES / "ideas.json"
SENTENCE = "i want to order a hamburger ."
_SCANS = {
    "seqsuite": "fused scan (ours)",
    "mambapy": "prefix scan in PyTorch (mambapy)",
    "transformers": "without kernels (transformers)",
    "fft-conv": "convolution by FFT (fixed filter)",
    "sdpa": "attention (PyTorch)",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write all figures."""
    parser = argparse.ArgumentParser(description="The figures of docs/ideas.md")
    parser.add_argument("--train", action="store_true", help="train the models of the first figure anew")
    if parser.parse_args(arguments).train:
        KEPT.write_text(json.dumps(trained(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, figure in figures().items():
        (IMAGES / name).write_bytes(svg_bytes(figure))


def figures() -> dict[str, Figure]:
    """Return the figures by file name."""
    return {
        "ideas-selectivity.svg": selectivity(json.loads(KEPT.read_text(encoding="utf-8"))),
        "ideas-modes.svg": modes(),
        "ideas-scan.svg": scan(),
        "ideas-growth.svg": growth(),
    }


def trained() -> dict[str, Any]:
    """Return the step sizes of the models that `seqsuite inspect` shows by default, for its sentence."""
    found = {}
    for cell in [cell for settings in DEMONSTRATION for cell in seqsuite.run(*settings)]:
        model = seqsuite.load(cell.run_id)
        first = describe(model, _ids(cell), str)["layers"]
        found[cell.config.model.name] = [layer["delta"]["mean"] for layer in first]
    return {"words": SENTENCE.split(), "step_sizes": found}


def _ids(cell: Any) -> torch.Tensor:
    return torch.from_numpy(cell.config.make_task().codec.encode(SENTENCE))


def selectivity(kept: dict[str, Any]) -> Figure:
    """Draw Δ of each word, of Mamba's layer in which it differs most and of S4D's same layer."""
    words, layers = kept["words"], kept["step_sizes"]["mamba"]
    place = int(np.argmax([np.ptp(layer) for layer in layers]))
    figure, axes = _panel(7.0, 2.8)
    at = np.arange(len(words))
    axes.bar(at - 0.2, layers[place], 0.4, color=look(0).colour, label="Mamba")
    constant = np.broadcast_to(kept["step_sizes"]["s4d"][place], len(words))
    axes.bar(at + 0.2, constant, 0.4, color="white", edgecolor=look(1).colour, hatch="///", label="S4D")
    axes.set_xticks(at, words)
    axes.set_ylabel("step size Δ")
    axes.set_title(f"How far layer {place + 1} opens to each word, mean of its channels", fontsize=10)
    axes.legend(frameon=False, loc="upper left")
    return figure


def two_modes() -> tuple[list[float], list[float], list[float], list[float]]:
    """Return a channel's kernel, its input, and its outputs by the recurrence and by the convolution."""
    model = seqsuite.build("s4", vocab_size=16, d_model=16, n_layer=1, seed=0).double().eval()
    ids = torch.randint(16, (48,), generator=torch.Generator().manual_seed(0))
    channel = describe(model, ids, str)["layers"][0]["modes"][0]
    kernel, entered = channel["kernel"], channel["input"]
    return kernel, entered, channel["output"], np.convolve(kernel, entered)[: len(entered)].tolist()


def modes() -> Figure:
    """Draw S4's kernel, and the outputs of its two modes over each other."""
    kernel, _, recurrence, convolution = two_modes()
    figure = Figure(figsize=(9.0, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.vlines(range(len(kernel)), 0, kernel, color=look(0).colour)
    left.plot(kernel, "o", ms=3, color=look(0).colour)
    left.set_title("kernel K̄", fontsize=10)
    left.set_xlabel("positions back")
    right.plot(convolution, color=look(0).colour, label="convolution with K̄")
    right.plot(recurrence, "o", ms=4, mfc="none", color=look(1).colour, label="recurrence")
    right.set_title("outputs y", fontsize=10)
    right.set_xlabel("position")
    right.set_ylim(min(recurrence) * 1.5, None)
    right.legend(frameon=False, loc="lower right", ncols=2)
    for axes in (left, right):
        _tidy(axes)
    return figure


def scan() -> Figure:
    """Draw the time of a training step of the scan and of its peers against the length, of fig8's export."""
    rows = [row for row in _rows("fig8", "scan") if row.get("work") == "forward + backward"]
    figure, axes = _panel(7.0, 3.6)
    for place, (peer, name) in enumerate(_SCANS.items()):
        _line(
            axes, place, name, [(row["seqlen"], row.get("median_s")) for row in rows if row["peer"] == peer]
        )
    axes.set_ylabel("seconds, forward + backward")
    axes.set_xlabel("length L")
    _lengths(axes, [128, 512, 1024, 4096, 16384, 65536])
    axes.legend(frameon=False, fontsize=8)
    return figure


def growth() -> Figure:
    """Draw what training and the state take against the length, of s4table1's and fig8's exports."""
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    training, generating = _rows("s4table1", "complexity"), _rows("fig8", "generation")
    for place, name in enumerate(("mamba", "s4", "transformer++")):
        points = [(row["seqlen"], row.get("train_bytes")) for row in training if row["model"] == name]
        _line(left, place, name, [(length, bytes_ and bytes_ / 2**20) for length, bytes_ in points])
    for place, name in enumerate(("mamba", "s4d", "transformer++")):
        points = [(row["tokens"], row.get("state_bytes")) for row in generating if row["model"] == name]
        _line(right, place, name, [(length, bytes_ and bytes_ / 2**10) for length, bytes_ in points])
    left.set_title("memory of a training step, MiB", fontsize=10)
    right.set_title("what generating keeps, KiB", fontsize=10)
    left.set_xlabel("length L")
    _lengths(left, [256, 1024, 4096])
    right.set_xlabel("tokens so far")
    for axes in (left, right):
        _tidy(axes)
        axes.legend(frameon=False, fontsize=8)
    return figure


def _rows(export: str, what: str) -> list[dict[str, Any]]:
    """Return the rows by length of a committed export."""
    (benchmark,) = (
        one for one in read_benchmarks(DOCS / "results" / f"{export}.json") or () if one.what == what
    )
    sections = benchmark.report.sections
    return [dict(row) for section in sections for row in section.rows if {"seqlen", "tokens"} & row.keys()]


def _line(axes: Axes, place: int, name: str, points: Iterable[tuple[float, float | None]]) -> None:
    known = sorted((length, value) for length, value in points if value is not None)
    style = look(place)
    axes.loglog(
        *zip(*known, strict=True), style.dashes, marker=style.marker, ms=4, color=style.colour, label=name
    )


def _lengths(axes: Axes, places: Sequence[int]) -> None:
    """Label an axis of lengths with those that were measured, and no others."""
    axes.set_xticks(places, [str(place) for place in places])
    axes.xaxis.set_minor_formatter(NullFormatter())


def _panel(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _tidy(axes)
    return figure, axes


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(GREY)


if __name__ == "__main__":
    main()
