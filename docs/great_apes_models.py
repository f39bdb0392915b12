"""Prints what keeps models at chance on great apes within minutes, for docs/data.md.

    python docs/great_apes_models.py [--models mamba,s4,hyena] [--steps 600] [--share 0.25] [--path ALIGNMENT]

What tells most about a species is an unknown letter that stands alone, a mark of the chimpanzee's assembly
(docs/great_apes.py --gaps). The first table is how far such a letter reaches: by how much the outputs at the
last token change in a model that has learned nothing yet, when the letter so many tokens before becomes
unknown. The second is how many such letters a model must read before it begins to use them: the loss on the
same places of all species at a time, of which a share, far more than there are, has one. Chance is ln 4.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from seqsuite.experiments.config.resolve import resolve_model
from seqsuite.models.build import build_shaped
from seqsuite.models.config import ModelShape
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.tasks.great_apes import GreatApes
from seqsuite.tasks.sources.fasta import ALPHABET, N

_LENGTH = 256
_PLACES = 16  # a step: as many rows of each species
_DISTANCES = (1, 5, 20, 100)
_RATE = 2e-3
_SIZE = {"d_model": 32, "n_layer": 1}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="What keeps models at chance on great apes")
    parser.add_argument("--models", default="mamba,s4,hyena")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--path", type=Path, default=None)
    chosen = parser.parse_args(arguments)
    names = chosen.models.split(",")
    task = GreatApes(seed=0, path=chosen.path)
    print(
        "| change of the outputs by a letter | "
        + " | ".join(f"{d} before the end" for d in _DISTANCES)
        + " |"
    )
    print("|---|" + "---:|" * len(_DISTANCES))
    for name in names:
        print(
            f"| {name} | " + " | ".join(f"{change:.1e}" for change in reach(_model(name))) + " |", flush=True
        )
    marks = np.linspace(0, chosen.steps, 7)[1:].astype(int)
    letters = [f"{mark * _PLACES * chosen.share:.0f} ({mark})" for mark in marks]
    print("\n| loss after letters that stand alone (steps) | " + " | ".join(letters) + " |")
    print("|---|" + "---:|" * len(marks))
    for name in names:
        losses = train(_model(name), Places(task, chosen.share), chosen.steps)
        means = [np.mean(losses[max(mark - 100, 0) : mark]) for mark in marks]
        print(f"| {name} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |", flush=True)


def _model(name: str) -> SequenceModel:
    torch.manual_seed(0)
    shape = ModelShape(vocab_size=len(ALPHABET), seqlen=_LENGTH, n_classes=4)
    return build_shaped(resolve_model(name, _SIZE), shape)


@torch.no_grad()
def reach(model: SequenceModel) -> list[float]:
    """Return the mean change of the logits when one letter becomes unknown, by its distance from the end."""
    rows = torch.randint(0, N, (64, _LENGTH), generator=torch.Generator().manual_seed(0))
    before, changes = model(rows), []
    for distance in _DISTANCES:
        changed = rows.clone()
        changed[:, -1 - distance] = N
        changes.append(float((model(changed) - before).abs().mean()))
    return changes


class Places:
    """Draws the same places of all species; a share of them where the chimpanzee has a letter alone."""

    def __init__(self, task: GreatApes, share: float) -> None:
        self._species = task.stretches("train")
        self._share = share
        self._random = np.random.default_rng(0)
        lengths = np.array([min(map(len, parts)) for parts in zip(*self._species, strict=True)])
        self._weights = (
            np.where(lengths > _LENGTH, lengths - _LENGTH, 0) / np.clip(lengths - _LENGTH, 0, None).sum()
        )
        chimpanzee = self._species[task.class_names.index("chimpanzee")]
        self._alone = [
            (number, int(at))
            for number, stretch in enumerate(chimpanzee)
            if lengths[number] > _LENGTH
            for at in _alone(stretch)
        ]
        self._chimpanzee = chimpanzee

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows (B, L) and their species (B,)."""
        rows = [row for _ in range(_PLACES) for row in self._place()]
        species = torch.arange(len(self._species)).repeat(_PLACES)
        return torch.from_numpy(np.stack(rows).astype(np.int64)), species

    def _place(self) -> list[npt.NDArray[np.uint8]]:
        if self._random.random() < self._share:
            number, at = self._alone[self._random.integers(len(self._alone))]
            room = len(self._chimpanzee[number]) - _LENGTH
            where = float(np.clip((at - self._random.integers(0, _LENGTH)) / room, 0, 1))
        else:
            number, where = (
                int(self._random.choice(len(self._weights), p=self._weights)),
                self._random.random(),
            )
        starts = [round(where * (len(parts[number]) - _LENGTH)) for parts in self._species]
        return [parts[number][at : at + _LENGTH] for parts, at in zip(self._species, starts, strict=True)]


def _alone(stretch: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.int64]:
    """Return where unknown letters stand that have known ones on both sides."""
    known = stretch != N
    return np.flatnonzero(~known[1:-1] & known[:-2] & known[2:]) + 1


def train(model: SequenceModel, places: Places, steps: int) -> list[float]:
    """Train a model, and return the losses of its steps in nats."""
    optimizer = torch.optim.AdamW(model.parameters(), _RATE, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.1)
    losses = []
    for _ in range(steps):
        rows, species = places.draw()
        loss = cross_entropy(model(rows), species)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    main()
