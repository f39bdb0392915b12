from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.prepare.manifest import damaged_files
from seqsuite.tasks.prepare.token_files import TokenFile, TokenWriter, token_dtype


class _Interrupted(np.ndarray):
    def __new__(cls) -> "_Interrupted":
        return np.zeros(3).view(cls)

    def __len__(self) -> int:
        raise KeyboardInterrupt


def write(folder: Path, streams: list[list[int]], vocab_size: int = 300) -> TokenFile:
    with TokenWriter(folder, vocab_size, {"source": "test"}) as writer:
        for number, stream in enumerate(streams):
            writer.append(np.array(stream[:2], dtype=np.int64))
            writer.append(np.array(stream[2:], dtype=np.int64))
            writer.end_stream(f"s{number}")
    return TokenFile(folder)


def test_streams_come_back_by_number(tmp_path: Path) -> None:
    streams = [[1, 2, 299], [], [5]]
    file = write(tmp_path / "a", streams)
    assert [file[i].tolist() for i in range(len(file))] == streams
    assert file.names == ("s0", "s1", "s2")
    assert file.tokens.dtype == np.uint16
    assert file.facts["source"] == "test"
    with pytest.raises(IndexError):
        file[3]
    with pytest.raises(ValueError, match="read-only"):
        file.tokens[0] = 1


def test_no_streams_are_a_token_file_too(tmp_path: Path) -> None:
    assert len(write(tmp_path / "a", [])) == 0
    assert write(tmp_path / "b", [[]])[0].tolist() == []


def test_the_fingerprint_is_of_tokens_and_ends(tmp_path: Path) -> None:
    prints = {
        write(tmp_path / str(number), streams).fingerprint
        for number, streams in enumerate([[[1, 2]], [[1], [2]], [[1, 3]]])
    }
    assert len(prints) == 3
    assert write(tmp_path / "again", [[1, 2]]).fingerprint in prints


@pytest.mark.parametrize(
    ("vocab_size", "name"), [(2, "uint8"), (256, "uint8"), (257, "uint16"), (65_537, "uint32")]
)
def test_tokens_take_the_smallest_type(vocab_size: int, name: str) -> None:
    assert token_dtype(vocab_size).name == name


def test_what_was_not_finished_is_not_taken_for_data(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TokenWriter(tmp_path / "a", 256, {}) as writer:
        writer.append(_Interrupted())
    with pytest.raises(UserError, match="no finished token file"):
        TokenFile(tmp_path / "a")


def test_damage_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "a", [[1, 2, 3]])
    assert damaged_files(tmp_path / "a") == []
    tokens = tmp_path / "a" / "tokens.bin"
    tokens.write_bytes(b"\0" * tokens.stat().st_size)
    assert damaged_files(tmp_path / "a") == ["tokens.bin"]
    tokens.write_bytes(b"\0")
    with pytest.raises(UserError, match="no finished token file"):
        TokenFile(tmp_path / "a")
    with pytest.raises(UserError, match="no manifest"):
        damaged_files(tmp_path)
