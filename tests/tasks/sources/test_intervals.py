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


def test_splits_may_touch_and_overlap_in_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.bed").write_text("a\t0\t10\ttrain\na\t10\t11\ttest\nb\t0\t10\tval\na 11 20 TRAIN\n")
    assert len(read_intervals(tmp_path / "a.bed")) == 4
    lines = "a\t0\t20\ttrain\na\t5\t20\ttrain\na\t6\t8\ttrain\na\t19\t30\ttest\n"
    (tmp_path / "b.bed").write_text("track x\nbrowser y\n" + lines)
    with pytest.raises(UserError, match=r"has a:0-20 in train and a:19-30 in test, which overlap\.$"):
        read_intervals(tmp_path / "b.bed")


@pytest.mark.parametrize("line", ["a\t5\t5\ttrain", "a\t-1\t5\ttrain"])
def test_an_interval_has_a_base(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.bed").write_text(f"a\t0\t1\ttrain\n{line}\n")
    with pytest.raises(UserError, match=r"^Line 2 of .* ends before it begins: 'a"):
        read_intervals(tmp_path / "a.bed")


def test_tiles_fill_an_interval_to_its_end() -> None:
    def starts(end: int) -> list[int]:
        return [tile.start for tile in tile([Interval("c", 100, end, "train")], 4)]

    assert [starts(end) for end in (103, 104, 107, 108)] == [[], [100], [100], [100, 104]]


def test_splits_share_the_room_between_them() -> None:
    """Of the 20 bases from 30 to 50 each side has ten; within a split there is no border."""
    lengths = {"c": 100}
    intervals = [
        Interval("c", 10, 20, "train"),
        Interval("c", 22, 30, "train"),
        Interval("c", 50, 59, "test"),
        Interval("c", 70, 80, "train"),
    ]

    def starts(length: int) -> list[tuple[int, int]]:
        return [(window.start, window.end) for window in extend(intervals, length, lengths)]

    assert starts(10) == [(10, 20), (21, 31), (49, 59), (70, 80)]
    assert starts(24) == [(3, 27), (14, 38), (40, 64), (64, 88)]
    assert starts(25) == [(2, 27), (13, 38), (64, 89)]
    assert starts(36) == [(0, 36), (4, 40), (64, 100)]
    assert starts(40) == [(0, 40), (0, 40)]
    assert starts(41) == []
    with pytest.raises(UserError, match="interval c:10-20 has more than 9 bases"):
        extend(intervals, 9, lengths)


def test_nested_intervals_of_a_split_have_its_longest_end() -> None:
    intervals = [
        Interval("c", 0, 20, "train"),
        Interval("c", 5, 9, "train"),
        Interval("c", 31, 41, "test"),
    ]
    windows = extend(intervals, 25, {"c": 60})
    assert [(window.start, window.end) for window in windows] == [(0, 25), (0, 25), (25, 50)]
    assert [window.start for window in windows_of(intervals, 20, {"c": 60})] == [0]
    assert [window.start for window in windows_of(intervals, 21, {"c": 60})] == [0, 0, 25]
    assert extend([Interval("c", 0, 10, "train")], 10, {"c": 10}) == [Interval("c", 0, 10, "train")]
