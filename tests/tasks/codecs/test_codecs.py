"""What is written is read again."""

from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks import TASKS
from seqsuite.tasks.codecs.bytes import BytesCodec

TOKENS = {
    "text": np.frombuffer("naïve 漢字\n".encode() + b"\xff\x00", dtype=np.uint8).astype(np.int64),
    "dna": np.array([0, 1, 2, 3, 4, 4, 3]),
    "piano": np.arange(256),
}


@pytest.mark.parametrize("name", TOKENS)
def test_what_is_rendered_is_read_again(tmp_path: Path, name: str) -> None:
    codec, tokens = TASKS.load(name)(seed=0).codec, TOKENS[name]
    path = tmp_path / f"sample{codec.suffix}"
    codec.write(tokens, path)
    assert codec.read(path).tolist() == tokens.tolist()
    assert codec.read(path).dtype == np.int64
    with pytest.raises(UserError, match="missing"):
        codec.read(path.with_stem("missing"))


def test_letters_are_tokens() -> None:
    text, dna = (TASKS.load(name)(seed=0).codec for name in ("text", "dna"))
    assert text.encode("aé").tolist() == [97, 195, 169]
    assert text.encode("\udcff").tolist() == [255]  # as Python has an argument's bytes that are no text
    assert dna.encode("acgtuN-a").tolist() == [0, 1, 2, 3, 3, 4, 0]
    with pytest.raises(UserError, match="The prompt is not DNA: it has the letter 'E' at 2"):
        dna.encode("AE")


def test_the_first_record_of_fasta_is_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(">one\nAC-GT\nnu\n>two\nTTTT\n")
    assert TASKS.load("dna").codec.read(tmp_path / "a.fa").tolist() == [0, 1, 2, 3, 4, 3]


def test_audio_cannot_be_typed() -> None:
    with pytest.raises(UserError, match="cannot be typed: give a file, with --prompt-file"):
        TASKS.load("piano")(seed=0).codec.encode("abc")


def test_a_preview_is_the_beginning_and_says_when_there_is_more() -> None:
    tokens = BytesCodec().encode("I want to order")
    assert BytesCodec().preview(tokens, 6) == "I want…"
    assert BytesCodec().preview(tokens, 15) == "I want to order"
