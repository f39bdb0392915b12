"""Prints how well words of letters tell great apes apart by the length of a segment, for docs/data.md.

    python docs/great_apes.py [--words 3,6,8] [--lengths 1024,4096,16384,65536] [--rows N] [--path ALIGNMENT]
    python docs/great_apes.py --regression [--words 4] [--lengths 256,1024]
    python docs/great_apes.py --gaps [--lengths 1024,4096,16384]
    python docs/great_apes.py --model RUN [--lengths 1024,4096,16384]

Words are counted in all training data of the alignment, or in N random training rows of the length that is
asked about, which is what a model reads. Every segment of the split that overlaps no other
is asked about. A 95 % interval is that of 10 000 resamplings of whole stretches of the genome, since what is
seen at one place is not independent: neighbours are alike, and so are the four species.

With ``--regression``, what tells is not the words' frequencies but a logistic regression on their counts. It
reads all training data once, each place in all species at a time, so that what a place has of its own is in
all four gradients and cancels. Segments are then the same places, too.

With ``--gaps``, letters do not count, but the lengths of the runs of unknown ones (seqsuite/tasks/gaps.py).
With ``--model`` it is the logits of a finished run's model, from the folder that the run was started in.

The last column is why: by how much the log-likelihood ratio of two species differs between these two at one
place, on average, in standard deviations of that ratio between places; the most of all pairs.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from seqsuite.api import load
from seqsuite.tasks import gaps
from seqsuite.tasks.great_apes import GreatApes
from seqsuite.tasks.kmers import count_words, log_frequencies, log_likelihoods
from seqsuite.tasks.sources.fasta import N
from seqsuite.tasks.sources.maf import example_alignment, read_maf, species_name

_RESAMPLINGS = 10_000
_PLACES = 64  # a step of the regression
_RATE = 1e-3

Floats = npt.NDArray[np.float64]
Places = dict[tuple[int, int], Floats]
"""By stretch and segment in it, the log-likelihoods of the classes (C,)."""

Told = tuple[str, int, list[Places]]
"""By what, of which length, and of the places of each species."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each length of words and of segments, and the confusion matrices."""
    parser = argparse.ArgumentParser(description="Words of letters that tell great apes apart")
    parser.add_argument("--words", default="6")
    parser.add_argument("--lengths", default="1024,4096,16384,65536")
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--path", type=Path, default=None)
    parser.add_argument("--regression", action="store_true")
    parser.add_argument("--gaps", action="store_true")
    parser.add_argument("--model", default=None)
    chosen = parser.parse_args(arguments)
    task = GreatApes(seed=0, path=chosen.path)
    print("| told by | length | segments | stretches | right, % | 95 % interval | apart, sd |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    confusions = []
    told_by = _by_model if chosen.model else _by_gaps if chosen.gaps else _by_words
    for by, length, asked in told_by(task, chosen):
        print(_row(by, length, asked), flush=True)
        confusions.append((by, length, _confusion(asked)))
    print("\nUnknown letters that stand alone, in the training data")
    for name, stretches in zip(task.class_names, task.stretches("train"), strict=True):
        print(f"{name:24}{sum(map(_alone, stretches))}")
    print("\nAligned letters that differ, in %")
    for (a, b), share in _differences(chosen.path or example_alignment()):
        print(f"{a:12}{b:12}{100 * share:.2f}")
    for by, length, confusion in confusions:
        print(f"\n{by}, {length} bases: rows are species, columns what they are called")
        print(f"{'':12}" + "".join(f"{name:>12}" for name in task.class_names))
        for name, counts in zip(task.class_names, confusion, strict=True):
            print(f"{name:12}" + "".join(f"{count:12}" for count in counts))


def _by_words(task: GreatApes, chosen: argparse.Namespace) -> Iterator[Told]:
    for k in map(int, chosen.words.split(",")):
        in_all = None if chosen.regression else log_frequencies(task.stretches("train"), k)
        for length in map(int, chosen.lengths.split(",")):
            if in_all is None:
                asked = _regress(task, length, k)
            else:
                drawn = None if chosen.rows is None else _drawn(chosen.path, length, chosen.rows)
                score = partial(log_likelihoods, in_all if drawn is None else log_frequencies(drawn, k), k=k)
                asked = [_ask(stretches, length, score) for stretches in task.stretches("test")]
            yield f"words of {k}", length, asked


def _by_gaps(task: GreatApes, chosen: argparse.Namespace) -> Iterator[Told]:
    score = partial(gaps.log_likelihoods, gaps.gap_rates(task.stretches("train"), N), unknown=N)
    for length in map(int, chosen.lengths.split(",")):
        yield "gaps", length, [_ask(stretches, length, score) for stretches in task.stretches("test")]


def _by_model(task: GreatApes, chosen: argparse.Namespace) -> Iterator[Told]:
    score = partial(_logits, load(chosen.model).eval())
    for length in map(int, chosen.lengths.split(",")):
        yield chosen.model, length, [_ask(stretches, length, score) for stretches in task.stretches("test")]


@torch.no_grad()
def _logits(model: torch.nn.Module, sequence: npt.NDArray[np.uint8]) -> Floats:
    logits: Floats = model(torch.from_numpy(sequence.astype(np.int64))[None])[0].double().numpy()
    return logits


def _drawn(path: Path | None, length: int, rows: int) -> list[list[npt.NDArray[np.int64]]]:
    """Return random training segments by species."""
    task = GreatApes(seed=0, seqlen=length, path=path)
    batch = task.train_batch(range(rows))
    return [list(batch.inputs[batch.targets == number]) for number in range(len(task.class_names))]


def _ask(
    stretches: list[npt.NDArray[np.unsignedinteger[Any]]], length: int, score: Callable[..., Floats]
) -> Places:
    """Return how likely each segment of a species is, but of those of which more than half is unknown."""
    found: Places = {}
    for number, stretch in enumerate(stretches):
        for place in range(len(stretch) // length):
            segment = stretch[place * length : (place + 1) * length]
            if (segment == N).mean() <= 0.5:
                found[number, place] = score(sequence=segment)
    return found


def _regress(task: GreatApes, length: int, k: int) -> list[Places]:
    """Return the scores of each test place by species, by a regression on the same places of training."""
    torch.manual_seed(0)
    _, places = _counted(task.stretches("train"), length, k)
    mean, spread = places.mean((0, 1)), places.std((0, 1)) + 0.05
    classes = places.shape[1]
    weights = torch.zeros(places.shape[2], classes, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=_RATE)

    def scores(of: torch.Tensor) -> torch.Tensor:
        return (of - mean) / spread @ weights / len(weights) ** 0.5

    for batch in torch.randperm(len(places)).split(_PLACES):
        found = scores(places[batch])
        loss = cross_entropy(found.flatten(0, 1), torch.arange(classes).repeat(len(batch)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    keys, asked = _counted(task.stretches("test"), length, k)
    told = scores(asked).detach().double().numpy()
    return [dict(zip(keys, told[:, number], strict=True)) for number in range(classes)]


def _counted(
    species: list[list[npt.NDArray[np.uint8]]], length: int, k: int
) -> tuple[list[tuple[int, int]], torch.Tensor]:
    """Return the places known in all species, and roots of their words' counts (places, C, 4^k)."""
    keys, counts = [], []
    for number, stretches in enumerate(zip(*species, strict=True)):
        shortest = min(map(len, stretches))
        for place in range(shortest // length):
            starts = [place * length * len(stretch) // shortest for stretch in stretches]
            segments = [stretch[at : at + length] for stretch, at in zip(stretches, starts, strict=True)]
            if all((segment == N).mean() <= 0.5 for segment in segments):
                keys.append((number, place))
                counts.append(np.stack([count_words(segment, k) for segment in segments]).astype(np.float32))
    return keys, torch.from_numpy(np.stack(counts)).sqrt()


def _row(by: str, length: int, asked: list[Places]) -> str:
    stretches = np.array([key[0] for places in asked for key in places])
    right = np.array([s.argmax() == number for number, places in enumerate(asked) for s in places.values()])
    kinds, which = np.unique(stretches, return_inverse=True)
    total, good = np.bincount(which), np.bincount(which, weights=right)
    drawn = np.random.default_rng(0).integers(0, len(kinds), (_RESAMPLINGS, len(kinds)))
    low, high = np.percentile(100 * good[drawn].sum(axis=1) / total[drawn].sum(axis=1), [2.5, 97.5])
    interval = f"{low:.2f} to {high:.2f}" if len(kinds) > 1 else "–"
    apart = max(_apart(asked, a, b) for a, b in combinations(range(len(asked)), 2))
    shown = f"{apart:.2f}" if len(kinds) > 1 else "–"
    return (
        f"| {by} | {length} | {len(right)} | {len(kinds)} | {100 * right.mean():.2f} | {interval} | {shown} |"
    )


def _apart(asked: list[Places], a: int, b: int) -> float:
    """Return how far two species are apart at a place, in standard deviations between places."""
    both = sorted(asked[a].keys() & asked[b].keys())
    ratios = [np.array([asked[c][place][a] - asked[c][place][b] for place in both]) for c in (a, b)]
    spread = float(np.mean([ratio.std() for ratio in ratios]))
    return float((ratios[0] - ratios[1]).mean()) / spread if spread else 0.0


def _alone(stretch: npt.NDArray[np.unsignedinteger[Any]]) -> int:
    return int((gaps.gap_lengths(stretch, N) == 1).sum())


def _differences(alignment: Path | None) -> list[tuple[tuple[str, str], float]]:
    """Return the share of aligned letters in which two species differ, of all pairs."""
    differ, total = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for block in read_maf(alignment) if alignment else ():
        for one, other in combinations(block, 2):
            known = (one.codes < N) & (other.codes < N)
            first, second = sorted((species_name(one.species), species_name(other.species)))
            pair = (first, second)
            total[pair] += int(known.sum())
            differ[pair] += int((known & (one.codes != other.codes)).sum())
    return [(pair, differ[pair] / max(count, 1)) for pair, count in sorted(total.items())]


def _confusion(asked: list[Places]) -> npt.NDArray[np.int64]:
    confusion = np.zeros((len(asked), len(asked)), np.int64)
    for number, places in enumerate(asked):
        for likelihoods in places.values():
            confusion[number, likelihoods.argmax()] += 1
    return confusion


if __name__ == "__main__":
    main()
