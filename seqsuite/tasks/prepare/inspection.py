"""What a user's file or folder would become: read by the tasks' own readers, in bounded memory."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.prepare import parts
from seqsuite.tasks.prepare.digit_clips import read_clip
from seqsuite.tasks.prepare.documents import BY_DOCUMENT, BY_NAME, BY_POSITION, named_splits
from seqsuite.tasks.sources import audio, fasta, text
from seqsuite.tasks.sources.audio_fingerprint import Landmarks, Passage, landmarks, passages_of
from seqsuite.tasks.sources.audio_splits import split_recordings
from seqsuite.tasks.sources.compression import read_blocks
from seqsuite.tasks.sources.files import Found, find
from seqsuite.tasks.sources.speech_commands import find_digits, has_lists
from seqsuite.tasks.windows import WHOLE_STREAMS_FROM, split_by_position, split_of, split_streams

Counts = npt.NDArray[np.int64]

Kind = Literal["text", "dna", "piano", "sc09"]

SUFFIXES: Mapping[Kind, tuple[str, ...]] = {
    "text": parts.SUFFIXES,
    "dna": fasta.SUFFIXES,
    "piano": audio.SUFFIXES,
    "sc09": audio.SUFFIXES,
}
"""Endings of each task's files."""

_HEAD = 64  # tokens to show
_SOUNDS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"caff", b"riff", b"\xff\xfb")
_LEVELS = 64


@dataclass(frozen=True)
class Record:
    """One document, FASTA record or recording.

    Attributes:
        name: File, and record in it.
        length: Its tokens.
        digest: A hash of them; equal ones are the same content.
        head: Its first tokens.
    """

    name: str
    length: int
    digest: str
    head: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Inspection:
    """What a path would become.

    Attributes:
        kind: The task that would read it.
        found: The files.
        records: What is in them.
        counts: How often each token occurs in all of them (256,).
        bad: Sentences about files that cannot be read.
        official: Recordings by split, where they are a set with an official split or with official lists.
        passages: What recordings of two splits share.
    """

    kind: Kind
    found: Found
    records: tuple[Record, ...]
    counts: Counts
    bad: tuple[str, ...]
    official: Mapping[Split, frozenset[str]] | None = None
    passages: tuple[Passage, ...] = ()

    def split_sizes(self) -> dict[Split, tuple[int, int]]:
        """Return each split's number of streams and of tokens, by the tasks' own rules."""
        # An array that repeats one token takes no memory, and splits as any other of its length.
        streams = {record.name: np.broadcast_to(np.uint8(0), record.length) for record in self.records}
        if self.official is not None:
            found = {
                split: [streams[name] for name in sorted(names & streams.keys())]
                for split, names in self.official.items()
            }
        elif self.kind == "dna":
            cut = [split_by_position(stream) for stream in streams.values()]
            found = {split: [each[split] for each in cut] for split in SPLITS}
        else:
            found = split_streams(streams)
        return {
            split: (sum(len(part) > 0 for part in found[split]), sum(len(part) for part in found[split]))
            for split in SPLITS
        }

    def split_rule(self) -> str:
        """Return in words how they are split."""
        if self.official is not None:
            return BY_NAME if self.kind == "text" else "the set's official one"
        whole = self.kind != "dna" and len(self.records) >= WHOLE_STREAMS_FROM
        return BY_DOCUMENT if whole else BY_POSITION

    def duplicates(self) -> list[list[str]]:
        """Return the names of records with the same content, a group each."""
        groups: dict[str, list[str]] = {}
        for record in self.records:
            if record.length:
                groups.setdefault(record.digest, []).append(record.name)
        return [names for names in groups.values() if len(names) > 1]


