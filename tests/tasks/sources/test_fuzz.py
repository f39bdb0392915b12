"""Whatever a file holds, a reader gives data or one sentence: no traceback, no waiting, bounded memory."""

import bz2
import gzip
import io
import json
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqsuite.errors import UserError
from seqsuite.tasks.prepare.inspection import inspect_path
from seqsuite.tasks.prepare.parts import cut, documents
from seqsuite.tasks.prepare.token_files import TokenFile, TokenWriter
from seqsuite.tasks.sources.audio import read_audio
from seqsuite.tasks.sources.fasta import read_fasta
from seqsuite.tasks.sources.intervals import read_intervals
from seqsuite.tasks.sources.labelled_dna import find_labelled
from seqsuite.tasks.sources.maf import read_maf
from seqsuite.tasks.sources.text import read_text

SENTENCE = 2_000  # characters


def sound(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).normal(scale=0.1, size=(3_000, 2))
    soundfile.write(buffer, noise, 16_000, format=kind)
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", "two"] * 20}), buffer, row_group_size=7)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for split in ("train", "test"):
            for label in ("a", "b"):
                packed.writestr(f"set/{split}/{label}/1.txt", "ACGT" * 20)
    return buffer.getvalue()


def read_tables(file: Path) -> None:
    folder = file.parent / "tables"
    folder.mkdir(exist_ok=True, parents=True)
    for split in ("train", "test"):
        (folder / f"{split}.csv").unlink(missing_ok=True)
        (folder / f"{split}.csv").symlink_to(file)
    find_labelled(folder).read()


def read_documents(file: Path) -> None:
    for part in cut(file, 100, None):
        for document in documents(part, "text", None):
            b"".join(document)


FASTA = b">one\r\nACGTNNNN\nacgt*\n;c\n>two\n" + b"ACGT" * 50
MAF = b"""##maf version=1
a score=1
s Hsap.22 0 6 + 100 ACGT-AC
s Ptro.22 3 6 - 90  ACGTAC-

a
s Hsap.22 6 2 + 100 NN
"""
SEEDS: dict[str, tuple[Callable[[Path], object], bytes]] = {
    "a.fa": (read_fasta, FASTA),
    "a.fa.gz": (read_fasta, gzip.compress(FASTA, mtime=0)),
    "a.fa.bz2": (read_fasta, bz2.compress(FASTA)),
    "a.txt": (read_text, "naïve 漢字\n".encode() * 20),
    "utf16.txt": (read_text, ("naïve 漢字\n" * 20).encode("utf-16")),
    "a.bed": (read_intervals, b"chr1\t0\t100\ttrain\nchr1\t100\t200\tvalid\nchr1\t300\t400\ttest\n"),
    "a.maf": (lambda file: list(read_maf(file)), MAF),
    "a.maf.gz": (lambda file: list(read_maf(file)), gzip.compress(MAF, mtime=0)),
    "a.wav": (read_audio, sound("WAV")),
    "a.flac": (read_audio, sound("FLAC")),
    "a.ogg": (read_audio, sound("OGG")),
    "a.aiff": (read_audio, sound("AIFF")),
    "a.au": (read_audio, sound("AU")),
    "a.jsonl": (read_documents, json.dumps({"text": "naïve"}).encode() * 1 + b'\n{"text": "b"}\n'),
    "a.parquet": (read_documents, parquet()),
    "a.zip": (lambda file: find_labelled(file).read(), archive()),
    "a.csv": (read_tables, b"seq,label\r\nACGTN,a\nTT,b\n" + b"ACGTT,a\n" * 20),
    "guess": (inspect_path, FASTA),
}

OPENED_BY_LIBRARIES = ("a.parquet", "a.zip", "a.csv")


@st.composite
def damage(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return a file's content as accidents leave it."""
    kind = draw(st.sampled_from(["cut", "flip", "insert", "random", "repeat", "packed", "packed and cut"]))
    content = bytearray(whole)
    if kind == "random":
        return draw(st.binary(max_size=300))
    if kind == "flip":
        for _ in range(draw(st.integers(1, 8))):
            content[draw(st.integers(0, min(len(content), 400) - 1))] = draw(st.integers(0, 255))
    elif kind == "insert":
        place = draw(st.integers(0, len(content)))
        content[place:place] = draw(st.binary(max_size=40))
    elif kind == "repeat":
        content = content[: draw(st.integers(0, 60))] * draw(st.integers(1, 50))
    elif kind.startswith("packed"):
        content = bytearray(gzip.compress(whole, mtime=0))
    if "cut" in kind:
        content = content[: draw(st.integers(0, len(content)))]
    return bytes(content)


def read_or_refuse(read: Callable[[Path], object], file: Path) -> None:
    try:
        read(file)
    except UserError as error:
        sentence = str(error)
        assert sentence
        assert "\n" not in sentence.strip()
        assert len(sentence) < SENTENCE


def check(folder: Path, name: str, examples: int) -> None:
    read, whole = SEEDS[name]
    file = folder / name

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(damage(whole))
    def run(content: bytes) -> None:
        file.write_bytes(content)
        read_or_refuse(read, file)

    file.write_bytes(whole)
    read(file)
    run()


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    check(tmp_path, name, 40)


LIMITED = """
import pathlib, resource, sys
sys.path.insert(0, sys.argv[1])
import soundfile, soxr, torch, torchaudio
import test_fuzz
test_fuzz.read_audio(pathlib.Path(sys.argv[2]))  # whatever is loaded on first use
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), used + (1 << 29)))
resource.setrlimit(resource.RLIMIT_CPU, (300, 300))
for name in test_fuzz.SEEDS:
    test_fuzz.check(pathlib.Path(sys.argv[3]), name, 400)
"""


@pytest.mark.slow
def test_thousands_of_damaged_files_within_half_a_gib_and_five_minutes(tmp_path: Path) -> None:
    (tmp_path / "warm.wav").write_bytes(SEEDS["a.wav"][1])
    arguments = [str(Path(__file__).parent), str(tmp_path / "warm.wav"), str(tmp_path)]
    run = subprocess.run([sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, [line for line in run.stderr.splitlines() if "Error" in line][-20:]


@pytest.mark.parametrize("name", SEEDS)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    read, _ = SEEDS[name]
    (tmp_path / "folder" / name).mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / name)
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / name).symlink_to(tmp_path / "loop" / name)
    for place in ("folder", "pipe", "loop", "missing"):
        with pytest.raises(UserError):
            read(tmp_path / place / name)
    with pytest.raises(UserError):
        read(Path("/dev/zero"))


@pytest.mark.parametrize("name", [name for name in SEEDS if name not in OPENED_BY_LIBRARIES])
def test_what_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # what the system answers, except to root

    read, whole = SEEDS[name]
    (tmp_path / name).write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(UserError, match="Permission denied"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\0", b"\x1f\x8b", b"BZh9", b"\xef\xbb\xbf", b"\xff\xfe", b">"]
)
@pytest.mark.parametrize("name", SEEDS)
def test_nearly_nothing_is_read_or_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    read_or_refuse(SEEDS[name][0], tmp_path / name)


@pytest.mark.parametrize("name", SEEDS)
def test_lines_without_end_cost_little(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"A" * (8 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_or_refuse(SEEDS[name][0], tmp_path / name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=400), st.sampled_from(["manifest.json", "tokens.bin", "ends.npy", "names.json"]))
def test_damaged_token_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("tokens")
    with TokenWriter(folder, 256, {}) as writer:
        writer.append(np.arange(9))
        writer.end_stream("a")
    (folder / name).write_bytes(content)
    read_or_refuse(TokenFile, folder)
