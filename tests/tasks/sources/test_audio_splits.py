"""Official splits of recordings."""

import csv
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.sources.audio_splits import split_recordings


def youtubemix(folder: Path, clips: int) -> Path:
    folder.mkdir()
    for number in range(clips):
        (folder / f"out{number}.wav").touch()
    return folder


def maestro(folder: Path, rows: list[tuple[str, str]]) -> Path:
    (folder / "2004").mkdir(parents=True)
    with (folder / "maestro-v3.0.0.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(
            ["canonical_composer", "canonical_title", "split", "year", "audio_filename", "duration"]
        )
        for split, name in rows:
            writer.writerow(["Debussy, C.", 'Preludes, "Book 1"', split, 2004, f"2004/{name}", 1.0])
            (folder / "2004" / name).touch()
    return folder


def test_youtubemix_is_cut_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    splits = split_recordings(youtubemix(tmp_path / "mix", 241), "auto")
    assert splits is not None
    numbers = {split: [int(file.stem[3:]) for file in files] for split, files in splits.items()}
    assert numbers == {
        "train": list(range(212)),
        "validation": list(range(212, 226)),
        "test": list(range(226, 241)),
    }


def test_other_folders_of_such_names_are_cut_so_when_told(tmp_path: Path) -> None:
    folder = youtubemix(tmp_path / "mix", 50)
    assert split_recordings(folder, "auto") is None
    splits = split_recordings(folder, "youtubemix")
    assert splits is not None
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [44, 3, 3]
    with pytest.raises(UserError, match=r"youtubemix nothing .* is left for validation.* task.splits=own"):
        split_recordings(youtubemix(tmp_path / "few", 3), "youtubemix")


def test_maestro_has_its_splits_in_its_table(tmp_path: Path, caplog) -> None:
    rows = [("train", "a.wav"), ("train", "b.wav"), ("validation", "c.wav"), ("test", "d.wav")]
    folder = maestro(tmp_path / "maestro-v3.0.0", rows)
    (folder / "2004" / "extra.wav").touch()
    for path in (folder, tmp_path):  # as its archive has it, one folder down
        splits = split_recordings(path, "auto")
        assert splits is not None
        assert {split: [file.name for file in files] for split, files in splits.items()} == {
            "train": ["a.wav", "b.wav"],
            "validation": ["c.wav"],
            "test": ["d.wav"],
        }
    assert "1 file not in the table, and left out" in caplog.text
    (folder / "2004" / "b.wav").unlink()
    assert split_recordings(folder, "maestro") is not None
    assert "1 file in the table not there: '2004/b.wav'" in caplog.text
    assert split_recordings(folder, "own") is None


def test_what_is_wrong_with_a_table_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no table such as maestro-v3"):
        split_recordings(tmp_path, "maestro")
    folder = maestro(tmp_path / "maestro", [("train", "a.wav"), ("dev", "b.wav")])
    with pytest.raises(UserError, match="has a split 'dev': known are train, validation, test"):
        split_recordings(folder, "auto")
    folder = maestro(tmp_path / "partial", [("train", "a.wav")])
    with pytest.raises(UserError, match="is left for validation and test"):
        split_recordings(folder, "auto")
    (folder / "maestro-v3.0.0.csv").write_bytes(b"\xff\xfe\x00nonsense")
    with pytest.raises(UserError, match="has not the columns audio_filename and split"):
        split_recordings(folder, "auto")


@pytest.mark.parametrize("clips", [240, 242])
def test_only_so_many_clips_are_youtubemix(tmp_path: Path, clips: int) -> None:
    assert split_recordings(youtubemix(tmp_path / "mix", clips), "auto") is None


def test_youtubemix_has_no_other_names(tmp_path: Path) -> None:
    folder = youtubemix(tmp_path / "mix", 241)
    (folder / "out9.wav").rename(folder / "in9.wav")
    assert split_recordings(folder, "auto") is None
    assert split_recordings(folder, "own") is None
    splits = split_recordings(folder, "youtubemix")
    assert splits is not None
    assert splits["train"][9] == folder / "in9.wav"


@pytest.mark.parametrize(
    ("clips", "counts"), [(9, (7, 1, 1)), (17, (14, 1, 2)), (25, (22, 1, 2)), (100, (88, 6, 6))]
)
def test_shares_are_rounded_down(tmp_path: Path, clips: int, counts: tuple[int, int, int]) -> None:
    splits = split_recordings(youtubemix(tmp_path / "mix", clips), "youtubemix")
    assert splits is not None
    assert tuple(len(splits[split]) for split in ("train", "validation", "test")) == counts


def test_clips_are_in_the_order_of_the_last_number_in_their_names(tmp_path: Path) -> None:
    order = [
        "none.wav",
        "x0.wav",
        *(f"2 of {number}.wav" for number in (1, 2, 10)),
        *(f"c{n}.wav" for n in range(11, 16)),
    ]
    for name in order:
        (tmp_path / name).touch()
    splits = split_recordings(tmp_path, "youtubemix")
    assert splits is not None
    assert [file.name for files in splits.values() for file in files] == order


def test_a_file_and_two_tables_have_no_official_split(tmp_path: Path) -> None:
    rows = [("train", "a.wav"), ("validation", "b.wav"), ("test", "c.wav")]
    folder = maestro(tmp_path / "one", rows)
    assert split_recordings(folder / "2004" / "a.wav", "auto") is None
    (folder / "maestro-v2.0.0.csv").touch()
    with pytest.raises(UserError, match="has no table such as maestro-v3"):
        split_recordings(folder, "maestro")
    assert split_recordings(folder, "auto") is None


def test_what_a_table_lacks_and_has_too_much_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = "abcdefgh"
    folder = maestro(
        tmp_path / "one", [(("train", "test", "validation")[n % 3], f"{x}.wav") for n, x in enumerate(names)]
    )
    for name in names[4:]:
        (folder / "2004" / f"{name}.wav").rename(folder / "2004" / f"{name}0.wav")
    assert split_recordings(folder, "maestro") is not None
    table = folder / "maestro-v3.0.0.csv"
    assert [record.getMessage() for record in caplog.records] == [
        f"{table}: 4 files in the table not there: '2004/e.wav', '2004/f.wav', '2004/g.wav' and 1 more",
        f"{table}: 4 files not in the table, and left out",
    ]
    for content in ("audio_filename,divided\na,b\n", "name,split\na,b\n", "audio_filename,split\n"):
        table.write_text(content)
        with pytest.raises(UserError, match="has not the columns audio_filename and split of MAESTRO's"):
            split_recordings(folder, "auto")