def inspect_path(
    path: Path, kind: Kind | None = None, encoding: str | None = None, field: str = "text"
) -> Inspection:
    """Read what ``path`` means as a task would, and return what it would become.

    Args:
        path: A file or a folder.
        kind: The task; by default told by the files' endings and first bytes.
        encoding: Of text.
        field: What holds the text in JSON lines and Parquet.

    Raises:
        UserError: if there is nothing to read.
    """
    kind = kind or guess_kind(path)
    found, official = (
        _spoken(path) if kind == "sc09" else (find(path, SUFFIXES[kind], kind, _needs(kind)), None)
    )
    if kind == "piano":
        official = _official(path)
    passages = _Passages(official, len(found.files))
    named = named_splits(found.files) if kind == "text" else None
    homes: dict[str, Split] = {}
    records: list[Record] = []
    counts = np.zeros(256, dtype=np.int64)
    bad = []
    for file in found.files:
        try:
            if kind == "sc09":
                records.append(_summarise(str(file), [read_clip(file, audio.SAMPLE_RATE)], counts))
            elif kind == "piano":
                codes = audio.read_audio(file)
                passages.add(str(file), codes)
                records.append(_summarise(str(file), [codes], counts))
            elif kind == "dna":
                records += list(_fasta_records(file, counts))
            else:
                read = list(_text_records(file, encoding, field, counts))
                records += read
                homes |= {record.name: named[file] for record in read} if named else {}
        except UserError as error:
            bad.append(str(error))
    if not records:
        raise UserError(" ".join(bad))
    if homes:
        official = {split: frozenset(name for name in homes if homes[name] == split) for split in SPLITS}
    return Inspection(kind, found, tuple(records), counts, tuple(bad), official, tuple(passages.shared()))


def guess_kind(path: Path) -> Kind:
    """Return the task that a file's first bytes, or most of a folder's files, look like.

    Raises:
        UserError: if there is nothing to read.
    """
    path = path.expanduser()
    if has_lists(path):
        return "sc09"
    if path.is_dir():
        endings = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
        found = find(path, endings, "text, FASTA or audio", audio.NEEDS).files
        return max(SUFFIXES, key=lambda kind: sum(f.name.lower().endswith(SUFFIXES[kind]) for f in found))
    (file,) = find(path, (), "").files
    head = next(read_blocks(file, "data"), b"")
    if head.startswith(_SOUNDS) or file.name.lower().endswith(audio.SUFFIXES):
        return "piano"
    lines = (line.strip() for line in head.removeprefix(b"\xef\xbb\xbf").splitlines())
    first = next((line for line in lines if line and not line.startswith((b";", b"#"))), b"")
    return "dna" if first.startswith(b">") else "text"


def _needs(kind: Kind) -> Mapping[str, str]:
    return audio.NEEDS if SUFFIXES[kind] == audio.SUFFIXES else {}


