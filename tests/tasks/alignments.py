"""Small alignments of great apes, written as MAF."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np


def write_maf(file: Path, blocks: Iterable[tuple[int, Mapping[str, str]]]) -> Path:
    """Write blocks, each a start and the rows by species: ``Hsap`` is human; return the file."""
    text = "##maf version=1\n"
    for start, rows in blocks:
        told = "".join(f"s {name}.22 {start} {len(row)} + 99999 {row}\n" for name, row in rows.items())
        text += f"a\n{told}\n"
    file.write_text(text)
    return file


def human_and_chimpanzee(
    random: np.random.Generator | np.random.RandomState, starts: range
) -> list[tuple[int, dict[str, str]]]:
    """Return blocks of 400 random letters, of a human and of a chimpanzee with a letter that stands alone."""
    humans = ["".join(random.choice(list("ACGT"), 400)) for _ in starts]
    return [
        (start, {"Hsap": human, "Ptro": human[:199] + "N" + human[200:]})
        for start, human in zip(starts, humans, strict=True)
    ]
