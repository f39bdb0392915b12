"""The documents of a text corpus, split: small ones in memory, large ones as a memory-mapped token file."""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.prepare.corpus import PART_BYTES, CorpusOptions, cached_corpus
from seqsuite.tasks.prepare.manifest import read_manifest
from seqsuite.tasks.prepare.parts import cut, documents
from seqsuite.tasks.prepare.token_files import TokenFile
from seqsuite.tasks.prepare.tokenizers import Tokenizer, open_tokenizer, train_byte_pairs
from seqsuite.tasks.sources.compression import compression
from seqsuite.tasks.sources.duplicates import refuse_shared_content
from seqsuite.tasks.sources.files import OnBadFile, read_files
from seqsuite.tasks.sources.text import read_text
from seqsuite.tasks.windows import WHOLE_STREAMS_FROM, Stream, Streams, split_of, split_streams
from seqsuite.wording import counted

log = logging.getLogger(__name__)

LARGE = 1 << 26
"""Bytes of files from which on a corpus is not held in memory."""

_SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "validation"),
    "test": "test",
}
"""What names of files call the splits."""

BY_NAME = "as the files' names say"
BY_POSITION = "each cut in order, the first 80 % train, the next 10 % validation, the rest test"
BY_DOCUMENT = "held out whole, of ten the ninth for validation and the tenth for the test"
"""How documents may be split, as a run says it."""

_WORD = re.compile(r"[a-z]+")

_PACKED = 8  # what a byte of a compressed file is taken for
_HEAD = 4096  # tokens of a document that tell it from others of its length


@dataclass(frozen=True)
class Reading:
    """How files of text are read.

    Attributes:
        encoding: Of text files; by default told by their bytes.
        on_bad_file: What to do about a file that cannot be used.
        field: What holds the text in JSON lines and Parquet.
    """

    encoding: str | None = None
    on_bad_file: OnBadFile = "refuse"
    field: str = "text"


class Documents(NamedTuple):
    """Documents, split.

    Attributes:
        streams: Those of each split.
        rule: How they were split, in words.
    """

    streams: Streams
    rule: str


def prepared(path: Path) -> TokenFile | None:
    """Return the token file in a folder that ``seqsuite data prepare`` made, or ``None`` if it is none."""
    manifest = read_manifest(path) if path.is_dir() else None
    return TokenFile(path) if manifest is not None and "dtype" in manifest else None


def named_splits(files: Sequence[Path]) -> dict[Path, Split] | None:
    """Return the split of each file by its name, as in ``wiki.valid.raw``, if that is what all of them have.

    Returns:
        ``None`` unless every file names one split, and each split is that of a file.
    """
    found: dict[Path, Split] = {}
    for file in files:
        named = {_SPLIT_NAMES[word] for word in _WORD.findall(file.name.lower()) if word in _SPLIT_NAMES}
        if len(named) != 1:
            return None
        found[file] = named.pop()
    return found if set(found.values()) == set(SPLITS) else None


def is_large(files: Sequence[Path]) -> bool:
    """Return whether files of text are too much to be held in memory."""
    return sum(file.stat().st_size * (_PACKED if compression(file) else 1) for file in files) > LARGE


def read_documents(files: Sequence[Path], reading: Reading) -> Documents:
    """Return the documents of each split, in memory, as bytes of UTF-8.

    Raises:
        UserError: if files cannot be used, have no text in them, or have the same content in two splits.
    """
    read = read_files(files, partial(_read, reading=reading), reading.on_bad_file)
    empty = [file for file, texts in read.items() if not any(text.strip() for text in texts)]
    if len(empty) == len(read):
        raise UserError(f"task.path: the file {str(empty[0])!r} has no text in it; give one that has.")
    if empty:
        log.info(
            "%d of %s have no text in them and are left out, such as %s",
            len(empty),
            counted(len(read), "file"),
            empty[0],
        )
    official = named_splits(list(read))
    if official is not None:
        by_name: Streams = {split: [] for split in SPLITS}
        for file, texts in read.items():
            by_name[official[file]] += [np.frombuffer(text, np.uint8) for text in texts if text.strip()]
        return Documents(_without_shared(by_name), BY_NAME)
    named: dict[str, Stream] = {
        f"{file}#{number:09d}" if len(texts) > 1 else str(file): np.frombuffer(text, dtype=np.uint8)
        for file, texts in read.items()
        for number, text in enumerate(texts)
        if text.strip()
    }
    if len(named) < WHOLE_STREAMS_FROM:
        return Documents(split_streams(named), BY_POSITION)
    by_split: dict[str, dict[str, Stream]] = {split: {} for split in SPLITS}
    for position, name in enumerate(sorted(named)):
        by_split[split_of(position)][name] = named[name]
    if all(len(texts) == 1 for texts in read.values()):
        refuse_shared_content(by_split)
    held_out = _without_shared({split: list(by_split[split].values()) for split in SPLITS})
    return Documents(held_out, BY_DOCUMENT)


