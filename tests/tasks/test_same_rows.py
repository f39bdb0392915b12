"""The rows of every task are the same in all versions: so results of different ones can be compared.

Where a task's rows are to become others, that is a change users are told of; the digests here are then
renewed by what the failing test shows.
"""

import hashlib
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqsuite.tasks import TASKS
from seqsuite.tasks.base import Batch, Split, Task
from seqsuite.tasks.checks import check_batch

from .alignments import human_and_chimpanzee, write_maf

EVALUATED = 24
"""Rows of each evaluation set."""

Files = Callable[[Path], dict[str, Any]]


def text(folder: Path) -> dict[str, Any]:
    words = np.random.RandomState(0).choice(["scan", "state", "kernel", "the", "of", "a"], 6000)
    (folder / "text.txt").write_text(" ".join(words), encoding="utf-8")
    return {"path": folder / "text.txt", "seqlen": 32}


def records(folder: Path) -> dict[str, Any]:
    text(folder)
    lines = (folder / "text.txt").read_text(encoding="utf-8").split("the")
    (folder / "text.txt").unlink()
    (folder / "text.jsonl").write_text("".join(f'{{"text": "{line}"}}\n' for line in lines), encoding="utf-8")
    return {"path": folder / "text.jsonl", "seqlen": 32, "packed": True}


def genome(folder: Path) -> dict[str, Any]:
    random = np.random.RandomState(0)
    letters = ["".join(random.choice(list("ACGT"), count)) for count in (9000, 5000, 4000)]
    letters[1] = letters[1][:2000] + "N" * 700 + letters[1][2700:]
    (folder / "genome.fa").write_text("".join(f">chr{i}\n{text}\n" for i, text in enumerate(letters)))
    return {"path": folder / "genome.fa", "seqlen": 32}


def species(folder: Path) -> dict[str, Any]:
    random = np.random.RandomState(0)
    for name in ("human", "gorilla", "orangutan"):
        letters = "".join(random.choice(list("ACGT"), 6000))
        (folder / name).mkdir()
        (folder / name / "chr1.fa").write_text(f">chr1\n{letters[:4000]}\n>chr2\n{letters[4000:]}\n")
    return {"path": folder, "seqlen": 32}


def aligned(folder: Path) -> dict[str, Any]:
    blocks = human_and_chimpanzee(np.random.RandomState(0), range(0, 20_000, 1000))
    return {"path": write_maf(folder / "apes.maf", blocks), "seqlen": 32}


def sound(folder: Path) -> dict[str, Any]:
    random = np.random.RandomState(0)
    for index in range(10):
        with wave.open(str(folder / f"{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(random.randint(-20000, 20000, 4000).astype("<i2").tobytes())
    return {"path": folder, "seqlen": 32}


def nothing(folder: Path) -> dict[str, Any]:
    return {}


TASKS_OF: dict[str, tuple[str, dict[str, Any], Files]] = {
    "copying": ("copying", {"length": 20, "num_tokens": 4}, nothing),
    "selective copying": ("selective_copying", {"length": 20, "num_tokens": 4}, nothing),
    "induction heads": ("induction_heads", {"length": 16, "max_length": 64}, nothing),
    "mqar": ("mqar", {"length": 32, "pairs": 4, "vocab_size": 64}, nothing),
    "mqar, mixed": ("mqar", {"protocol": "mixed"}, nothing),
    **{
        f"state tracking, {problem}": (
            "state_tracking",
            {"problem": problem, "length": 16, "max_length": 32},
            nothing,
        )
        for problem in ("parity", "arithmetic", "A5", "S5", "Z60")
    },
    "needle": ("needle", {"length": 32, "max_length": 64, "digits": 3}, nothing),
    "needle, random hay": ("needle", {"length": 32, "max_length": 64, "digits": 3, "hay": "random"}, nothing),
    "hamburger": ("hamburger", {}, nothing),
    "text": ("text", {}, text),
    "text, streamed": ("text", {"carry_state": True, "lanes": 4}, text),
    "text, packed": ("text", {}, records),
    "dna": ("dna", {}, genome),
    "dna, longer and longer": ("dna", {"length_warmup": 16, "warmup_from": 8}, genome),
    "great apes": ("great_apes", {}, species),
    "great apes, aligned": ("great_apes", {}, aligned),
    "great apes, matched": ("great_apes", {"matched": True, "near_gaps": 0.5}, aligned),
    "classes of dna": ("dna_classification", {"seqlen": 64}, nothing),
    "piano": ("piano", {}, sound),
    "piano, linear": ("piano", {"quantization": "linear16"}, sound),
}

DIGESTS = {
    "copying": "63fe08ff814d",
    "selective copying": "ee2664001d30",
    "induction heads": "5e9b912a878c",
    "mqar": "35765b0a4a1c",
    "mqar, mixed": "e9cdf174622c",
    "state tracking, parity": "16b29abd8d3f",
    "state tracking, arithmetic": "cac6ed163afe",
    "state tracking, A5": "7cfc31133cbd",
    "state tracking, S5": "a235bf32067e",
    "state tracking, Z60": "249ace7ebc0d",
    "needle": "48e2a8f10c84",
    "needle, random hay": "71b268662706",
    "hamburger": "da7c0ce33bd4",
    "text": "33ff825e3425",
    "text, streamed": "768e200e7289",
    "text, packed": "cc1cd6cf9bed",
    "dna": "0ca895be559b",
    "dna, longer and longer": "c45b2419bdeb",
    "great apes": "66a06fd8f7fd",
    "great apes, aligned": "e39951bafc52",
    "great apes, matched": "cbfe2e8bdea6",
    "classes of dna": "728e54f297b6",
    "piano": "7b3bde1a18c7",
    "piano, linear": "8aa137375e27",
}


def digest(task: Task) -> str:
    """Return the first letters of a hash of rows of all splits, their targets and lengths; check them too."""
    found = hashlib.sha256()

    def add(batch: Batch) -> None:
        for part in batch:
            if part is not None:
                values = np.asarray(part)
                found.update(str(values.shape).encode())
                found.update(np.ascontiguousarray(values, dtype=np.int64).tobytes())

    for start in range(0, 40, 4):
        batch = task.train_batch(range(start, start + 4))
        check_batch(task, batch, range(start, start + 4))
        add(batch)
    splits: tuple[Split, ...] = ("validation", "test")
    for which in (which for split in splits for which in task.eval_sets(split)):
        rows = range(min(which.lanes or EVALUATED, which.rows))
        batch = task.eval_batch(which, rows)
        check_batch(task, batch, rows, which)
        add(batch)
    return found.hexdigest()[:12]


@pytest.mark.parametrize("name", TASKS_OF)
def test_rows_are_those_of_all_versions(name: str, tmp_path: Path) -> None:
    task, options, files = TASKS_OF[name]
    made = TASKS.load(task)(seed=3, **options, **files(tmp_path))
    assert digest(made) == DIGESTS[name]
