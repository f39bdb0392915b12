from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.sources.intervals import Interval, extend, read_intervals, tile, windows_of


def test_basenji_layout_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.bed").write_text(
        "# c\nchr18\t10\t20\ttrain\n\nchr4 30 40 valid\nchr4\t50\t60\ttest\tmore\n"
    )
    assert read_intervals(tmp_path / "a.bed") == [
        Interval("chr18", 10, 20, "train"),
        Interval("chr4", 30, 40, "validation"),
        Interval("chr4", 50, 60, "test"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no intervals"),
        ("chr1\t10\t20\n", "Line 1 of .* is not chrom, start, end and split"),
        ("chr1\t10\t20\ttrain\nchr1\tx\t20\ttrain\n", "Line 2 of"),
        ("chr1\t10\t20\tfold1\n", "train, valid or test"),
        ("chr1\t20\t10\ttrain\n", "ends before it begins"),
        (
            "chr1\t0\t100\ttrain\nchr1\t10\t20\ttrain\nchr1\t50\t60\ttest\n",
            "chr1:0-100 in train and chr1:50-60 in test, which overlap",
        ),
    ],
)
def test_bad_beds_are_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.bed").write_text(text)
    with pytest.raises(UserError, match=message):
        read_intervals(tmp_path / "a.bed")


def test_shorter_contexts_tile() -> None:
    tiles = tile([Interval("c", 100, 110, "train"), Interval("c", 0, 3, "test")], 4)
    assert tiles == [Interval("c", 100, 104, "train"), Interval("c", 104, 108, "train")]


def test_longer_ones_are_centred_where_there_is_room() -> None:
    assert extend([Interval("c", 100, 110, "train")], 30, {"c": 200}) == [Interval("c", 90, 120, "train")]
    assert extend([Interval("c", 2, 12, "train")], 30, {"c": 200}) == [Interval("c", 0, 30, "train")]
    assert extend([Interval("c", 2, 12, "train")], 30, {"c": 20}) == []


@pytest.mark.parametrize("length", [16, 24, 40, 100, 300])
def test_windows_of_two_splits_never_share_a_base(length: int) -> None:
    rng = np.random.default_rng(length)
    chrom_lengths = {"a": 3_000, "b": 2_000}
    intervals = [
        Interval(
            chrom, start, start + 16, str(rng.choice(["train", "validation", "test"], p=[0.8, 0.1, 0.1]))
        )
        for chrom, end in chrom_lengths.items()
        for start in range(int(rng.integers(20)), end - 16, 16 + int(rng.integers(20)))
    ]
    windows = windows_of(intervals, length, chrom_lengths)
    assert windows == windows_of(list(intervals), length, chrom_lengths)
    owners: dict[tuple[str, int], str] = {}
    for window in windows:
        assert window.end - window.start == length
        assert window.start >= 0
        assert window.end <= chrom_lengths[window.chrom]
        assert any(
            i.start >= window.start and i.end <= window.end and i.split == window.split for i in intervals
        )
        for base in range(window.start, window.end):
            assert owners.setdefault((window.chrom, base), window.split) == window.split


def test_windows_without_room_are_refused() -> None:
    with pytest.raises(UserError, match="No interval has room for 500 bases"):
        windows_of([Interval("c", 0, 10, "train")], 500, {"c": 400})
    with pytest.raises(UserError, match="'d', which the genome does not have"):
        windows_of([Interval("d", 0, 10, "train")], 20, {"c": 400})
    with pytest.raises(UserError, match="ends behind its chromosome"):
        windows_of([Interval("c", 395, 405, "train")], 20, {"c": 400})
