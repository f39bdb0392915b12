"""``seqsuite data`` as users call it."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import Result

from seqsuite.tasks.prepare import recipes
from seqsuite.tasks.prepare.token_files import TokenFile
from seqsuite.tasks.text import Text

from ..spoken import write_digits

Seqsuite = Callable[..., Result]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data set called ``tiny`` on a server on loopback, and an empty folder for data."""
    monkeypatch.setenv("SEQSUITE_DATA", str(tmp_path / "data"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "tiny.txt").write_bytes(b"some text " * 1000)
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        content = {
            "summary": "A tiny set",
            "task": "text",
            "licence": "CC0",
            "homepage": "http://127.0.0.1",
            "path": "tiny.txt",
            "files": [
                {
                    "url": f"http://127.0.0.1:{server.server_address[1]}/tiny.txt",
                    "size": 10_000,
                    "sha256": hashlib.sha256(b"some text " * 1000).hexdigest(),
                }
            ],
        }
        monkeypatch.setitem(recipes.recipes(), "tiny", recipes.parse_recipe("tiny", content))
        yield tmp_path / "data" / "tiny"
        server.shutdown()
        thread.join()


def test_a_set_is_listed_fetched_and_verified(
    seqsuite: Seqsuite, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    listed = seqsuite("data", "list")
    assert listed.exit_code == 0, listed.output
    assert "hg38" in listed.output
    assert "984 MB" in listed.output
    assert not tiny.exists()
    assert "No data set is here" in seqsuite("data", "verify").output
    fetched = seqsuite("data", "fetch", "tiny")
    assert fetched.exit_code == 0, fetched.output
    assert "licence: CC0" in fetched.output
    assert f"task.path={tiny / 'tiny.txt'}" in fetched.output
    assert "every checksum is right" in seqsuite("data", "verify").output
    (tiny / "tiny.txt").write_bytes(b"Some text " * 1000)
    verified = seqsuite("data", "verify", "tiny")
    assert verified.exit_code == 1
    assert "damaged: tiny.txt" in verified.output


def test_what_cannot_be_fetched_or_verified_is_one_sentence(seqsuite: Seqsuite, tiny: Path) -> None:
    for command, message in [
        (["fetch", "tony"], "Did you mean 'tiny'"),
        (["verify", "tiny"], "never finished"),
        (["info", "missing"], "no file or folder"),
        (["prepare", "missing", "--output", "x"], "no file or folder"),
    ]:
        refused = seqsuite("data", *command)
        assert refused.exit_code == 2
        assert refused.output.startswith("Error: ")
        assert refused.output.count("\n") == 1
        assert message in refused.output


def test_info_says_what_a_folder_would_become(seqsuite: Seqsuite, tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text(f"document {number} " * 10)
    (tmp_path / "copy.txt").write_text("document 9 " * 10)
    (tmp_path / "bad.txt").write_bytes(b"\0\0PK\0")
    (tmp_path / "notes.pdf").write_text("")
    shown = seqsuite("data", "info", str(tmp_path))
    assert shown.exit_code == 0, shown.output
    output = " ".join(shown.output.split())
    assert "task text" in output
    assert "12 files read, 1 left out: 1 .pdf" in output
    assert "records 11" in output
    assert "test 110 tokens in 1 stream" in output
    assert "document 0" in output
    assert "the same" in output
    assert "not plain text" in output


def test_info_tells_kinds_apart(seqsuite: Seqsuite, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf# c\n>one\nACGTNN--AC\n>two\nAC\n")
    soundfile.write(tmp_path / "b", np.zeros(1600), 16_000, format="WAV")
    (tmp_path / "c").write_text("hello there, this is text")
    for name, said in [
        ("a", ["task dna", "records 2", "ACGTNN--AC", "A 25.0%", "train 9 tokens"]),
        ("b", ["task piano", "tokens 1,600", "128 128", "test 160 tokens in 1 stream"]),
        ("c", ["task text", "tokens 25", "hello there"]),
    ]:
        output = " ".join(seqsuite("data", "info", str(tmp_path / name)).output.split())
        for words in said:
            assert words in output


def test_a_divided_set_keeps_its_splits_from_fetch_to_run(
    seqsuite: Seqsuite, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """enwik8 and text8 are one file each, of which others report on the last 5 of 100 million bytes."""
    monkeypatch.setenv("COLUMNS", "200")
    numbers = " ".join(map(str, range(3000)))[:9_000] + "." * 500 + "-" * 500
    (tiny.parents[1] / "served" / "tiny.txt").write_text(numbers)
    known = recipes.recipes()
    remote = replace(known["tiny"].files[0], sha256=None)
    division = recipes.Division("tiny.txt", "splits", 9_000, 500, 500)
    changed = replace(known["tiny"], path="splits", division=division, files=(remote,))
    monkeypatch.setitem(known, "tiny", changed)
    fetched = seqsuite("data", "fetch", "tiny")
    assert f"task.path={tiny / 'splits'}" in fetched.output
    info = " ".join(seqsuite("data", "info", str(tiny / "splits")).output.split())
    for said in (
        "train 9,000 tokens in 1 stream",
        "validation 500 tokens",
        "test 500 tokens",
        "files' names",
    ):
        assert said in info
    files = Text(seed=0, path=tiny / "splits", seqlen=64)
    seqsuite("data", "prepare", str(tiny / "splits"), "--output", str(tiny.parent / "tokens"))
    tokens = Text(seed=0, path=tiny.parent / "tokens", seqlen=64)
    for task in (files, tokens):
        said = str(task.describe())
        assert (
            "train 9,000 bytes, validation 500 bytes, test 500 bytes; split: as the files' names say" in said
        )
    own = str(Text(seed=0, path=tiny / "tiny.txt", seqlen=64).describe())
    assert "train 8,000 bytes, validation 1,000 bytes, test 1,000 bytes; split: each cut in order" in own


def test_info_of_spoken_digits_tells_the_official_splits(
    seqsuite: Seqsuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the ninth and tenth of ten files: the lists say what is held out, and other words are left out."""
    monkeypatch.setenv("COLUMNS", "200")
    folder = write_digits(tmp_path / "around" / "sc09")
    (folder / "bed").mkdir()
    soundfile.write(folder / "bed" / "b1_nohash_0.wav", np.zeros(1600), 16_000)
    for path in (folder, folder.parent):
        shown = seqsuite("data", "info", str(path))
        assert shown.exit_code == 0, shown.output
        output = " ".join(shown.output.split())
        for said in (
            "task sc09",
            "50 files read, 3 left out: 2 .txt, 1 .wav",
            "train 480,000 tokens in 30 streams",
            "validation 160,000 tokens in 10 streams",
            "test 160,000 tokens in 10 streams",
        ):
            assert said in output
    (folder / "testing_list.txt").write_text("seven/gone_nohash_0.wav\n")
    refused = seqsuite("data", "info", str(folder))
    assert refused.exit_code == 2
    assert "nothing for the test split: no file of testing_list.txt is there" in refused.output
    assert "piano" in seqsuite("data", "info", str(folder), "--task", "piano").output


def test_info_reads_documents_as_the_task_does(seqsuite: Seqsuite, tmp_path: Path) -> None:
    """JSON lines were taken for one text, and a folder of them for nothing."""
    lines = "".join(f'{{"body": "document {number}"}}\n' for number in range(20))
    (tmp_path / "a.jsonl").write_text(lines)
    shown = seqsuite("data", "info", str(tmp_path), "--field", "body")
    assert shown.exit_code == 0, shown.output
    output = " ".join(shown.output.split())
    for said in ("records 20", "a record has 10 to 11", "train 168 tokens in 16 streams", "document 0"):
        assert said in output
    assert "with a text 'text' in each" in seqsuite("data", "info", str(tmp_path)).output


def test_a_corpus_is_prepared(seqsuite: Seqsuite, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("abc")
    (tmp_path / "corpus" / "b.jsonl").write_text('{"text": "de"}\n{"text": "f"}\n')
    made = seqsuite("data", "prepare", str(tmp_path / "corpus"), "--output", str(tmp_path / "made"))
    assert made.exit_code == 0, made.output
    assert "2 files read; 3 documents, 6 tokens of 256" in made.output
    assert TokenFile(tmp_path / "made").tokens.tobytes() == b"abcdef"
    refused = seqsuite("data", "prepare", str(tmp_path / "corpus"))
    assert refused.exit_code == 2
    assert "--output" in refused.output


def test_a_genome_is_indexed(seqsuite: Seqsuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "g.fa").write_text(">a\nACGT\n>b\nAC\n")
    made = seqsuite("data", "prepare", str(tmp_path / "g.fa"))
    assert made.exit_code == 0, made.output
    assert "2 records, 6 bases" in made.output
