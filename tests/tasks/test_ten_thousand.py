"""10 000 batches of each task that reads data, looked up in the files that they are from.

The data is random, so that a stretch of it is in one place only: a training row that is found in what
training may read shares no position with validation or test.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from seqsuite.tasks import TASKS
from seqsuite.tasks.base import IGNORE, Batch, Split, Task

from ..spoken import write_digits
from .alignments import human_and_chimpanzee, write_maf

ROWS, LENGTH = 2, 48
LETTERS = "ACGT"
COMPLEMENT = str.maketrans(LETTERS, "TGCA")
CUTS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


class Checked(NamedTuple):
    """A task, and what says whether a row of inputs and targets (L,) or a class is right for a split."""

    task: Task
    is_right: Callable[[np.ndarray, np.ndarray, Split], bool]


def part(content: bytes, split: Split) -> bytes:
    first, last = (int(len(content) * share) for share in CUTS[split])
    return content[first:last]


def shifted(content: bytes) -> Callable[[np.ndarray, np.ndarray, Split], bool]:
    """The whole window, inputs and last target, is in the split's part of ``content``, of a byte a token."""
    parts = {split: part(content, split) for split in CUTS}

    def is_right(inputs: np.ndarray, targets: np.ndarray, split: Split) -> bool:
        counted = int((targets != IGNORE).sum())
        window = np.append(inputs[:counted], targets[counted - 1])
        same = np.array_equal(inputs[1:counted], targets[: counted - 1])
        return same and window.astype(np.uint8).tobytes() in parts[split]

    return is_right


def text(folder: Path) -> Checked:
    content = np.random.default_rng(0).integers(32, 127, 30_000).astype(np.uint8).tobytes()
    (folder / "a.txt").write_bytes(content)
    return Checked(TASKS.load("text")(seed=0, seqlen=LENGTH, path=folder / "a.txt"), shifted(content))


def piano(folder: Path) -> Checked:
    from seqsuite.tasks.sources import audio

    noise = np.random.default_rng(0).uniform(-1, 1, 30_000)
    soundfile.write(folder / "a.wav", noise, 16_000, subtype="FLOAT")
    content = audio.encode(noise.astype(np.float32)).tobytes()
    return Checked(TASKS.load("piano")(seed=0, seqlen=LENGTH, path=folder / "a.wav"), shifted(content))


def dna(folder: Path) -> Checked:
    """Either strand."""
    codes = np.random.default_rng(0).integers(0, 4, 30_000).astype(np.uint8)
    (folder / "a.fa").write_text(f">a\n{''.join(LETTERS[code] for code in codes)}\n")
    forth = shifted(codes.tobytes())

    def is_right(inputs: np.ndarray, targets: np.ndarray, split: Split) -> bool:
        window = np.append(inputs, targets[-1])
        back = 3 - window[::-1]
        return forth(inputs, targets, split) or (
            split == "train" and forth(back[:-1], back[1:], split) and np.array_equal(window[1:], targets)
        )

    return Checked(TASKS.load("dna")(seed=0, seqlen=LENGTH, path=folder / "a.fa"), is_right)


def great_apes(folder: Path) -> Checked:
    """The segment is of the species that the class says."""
    rng = np.random.default_rng(0)
    parts: list[dict[str, bytes]] = []
    for species in ("bonobo", "human"):
        codes = rng.integers(0, 4, 30_000).astype(np.uint8)
        (folder / f"{species}.fa").write_text(f">a\n{''.join(LETTERS[code] for code in codes)}\n")
        parts.append({split: part(codes.tobytes(), split) for split in CUTS})

    def is_right(inputs: np.ndarray, targets: np.ndarray, split: Split) -> bool:
        return inputs.astype(np.uint8).tobytes() in parts[int(targets)][split]

    return Checked(TASKS.load("great_apes")(seed=0, seqlen=LENGTH, path=folder), is_right)


