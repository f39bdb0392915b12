"""Synthetic DNA of two kinds, as simple as a textbook's: CpG islands, and what is around them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.random import row_rng
from seqsuite.tasks.sources.fasta import Record

CLASSES = ("background", "island")

_STEPS: Mapping[str, npt.NDArray[np.float64]] = {
    "background": np.array(
        [
            [0.300, 0.205, 0.285, 0.210],
            [0.322, 0.298, 0.078, 0.302],
            [0.248, 0.246, 0.298, 0.208],
            [0.177, 0.239, 0.292, 0.292],
        ]
    ),
    "island": np.array(
        [
            [0.180, 0.274, 0.426, 0.120],
            [0.171, 0.368, 0.274, 0.187],
            [0.161, 0.339, 0.375, 0.125],
            [0.079, 0.355, 0.384, 0.182],
        ]
    ),
}
"""Which base (columns A, C, G, T) follows which (rows), by Durbin, Eddy, Krogh & Mitchison (1998), § 3.1."""

_COUNTS: Mapping[Split, int] = {"train": 4096, "validation": 512, "test": 1024}
_SEED = 0


def cpg_islands(longest: int) -> dict[Split, list[tuple[Record, str]]]:
    """Return the same sequences of ``longest // 2 … longest`` bases always, as many of each class."""
    return {split: list(_draw(split, longest)) for split in SPLITS}


def _draw(split: Split, longest: int) -> list[tuple[Record, str]]:
    rng = row_rng(_SEED, split, 0)
    count = _COUNTS[split] // len(CLASSES)
    drawn: list[tuple[Record, str]] = []
    for name in CLASSES:
        bases = np.zeros((count, longest), dtype=np.uint8)
        bases[:, 0] = rng.integers(0, 4, count)
        limits = np.cumsum(_STEPS[name], axis=1)[:, :3]
        for place in range(1, longest):
            above = rng.random(count)[:, None] >= limits[bases[:, place - 1]]
            bases[:, place] = above.sum(axis=1)
        lengths = rng.integers(max(longest // 2, 1), longest + 1, count)
        drawn += [(row[:length], name) for row, length in zip(bases, lengths.tolist(), strict=True)]
    return drawn
