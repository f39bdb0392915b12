"""What headers claim, byte by byte: at the edge of what is looked at, and where a size is missing."""

from pathlib import Path
from typing import IO

import pytest

from seqsuite.tasks.sources.audio_headers import corrected, shortfall

OPEN = 0xFFFFFFFF


def save(folder: Path, content: bytes) -> Path:
    (folder / "a").write_bytes(content)
    return folder / "a"


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def wav(data: bytes, claimed: int, *, before: bytes = b"") -> bytes:
    """Return a WAV file as a header claims it, with other chunks before its data."""
    return b"RIFF" + number(0) + b"WAVE" + before + b"data" + number(claimed) + data


def seen(file: Path) -> bytes | None:
    """Return what the library is shown instead of the file, or nothing where it is shown the file."""
    with corrected(file) as source:
        if isinstance(source, Path):
            assert source == file
            return None
        assert source.readable()
        assert source.seekable()
        return read_all(source)


def read_all(source: IO[bytes]) -> bytes:
    whole = source.read()
    assert source.tell() == len(whole)
    for start in range(0, min(len(whole), 60), 3):  # pieces of all places are the same as the whole
        assert source.seek(start) == start
        assert source.read(5) == whole[start : start + 5]
    return whole


@pytest.mark.parametrize("claimed", [0, OPEN])
def test_data_of_unknown_size_has_the_size_that_is_there(tmp_path: Path, claimed: int) -> None:
    for data in (b"x", b"abcdefgh" * 5):
        assert seen(save(tmp_path, wav(data, claimed))) == wav(data, len(data))
    assert seen(save(tmp_path, wav(b"", claimed))) is None
    assert seen(save(tmp_path, wav(b"abc", claimed).replace(b"RIFF", b"RIFX"))) is None
    assert seen(save(tmp_path, wav(b"abc", claimed).replace(b"WAVE", b"AVI "))) is None


@pytest.mark.parametrize("claimed", [1, 2, 3, 100, OPEN - 1])
def test_a_size_that_is_given_is_left_alone(tmp_path: Path, claimed: int) -> None:
    assert seen(save(tmp_path, wav(b"abc", claimed))) is None


def test_data_lies_behind_chunks_of_even_and_odd_length(tmp_path: Path) -> None:
    chunks = b"fmt " + number(2) + b"ab" + b"odd " + number(3) + b"abc\0" + b"none" + number(0)
    assert seen(save(tmp_path, wav(b"xyz", 0, before=chunks))) == wav(b"xyz", 3, before=chunks)


@pytest.mark.parametrize(("length", "known"), [(65_508, True), (65_509, False), (65_510, False)])
def test_the_first_64_kib_are_looked_at(tmp_path: Path, length: int, known: bool) -> None:
    """The header of the data ends at byte 28 + length + its padding."""
    chunk = b"junk" + number(length) + bytes(length + length % 2)
    assert seen(save(tmp_path, wav(b"xyz", 0, before=chunk))) == (
        wav(b"xyz", 3, before=chunk) if known else None
    )


@pytest.mark.parametrize(
    ("there", "told"),
    [(2**32 - 3, 2**32 - 3), (2**32 - 2, 2**32 - 2), (2**32 - 1, 2**32 - 2), (2**33, 2**32 - 2)],
)
def test_more_than_four_bytes_can_tell_is_the_most_they_can(tmp_path: Path, there: int, told: int) -> None:
    file = save(tmp_path, wav(b"", 0))
    with file.open("r+b") as handle:
        handle.truncate(20 + there)  # with a hole, which takes no room on the disk
    with corrected(file) as source:
        assert not isinstance(source, Path)
        assert source.read(20) == wav(b"", told)


def flac(total: bytes, rest: bytes = b"rest") -> bytes:
    return b"fLaC" + bytes(range(4, 21)) + total + rest


def test_flac_is_of_unknown_length_and_keeps_its_sample_size(tmp_path: Path) -> None:
    assert seen(save(tmp_path, flac(b"\xab\xcd\xef\x12\x34"))) == flac(b"\xa0\0\0\0\0")
    assert seen(save(tmp_path, flac(b"\xab\xcd\xef\x12\x34", b"r"))) == flac(b"\xa0\0\0\0\0", b"r")
    assert seen(save(tmp_path, flac(b"\xab\xcd\xef\x12\x34", b""))) is None


def test_flac_lacks_what_its_header_claims(tmp_path: Path) -> None:
    claimed = 0xB_00_00_01_02
    file = save(tmp_path, flac(b"\xfb\0\0\1\2"))
    assert shortfall(file, claimed, 7) == ""
    assert (
        shortfall(file, claimed - 1, 7)
        == f"it has {claimed - 1} of the {claimed} samples that its header claims"
    )


def test_samples_that_the_library_expected_are_missed(tmp_path: Path) -> None:
    file = save(tmp_path, b"another format")
    assert shortfall(file, 9, 9) == ""
    assert shortfall(file, 8, 9) == "it has 8 of the 9 samples that its header claims"
    assert shortfall(file, 8, 2**62 - 1) == f"it has 8 of the {2**62 - 1} samples that its header claims"
    assert shortfall(file, 8, 2**62) == ""


@pytest.mark.parametrize(("kind", "order"), [(b"RIFF", "little"), (b"FORM", "big")])
def test_bytes_that_a_container_claims_are_missed(tmp_path: Path, kind: bytes, order: str) -> None:
    def said(claimed: int, there: int) -> str:
        size = claimed.to_bytes(4, "little" if order == "little" else "big")
        return shortfall(save(tmp_path, kind + size + bytes(there - 8)), 5, 5)

    assert said(0x0102, 0x0102 + 8) == ""
    assert said(0x0102, 0x0102 + 9) == ""
    assert said(0x0102, 0x0102 + 7) == "it has 265 of the 266 bytes that its header claims"
    assert said(0x010203, 20) == "it has 20 of the 66059 bytes that its header claims"
    assert said(1, 8) == "it has 8 of the 9 bytes that its header claims"
    assert said(0, 8) == said(OPEN, 8) == ""
    assert said(OPEN - 1, 8) == f"it has 8 of the {OPEN + 7} bytes that its header claims"


def page(flags: int, behind: bytes = b"x") -> bytes:
    return b"OggS\0" + bytes([flags]) + behind


def test_ogg_ends_with_a_page_marked_as_the_last(tmp_path: Path) -> None:
    missing = "its last page is not marked as the last"
    for content, said in [
        (page(0) + page(4), ""),
        (page(0) + page(6, b""), ""),
        (page(5), ""),
        (page(4) + page(3), missing),
        (page(2), missing),
        (page(4) + page(4)[:5], missing),
        (page(4) + b"OggS", missing),
    ]:
        assert shortfall(save(tmp_path, content), 0, 9) == said
    assert shortfall(save(tmp_path, page(0) + page(4, bytes(65_530))), 0, 9) == ""
    assert shortfall(save(tmp_path, page(0) + page(4, bytes(65_531))), 0, 9) == missing
