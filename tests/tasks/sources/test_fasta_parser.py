"""FASTA block by block, to the byte: where lines begin, what a record has, and where a letter is wrong."""

from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.sources import fasta_parser
from seqsuite.tasks.sources.fasta_parser import CODES, FastaParser


def chunks(*blocks: bytes) -> list[tuple[str, str, bool]]:
    parser = FastaParser(Path("a.fa"))
    found = [chunk for block in blocks for chunk in parser.feed(block)]
    return [
        (chunk.name, "".join("ACGTN-"[code] for code in chunk.codes), chunk.starts_record) for chunk in found
    ]


def read(blocks: tuple[bytes, ...], max_ambiguous: float = 0.5) -> None:
    parser = FastaParser(Path("a.fa"))
    for block in blocks:
        list(parser.feed(block))
    parser.finish(max_ambiguous)


def refusal(*blocks: bytes) -> str:
    with pytest.raises(UserError) as error:
        read(blocks)
    return str(error.value)


def test_each_byte_has_one_code() -> None:
    expected = dict.fromkeys(range(256), 255)
    for letters, code in (("Aa", 0), ("Cc", 1), ("Gg", 2), ("TtUu", 3), ("NnXx?", 4), ("-.", 5), ("*", 7)):
        expected |= dict.fromkeys(letters.encode(), code)
    expected |= dict.fromkeys(b"RYSWKMBDHVryswkmbdhv", 6)
    assert dict(enumerate(CODES)) == expected
    named = (fasta_parser.N, fasta_parser.GAP, fasta_parser.AMBIGUOUS, fasta_parser.STOP)
    assert named == (4, 5, 6, 7)


def test_a_record_is_announced_and_its_letters_follow() -> None:
    assert chunks(b"> a b \nAC\nGTN-\n;c\n#d\n>\nTR\n") == [
        ("a b", "", True),
        ("a b", "ACGTN-", False),
        ("", "", True),
        ("", "TN", False),
    ]


def test_lines_begin_in_a_block_or_at_its_end() -> None:
    expected = [("a", "", True), ("a", "AC", False), ("b", "", True), ("b", "G", False)]
    assert chunks(b">a\nAC\n", b">b\nG\n") == expected
    assert chunks(b">a\nAC\n", b"", b">b\nG\n") == expected
    assert chunks(b">a\nAC", b"\n>b\nG\n") == expected
    assert chunks(b">", b"a\nAC\n", b">b", b"\nG\n") == expected
    assert "has the letter '>' at 3" in refusal(b">a\nAC", b">b\nG\n")
    assert "has the letter '>' at 3" in refusal(b">a\nAC", b"", b">b\nG\n")
    assert "has the letter ';' at 1" in refusal(b">a\n", b"\t;G\n")


def test_a_name_has_199_letters_at_most() -> None:
    name = b"x" * 198
    for cuts in ((b">" + name + b"yzz\n",), (b">" + name[:100], name[100:], b"yzz", b"z\n")):
        assert chunks(*cuts) == [("x" * 198 + "y", "", True)]
    assert chunks(b">" + name + b"\n", b">b\n") == [("x" * 198, "", True), ("b", "", True)]


@pytest.mark.parametrize(
    ("blocks", "letter", "place"),
    [
        ((b">a\nE\n",), "E", 1),
        ((b">a\nAC GE\n",), "E", 4),
        ((b">a\nACG\n", b"T\nAE\n"), "E", 6),
        ((b">b\nACGT\n>a\nAE\n",), "E", 2),
        ((b">a\nA*C\n",), "*", 2),
        ((b">a\nAC**\n",), "*", 3),
        ((b">a\nA*E\n",), "*", 2),
        ((b">a\nACE*\n",), "E", 3),
        ((b">a\nACGT*\n", b"AC\n"), "*", 5),
        ((b">b\nAC*\n>a\nACG*\n", b"\n", b"*\n"), "*", 4),
    ],
)
def test_a_wrong_letter_is_named_with_its_place(blocks: tuple[bytes, ...], letter: str, place: int) -> None:
    assert refusal(*blocks) == f"Record 'a' of 'a.fa' is not DNA: it has the letter {letter!r} at {place}."


def test_the_share_of_ambiguous_letters_leaves_n_and_gaps_out(caplog: pytest.LogCaptureFixture) -> None:
    letters = (b">a\nACG\nNNNNN---\n>b\nRAAAY\n",)
    read(letters, 0.25)
    with pytest.raises(UserError, match="taken for DNA: 25 % of its letters"):
        read(letters, 0.24)
    read((b">a\nNN\n",), 0)
    assert "does not begin with '>'" in refusal(b"\n")
    assert caplog.text == ""


def test_stops_and_blanks_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    parser = FastaParser(Path("a.fa"))
    list(parser.feed(b">a\nAC*\n>b\nAC\n>c\nG\n*\n>d\nA\n"))
    parser.finish(0)
    assert [record.getMessage() for record in caplog.records] == [
        "a.fa: a '*' at the end of 2 records is left out"
    ]
    caplog.clear()
    for letters, told in ((b"A C", True), (b"A\tC", True), (b"A\vC\f", False)):
        parser = FastaParser(Path("a.fa"))
        assert len(list(parser.feed(b">a b\n" + letters + b"\nGG\n"))) == 2
        parser.finish(0)
        assert ("spaces or tabs" in caplog.text) == told
        caplog.clear()