def matched_apes(folder: Path) -> Checked:
    """The segment is in the blocks of the species and of the split, and the row before has its place, too."""
    blocks = human_and_chimpanzee(np.random.default_rng(0), range(0, 80_000, 2000))
    write_maf(folder / "a.maf", blocks)
    parts = [[rows["Ptro"], rows["Hsap"]] for _, rows in blocks]
    blocks_of = {split: slice(*(int(40 * share) for share in CUTS[split])) for split in CUTS}

    def is_right(inputs: np.ndarray, targets: np.ndarray, split: Split) -> bool:
        segment = "".join((LETTERS + "N")[code] for code in inputs)
        found = [block for block in parts[blocks_of[split]] if segment in block[int(targets)]]
        return len(found) == 1 and (split != "train" or ("N" in segment) == (targets == 0))

    options = {"seqlen": LENGTH, "path": folder / "a.maf", "matched": True, "near_gaps": 1.0}
    return Checked(TASKS.load("great_apes")(seed=0, **options), is_right)


def dna_classification(folder: Path) -> Checked:
    """The sequence is in the file of its class and split; what is validation's is never training's."""
    rng = np.random.default_rng(0)
    known: dict[tuple[str, str], int] = {}
    for file in ("train", "test"):
        for label, name in enumerate(("a", "b")):
            (folder / file).mkdir(exist_ok=True)
            made = ["".join(rng.choice(list(LETTERS), LENGTH)) for _ in range(200)]
            records = "".join(f">{number}\n{letters}\n" for number, letters in enumerate(made))
            (folder / file / f"{name}.fa").write_text(records)
            known |= {(file, letters): label for letters in made}
    task = TASKS.load("dna_classification")(seed=0, seqlen=LENGTH, path=folder)
    which = task.eval_sets("validation")[0]
    held_out = {row.tobytes() for row in task.eval_batch(which, range(which.rows)).inputs}

    def is_right(inputs: np.ndarray, targets: np.ndarray, split: Split) -> bool:
        letters = "".join(LETTERS[code] for code in inputs)
        strands = [letters, letters[::-1].translate(COMPLEMENT)] if split == "train" else [letters]
        file = "test" if split == "test" else "train"
        right = any(known.get((file, strand)) == int(targets) for strand in strands)
        return right and (inputs.tobytes() in held_out) == (split == "validation")

    return Checked(task, is_right)


def sc09(folder: Path) -> Checked:
    """The clip is one of the recordings of its split."""
    from seqsuite.tasks.prepare.digit_clips import read_clip
    from seqsuite.tasks.sources.speech_commands import find_digits

    clips = {
        split: {read_clip(file.path, 2000).tobytes() for file in files}
        for split, files in find_digits(write_digits(folder / "digits")).items()
    }

    def is_right(inputs: np.ndarray, targets: np.ndarray, split: Split) -> bool:
        shifts = np.array_equal(inputs[1:], targets[:-1]) and inputs[0] == 128
        return shifts and targets.astype(np.uint8).tobytes() in clips[split]

    return Checked(TASKS.load("sc09")(seed=0, sample_rate=2000, path=folder / "digits"), is_right)


MADE = {
    made.__name__: made for made in (text, piano, dna, great_apes, matched_apes, dna_classification, sc09)
}


def check(checked: Checked, batch: Batch, split: Split) -> None:
    io = checked.task.io
    assert batch.inputs.min() >= 0
    assert batch.inputs.max() < io.vocab_size
    assert batch.targets.max() < (io.n_classes or io.vocab_size)
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        assert checked.is_right(inputs, targets, split)


@pytest.mark.parametrize("batches", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", MADE)
def test_batches_are_in_their_splits_part_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, batches: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    checked = MADE[name](tmp_path)
    for number in range(batches):
        check(checked, checked.task.train_batch(range(number * ROWS, (number + 1) * ROWS)), "train")
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        which = checked.task.eval_sets(split)[0]
        check(checked, checked.task.eval_batch(which, range(which.rows)), split)