def decode(kind: Kind, tokens: npt.NDArray[np.uint8]) -> str:
    """Return tokens as a person reads them; audio as the numbers that its mu-law codes are."""
    if kind == "dna":
        return "".join((fasta.ALPHABET + "-")[token] for token in tokens)
    if kind in ("piano", "sc09"):
        return " ".join(str(token) for token in tokens[: _HEAD // 4])
    return tokens.tobytes().decode("utf-8", errors="replace")


def _text_records(file: Path, encoding: str | None, field: str, counts: Counts) -> Iterator[Record]:
    """Yield a text file as one record, or the documents of JSON lines and Parquet."""
    stretches = parts.cut(file, parts.WHOLE, encoding)
    if stretches and stretches[0].kind == "text":
        blocks = text.read_text_blocks(file, encoding)
        yield _summarise(str(file), (np.frombuffer(block, np.uint8) for block in blocks), counts)
        return
    read = (document for stretch in stretches for document in parts.documents(stretch, field, encoding))
    for number, document in enumerate(read):
        yield _summarise(
            f"{file}#{number:09d}", (np.frombuffer(block, np.uint8) for block in document), counts
        )


def _spoken(path: Path) -> tuple[Found, Mapping[Split, frozenset[str]]]:
    """Return the recordings of digits, and those of each split by the official lists."""
    digits = find_digits(path)
    official = {split: frozenset(str(file.path) for file in files) for split, files in digits.items()}
    read = {file.path for files in digits.values() for file in files}
    others = find(path, SUFFIXES["sc09"], "audio", audio.NEEDS)
    left_out = [*others.left_out, *(file for file in others.files if file not in read)]
    return Found(tuple(sorted(read)), tuple(sorted(left_out))), official


def _official(path: Path) -> Mapping[Split, frozenset[str]] | None:
    """Return the recordings of each official split, or ``None`` where there is none."""
    official = split_recordings(path.expanduser(), "auto")
    if official is None:
        return None
    return {split: frozenset(map(str, files)) for split, files in official.items()}


class _Passages:
    """Looks for passages that recordings of two splits share; keeps no recording.

    Args:
        official: The recordings of each official split, if there is one.
        count: How many recordings there are.
    """

    def __init__(self, official: Mapping[Split, frozenset[str]] | None, count: int) -> None:
        self._official, self._whole = official, count >= WHOLE_STREAMS_FROM
        self._landmarks: dict[str, dict[Split, Landmarks]] = {}

    def add(self, name: str, codes: audio.Codes) -> None:
        """Keep the landmarks of a recording, or of each of its parts where it is cut by position."""
        if self._official is not None:
            homes = [split for split in SPLITS if name in self._official[split]]
            self._landmarks[name] = {split: landmarks(codes) for split in homes}
        elif self._whole:
            self._landmarks[name] = {"train": landmarks(codes)}  # which split is known at the end
        else:
            parts = split_by_position(codes)
            self._landmarks[name] = {split: landmarks(part) for split, part in parts.items()}

    def shared(self) -> list[Passage]:
        """Return what is shared."""
        by_split: dict[str, dict[str, Landmarks]] = {split: {} for split in SPLITS}
        for position, name in enumerate(sorted(self._landmarks)):
            for split, found in self._landmarks[name].items():
                home = split_of(position) if self._official is None and self._whole else split
                by_split[home][name] = found
        return passages_of(by_split)


def _fasta_records(file: Path, counts: Counts) -> Iterator[Record]:
    summary: _Summary | None = None
    for chunk in fasta.read_chunks(file):
        if chunk.starts_record:
            if summary is not None:
                yield summary.finish()
            summary = _Summary(f"{file} {chunk.name}", counts)
        if summary is not None:
            summary.add(chunk.codes)
    if summary is not None:
        yield summary.finish()


def _summarise(name: str, blocks: Iterable[npt.NDArray[np.uint8]], counts: Counts) -> Record:
    summary = _Summary(name, counts)
    for block in blocks:
        summary.add(block)
    return summary.finish()


class _Summary:
    """A :class:`Record` in the making; what its tokens are is added to ``counts``."""

    def __init__(self, name: str, counts: Counts) -> None:
        self._name, self._counts = name, counts
        self._digest = hashlib.blake2b(digest_size=16)
        self._length = 0
        self._head = np.zeros(0, dtype=np.uint8)

    def add(self, tokens: npt.NDArray[np.uint8]) -> None:
        self._digest.update(tokens.tobytes())
        self._length += len(tokens)
        self._counts += np.bincount(tokens, minlength=256)
        if len(self._head) < _HEAD:
            self._head = np.concatenate([self._head, tokens[: _HEAD - len(self._head)]])

    def finish(self) -> Record:
        return Record(self._name, self._length, self._digest.hexdigest(), self._head)


def picture(inspection: Inspection) -> str:
    """Return how often tokens occur, or how long records are, as a line of blocks each, with a caption."""
    counts = inspection.counts.astype(np.float64)
    if inspection.kind == "dna":
        used = counts[: len(fasta.ALPHABET) + 1]
        shares = zip(fasta.ALPHABET + "-", used / max(used.sum(), 1), strict=True)
        return "bases " + " ".join(f"{base} {share:.1%}" for base, share in shares)
    levels = counts.reshape(_LEVELS, -1).sum(axis=1)
    name = "bytes 0-255" if inspection.kind == "text" else "mu-law codes 0-255"
    return f"{name} |{_blocks(levels)}|"


def _blocks(heights: npt.NDArray[np.float64]) -> str:
    blocks = " ▁▂▃▄▅▆▇█"
    scaled = np.ceil(np.sqrt(heights / max(heights.max(), 1)) * (len(blocks) - 1)).astype(int)
    return "".join(blocks[height] for height in scaled)
