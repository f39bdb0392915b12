import os
import re
from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.sources.duplicates import duplicates, refuse_shared_content, without_duplicates
from seqsuite.tasks.sources.files import Found, find, find_files, read_bytes, read_files, reason_of, shorten


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(found: tuple[Path, ...] | list[Path], folder: Path) -> list[str]:
    return [str(file.relative_to(folder)) for file in found]


def test_hidden_files_and_those_of_archivers_are_not_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a.txt",
        ".ipynb_checkpoints/a-checkpoint.txt",
        "._a.txt",
        "__MACOSX/x/a.txt",
        "sub/.git/b.txt",
    )
    found = find(tmp_path, (".txt",), "text")
    assert names(found.files, tmp_path) == ["a.txt"]
    assert found.left_out == ()
    assert found.summary() == "1 file read"


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    write(tmp_path, ".cache/a.txt")
    assert names(find_files(tmp_path / ".cache", (".txt",), "text"), tmp_path) == [".cache/a.txt"]


def test_what_is_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a.txt", "b.txt", "c.md", "d/e.md", "README")
    with caplog.at_level("INFO", logger="seqsuite"):
        find_files(tmp_path, (".txt",), "text")
    assert "2 files read, 3 left out: 2 .md, 1 without suffix" in caplog.text


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path, "data/a.txt", "elsewhere/b.txt")
    (tmp_path / "data/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    (tmp_path / "data/same.txt").symlink_to(tmp_path / "data/a.txt")
    (tmp_path / "data/broken.txt").symlink_to(tmp_path / "nothing")
    found = find(tmp_path / "data", (".txt",), "text")
    assert names(found.files, tmp_path) == ["data/a.txt", "data/linked/b.txt"]
    assert names(found.left_out, tmp_path) == ["data/broken.txt"]


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        find(tmp_path / "pipe.txt", (".txt",), "text")
    with pytest.raises(UserError, match="no text files"):
        find(tmp_path, (".txt",), "text")
    with pytest.raises(UserError, match="a pipe or a device"):
        read_bytes(tmp_path / "pipe.txt")
    with pytest.raises(UserError, match="is a folder"):
        read_bytes(tmp_path)


def read_good(file: Path) -> str:
    if "bad" in file.name:
        raise UserError(f"The file {file.name!r} is bad.")
    return file.name


def test_bad_files_are_refused_together_or_skipped(caplog: pytest.LogCaptureFixture) -> None:
    files = [Path("bad1"), Path("good"), Path("bad2")]
    with pytest.raises(
        UserError, match=r"2 of 3 files cannot be used; task\.on_bad_file=skip .*'bad1'.*'bad2'"
    ):
        read_files(files, read_good, "refuse")
    assert read_files(files, read_good, "skip") == {Path("good"): "good"}
    assert "2 of 3 files cannot be used and are left out" in caplog.text
    with pytest.raises(UserError, match="None of 2 files"):
        read_files([files[0], files[2]], read_good, "skip")
    with pytest.raises(UserError, match=r"^The file 'bad1' is bad\.$"):
        read_files(files[:1], read_good, "skip")


def test_equal_contents_are_found_and_kept_out_of_two_splits() -> None:
    piece = np.arange(10, dtype=np.uint8)
    contents = {"a": piece.tobytes(), "b": b"other", "c": piece, "d": b""}
    assert duplicates(contents) == [["a", "c"]]
    assert list(without_duplicates(contents)) == ["a", "b", "d"]
    refuse_shared_content({"train": {"a": piece, "c": piece}, "test": {"b": b"other", "d": b""}})
    with pytest.raises(UserError, match=r"a \(train\) is c \(test\)"):
        refuse_shared_content({"train": {"a": piece}, "test": {"c": piece}})


def test_of_many_names_three_are_shown() -> None:
    assert shorten(["a", "b", "c"]) == "'a', 'b', 'c'"
    assert shorten(["a", "b", "c", "d", "e"]) == "'a', 'b', 'c' and 2 more"


def test_a_summary_counts_files_and_kinds(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "b.PNG", "c.png", "d.m4a", "README", "sub/LICENCE")
    found = find(tmp_path, (".txt",), "text", {".m4a": "ffmpeg"})
    assert found.summary() == "1 file read, 5 left out: 2 without suffix, 2 .png, 1 .m4a (needs ffmpeg)"
    assert Found(()).summary() == "0 files read"
    assert Found((tmp_path, tmp_path)).summary() == "2 files read"


def test_a_folder_without_such_files_says_what_they_end_in(tmp_path: Path) -> None:
    write(tmp_path, "x.mp4", "y.bin")
    place = re.escape(repr(str(tmp_path)))
    for suffixes, needs, said in (
        ((".fa", ".fa.gz", ".fa"), {}, r"\.fa \(or compressed\)\."),
        ((".fa", ".fasta", ".fa"), {".m4a": "ffmpeg"}, r"\.fa, \.fasta\."),
        ((".fa",), {".mp4": "ffmpeg"}, r"\.fa\. Left out: 1 \.mp4 \(needs ffmpeg\), 1 \.bin\."),
    ):
        with pytest.raises(
            UserError, match=f"task.path={place} has no DNA files: they should end in {said}$"
        ):
            find(tmp_path, suffixes, "DNA", needs)
    with pytest.raises(UserError, match=r"^There is no file or folder at task\.path="):
        find(tmp_path / "none", (".fa",), "DNA")


def test_one_bad_file_of_several_is_named_and_one_alone_is_its_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = [Path("good"), Path("bad")]
    assert read_files(files[:1], read_good, "refuse") == {Path("good"): "good"}
    assert caplog.text == ""
    with pytest.raises(UserError, match=r"^1 of 2 files cannot be used; task\.on_bad_file=skip goes on"):
        read_files(files, read_good, "refuse")
    with pytest.raises(UserError, match=r"^The file 'bad' is bad\.$"):
        read_files(files[1:], read_good, "refuse")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (ValueError("no good. :\nsecond line"), "no good"),
        (ValueError(""), "it is damaged"),
        (ValueError(" ..\n"), "it is damaged"),
    ],
)
def test_a_reason_is_one_line_without_a_full_stop(error: Exception, said: str) -> None:
    assert reason_of(error) == said


def test_of_names_as_many_are_shown_as_fit_and_the_rest_is_counted() -> None:
    assert shorten([]) == ""
    assert shorten(["a"]) == "'a'"
    assert shorten(["a", "b", "c", "d"]) == "'a', 'b', 'c' and 1 more"