def split_documents(tokens: TokenFile) -> Documents:
    """Return the documents of a token file by split, memory-mapped."""
    everything: Stream = np.asarray(tokens.tokens)
    starts = np.concatenate([np.zeros(1, np.int64), tokens.ends])
    streams = [everything[start:end] for start, end in zip(starts[:-1], tokens.ends, strict=True)]
    official = _official_splits(tokens)
    if official is not None:
        homes: Streams = {split: [] for split in SPLITS}
        for home, stream in zip(official, streams, strict=True):
            homes[home].append(stream)
        return Documents(_without_shared(homes), BY_NAME)
    if len(streams) < WHOLE_STREAMS_FROM:
        numbered = {str(number): stream for number, stream in enumerate(streams)}
        return Documents(split_streams(numbered), BY_POSITION)
    by_split: Streams = {split: [] for split in SPLITS}
    for position, stream in enumerate(streams):
        by_split[split_of(position)].append(stream)
    return Documents(_without_shared(by_split), BY_DOCUMENT)


def tokenised_corpus(
    files: Sequence[Path], reading: Reading, tokenizer: Path | None, vocab_size: int | None
) -> TokenFile:
    """Return a large corpus as tokens, made on first use in the user's cache folder.

    Args:
        files: The files.
        reading: How they are read; a file that cannot be is refused.
        tokenizer: A ``tokenizer.json``; by default a token is a byte.
        vocab_size: Train byte-pair encoding of this size instead.

    Raises:
        UserError: if a file cannot be read, or the folder cannot be written.
    """
    if reading.on_bad_file == "skip":
        log.info("A corpus of this size is tokenised whole: a file that cannot be used is refused")
    options = CorpusOptions(tokenizer, vocab_size, reading.field, reading.encoding)
    return cached_corpus(files, options)


def trained_tokenizer(texts: Sequence[Stream], vocab_size: int) -> Tokenizer:
    """Return byte-pair encoding trained on texts, from the user's cache folder where it was trained before.

    Raises:
        UserError: as :func:`~seqsuite.tasks.prepare.tokenizers.train_byte_pairs`.
    """
    from filelock import FileLock
    from platformdirs import user_cache_path

    digest = hashlib.blake2b(str(vocab_size).encode(), digest_size=16)
    for text in texts:
        digest.update(len(text).to_bytes(8, "little"))
        digest.update(text.tobytes())
    file = user_cache_path("seqsuite") / "tokenizers" / f"{digest.hexdigest()}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if not file.is_file():
            partial_file = file.with_suffix(".partial")
            train_byte_pairs((text.tobytes() for text in texts), vocab_size, partial_file)
            partial_file.rename(file)
    return open_tokenizer(file)


def _official_splits(tokens: TokenFile) -> list[Split] | None:
    """Return the split of each document by the name of its file, where these name all splits."""
    files = [Path(source[0]) for source in tokens.facts.get("sources", ())]
    counts = tokens.facts.get("documents", ())
    splits = named_splits(files)
    if splits is None or len(counts) != len(files):
        return None
    return [splits[file] for file, count in zip(files, counts, strict=True) for _ in range(count)]


def _read(file: Path, reading: Reading) -> list[bytes]:
    parts = cut(file, PART_BYTES, reading.encoding)
    if parts and parts[0].kind == "text":
        return [read_text(file, reading.encoding)]
    return [
        b"".join(document) for part in parts for document in documents(part, reading.field, reading.encoding)
    ]


def _without_shared(streams: Streams) -> Streams:
    """Leave out of validation and test what is in training, and of test what is in validation.

    Documents of one length that begin with the same 4096 tokens count as the same.
    """
    seen: set[tuple[int, bytes]] = set()
    kept: Streams = {}
    for split in SPLITS:
        keys = [(len(stream), _begin(stream)) for stream in streams[split]]
        kept[split] = [stream for stream, key in zip(streams[split], keys, strict=True) if key not in seen]
        seen.update(keys)
        dropped = len(keys) - len(kept[split])
        if dropped:
            log.info("%s: left out, since in another split too: %s", split, counted(dropped, "document"))
    return kept


def _begin(stream: Stream) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(stream[:_HEAD]).data, digest_size=16).digest()
