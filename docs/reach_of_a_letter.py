"""Prints how far one letter reaches in models that have learned nothing yet, for docs/data.md.

    python docs/reach_of_a_letter.py [--distances 1,5,20,100,1000]

What tells most about a great ape is an unknown letter that stands alone, a mark of the chimpanzee's
assembly (docs/great_apes.py --gaps). A model reads the species from the last token: the table is by how much
the outputs there change, on average, when the letter so many tokens before becomes unknown.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from seqsuite.experiments.config.resolve import resolve_model
from seqsuite.models.build import build_shaped
from seqsuite.models.config import ModelShape
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.tasks.sources.fasta import ALPHABET, N

_ROWS = 32
_SIZE = {"d_model": 32, "n_layer": 1}
_SMALL_STEPS = {"mixer.d_state": 4, "mixer.dt_min": 1e-5, "mixer.dt_max": 1e-3}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": ("mamba", {}),
    "mamba, small steps": ("mamba", _SMALL_STEPS),
    "s4": ("s4", {}),
    "hyena": ("hyena", {}),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description="How far one letter reaches in fresh models")
    parser.add_argument("--distances", default="1,5,20,100,1000")
    distances = [int(text) for text in parser.parse_args(arguments).distances.split(",")]
    print(
        "| change of the outputs by a letter | " + " | ".join(f"{d} before the end" for d in distances) + " |"
    )
    print("|---|" + "---:|" * len(distances))
    for told, (name, settings) in MODELS.items():
        changes = reach(_fresh(name, settings, max(distances) + 1), distances)
        print(f"| {told} | " + " | ".join(f"{change:.1e}" for change in changes) + " |", flush=True)


def _fresh(name: str, settings: dict[str, Any], seqlen: int) -> SequenceModel:
    torch.manual_seed(0)
    shape = ModelShape(vocab_size=len(ALPHABET), seqlen=seqlen, n_classes=4)
    return build_shaped(resolve_model(name, _SIZE | settings), shape)


@torch.no_grad()
def reach(model: SequenceModel, distances: Sequence[int]) -> list[float]:
    """Return the mean change of the logits when one letter becomes unknown, by its distance from the end."""
    rows = torch.randint(0, N, (_ROWS, max(distances) + 1), generator=torch.Generator().manual_seed(0))
    before, changes = model(rows), []
    for distance in distances:
        changed = rows.clone()
        changed[:, -1 - distance] = N
        changes.append(float((model(changed) - before).abs().mean()))
    return changes


if __name__ == "__main__":
    main()
