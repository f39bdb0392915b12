"""A corpus larger than memory as one token file, built in parallel and resumable."""

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from seqsuite.errors import UserError
from seqsuite.tasks.prepare.manifest import read_manifest, replace_text
from seqsuite.tasks.prepare.parts import Part, cut, documents
from seqsuite.tasks.prepare.token_files import TokenFile, TokenWriter, token_dtype
from seqsuite.tasks.prepare.tokenizers import Tokenizer, open_tokenizer, train_byte_pairs
from seqsuite.tasks.sources.files import read_bytes, reason_of
from seqsuite.wording import counted

log = logging.getLogger(__name__)

PART_BYTES = 1 << 26
"""About how many bytes of text are tokenised at once; what an interruption costs at most, a process."""

PIECE = 1 << 20  # bytes of text that are encoded at once
_PLAN, _PARTS, _TOKENIZER = "plan.json", "parts", "tokenizer.json"

Progress = Callable[[int, int], None]
"""Is called with the bytes done and the bytes in all."""


@dataclass(frozen=True)
class CorpusOptions:
    """How a corpus is made into tokens.

    Attributes:
        tokenizer: A local ``tokenizer.json``; by default a token is a byte.
        vocab_size: Train byte-pair encoding of this size on the corpus instead.
        field: What holds the text in JSON lines and Parquet.
        encoding: Of text files; by default told by their bytes.
        train_bytes: Train byte-pair encoding on at most this much text.
    """

    tokenizer: Path | None = None
    vocab_size: int | None = None
    field: str = "text"
    encoding: str | None = None
    train_bytes: int = 1 << 28


def prepare_corpus(
    files: Sequence[Path],
    folder: Path,
    options: CorpusOptions,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> TokenFile:
    """Tokenise ``files`` into ``folder``; each document is one stream of the token file.

    What an earlier call finished is kept: an interrupted one goes on, a finished one returns at once. While
    it is built it takes twice the space of the tokens.

    Args:
        files: Text, JSON lines or Parquet, in the order of the streams.
        folder: Where the token file will lie.
        options: How.
        workers: Processes.
        progress: Told how far it is.

    Raises:
        UserError: if a file cannot be read, or the folder holds something else or cannot be written.
    """
    from filelock import FileLock

    if options.tokenizer is not None and options.vocab_size is not None:
        raise UserError("Give a tokenizer or a vocabulary size to train one, not both.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plan = _plan(files, options)
        with FileLock(folder.with_name(f"{folder.name}.lock")):  # of two at once, one waits
            _agree(folder, plan)
            if read_manifest(folder) is None:
                _build(files, folder, options, workers, progress or (lambda done, total: None), plan)
    except OSError as error:
        raise UserError(f"The folder {str(folder)!r} cannot be written: {reason_of(error)}.") from error
    return TokenFile(folder)


def cached_corpus(files: Sequence[Path], options: CorpusOptions) -> TokenFile:
    """Return the tokens of ``files`` from the user's cache folder, where they are made on first use.

    Raises:
        UserError: as :func:`prepare_corpus`.
    """
    from platformdirs import user_cache_path

    try:
        plan = json.dumps(_plan(files, options))
    except OSError as error:
        raise UserError(f"{error.filename!r} cannot be read: {reason_of(error)}.") from error
    folder = user_cache_path("seqsuite") / "corpora" / hashlib.sha256(plan.encode()).hexdigest()[:16]
    if not folder.is_dir():
        log.info("Tokenising %s once into %s", counted(len(files), "file"), folder)
    return prepare_corpus(files, folder, options)


def _plan(files: Sequence[Path], options: CorpusOptions) -> dict[str, Any]:
    """Return all that decides what the tokens will be."""
    tokenizer = options.tokenizer
    return {
        "sources": [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files],
        **{name: value for name, value in asdict(options).items() if name != "tokenizer"},
        "tokenizer": tokenizer and hashlib.sha256(read_bytes(tokenizer)).hexdigest(),
        "part_bytes": PART_BYTES,
    }


def _agree(folder: Path, plan: dict[str, Any]) -> None:
    """Check that the folder is empty or was begun with the same plan."""
    file = folder / _PLAN
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")) != plan:
            raise UserError(
                f"The folder {str(folder)!r} was prepared from other files or options: "
                "remove it or choose another."
            )
    elif any(folder.iterdir()):
        raise UserError(f"The folder {str(folder)!r} is not empty: choose another.")
    else:
        replace_text(file, json.dumps(plan))


def _build(
    files: Sequence[Path],
    folder: Path,
    options: CorpusOptions,
    workers: int,
    progress: Progress,
    plan: dict[str, Any],
) -> None:
    parts = [part for file in files for part in cut(file, PART_BYTES, options.encoding)]
    tokenizer = _tokenizer(parts, folder, options)
    work = folder / _PARTS
    work.mkdir(exist_ok=True)
    left = [(number, part) for number, part in enumerate(parts) if not _done(work, number)]
    total = sum(part.size for part in parts)
    done = total - sum(part.size for _, part in left)
    progress(done, total)
    for part in _tokenise_all(left, work, tokenizer, options, workers):
        done += part.size
        progress(done, total)
    _assemble(folder, work, parts, tokenizer, {"sources": plan["sources"]})
    shutil.rmtree(work)


def _tokenizer(parts: Sequence[Part], folder: Path, options: CorpusOptions) -> Tokenizer:
    file = folder / _TOKENIZER
    if file.is_file():
        return open_tokenizer(file)
    if options.tokenizer is not None:
        open_tokenizer(options.tokenizer)  # refuses what is none before anything is written
        replace_text(file, options.tokenizer.read_text(encoding="utf-8"))
    elif options.vocab_size is not None:
        partial = folder / f"{_TOKENIZER}.partial"
        train_byte_pairs(training_sample(parts, options), options.vocab_size, partial)
        os.replace(partial, file)
    return open_tokenizer(file if file.is_file() else None)


def training_sample(parts: Sequence[Part], options: CorpusOptions) -> Iterator[bytes]:
    """Yield text from all parts in turn, ``train_bytes`` in all at most."""
    share = options.train_bytes // len(parts) + 1
    for part in parts:
        left = share
        for document in documents(part, options.field, options.encoding):
            for piece in _pieces(document):
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    break
            if left <= 0:
                break


def _tokenise_all(
    parts: Sequence[tuple[int, Part]],
    work: Path,
    tokenizer: Tokenizer,
    options: CorpusOptions,
    workers: int,
) -> Iterator[Part]:
    """Yield each part when its tokens are written."""
    arguments = [(number, part, work, tokenizer.file, options) for number, part in parts]
    if workers <= 1 or len(parts) <= 1:
        yield from (tokenise(*each) for each in arguments)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        waiting = iter(arguments)
        running = {pool.submit(tokenise, *each) for each in islice(waiting, 2 * workers)}
        while running:
            finished = next(as_completed(running))
            running.remove(finished)
            running |= {pool.submit(tokenise, *each) for each in islice(waiting, 1)}
            yield finished.result()


def tokenise(
    number: int, part: Part, work: Path, tokenizer_file: Path | None, options: CorpusOptions
) -> Part:
    """Write the tokens of one part beside the others' and return it; runs in a process of its own.

    Raises:
        UserError: if the part cannot be read.
    """
    tokenizer = open_tokenizer(tokenizer_file)
    dtype = token_dtype(tokenizer.vocab_size)
    count, ends = 0, []
    with _file(work, number, "bin").open("wb") as handle:
        for document in documents(part, options.field, options.encoding):
            for piece in _pieces(document):
                ids = tokenizer.encode(piece).astype(dtype)
                handle.write(ids.data)
                count += len(ids)
            ends.append(count)
        handle.flush()
        os.fsync(handle.fileno())
    if part.kind == "text" and not part.is_last:
        ends.pop()  # the document goes on in the next part
    np.save(_file(work, number, "npy"), np.array(ends, dtype=np.int64))
    replace_text(_file(work, number, "json"), json.dumps({"tokens": count}))
    return part


def _pieces(document: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a document in pieces that end with a line, or with a character where lines are very long."""
    rest = b""
    for block in document:
        rest += block
        if len(rest) >= PIECE:
            end = rest.rfind(b"\n") + 1 or _last_character(rest)
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _last_character(text: bytes) -> int:
    """Return where the last character of UTF-8 begins, so that none is torn."""
    return next((len(text) - i for i in range(1, 5) if text[-i] & 0xC0 != 0x80), len(text))


def _file(work: Path, number: int, suffix: str) -> Path:
    return work / f"{number:06d}.{suffix}"


def _done(work: Path, number: int) -> bool:
    return _file(work, number, "json").is_file()


def _assemble(
    folder: Path, work: Path, parts: Sequence[Part], tokenizer: Tokenizer, facts: dict[str, Any]
) -> None:
    """Write the parts after one another, and how many documents each source has."""
    dtype = token_dtype(tokenizer.vocab_size)
    ends = [np.load(_file(work, number, "npy")) for number in range(len(parts))]
    counts = Counter({str(part.file.resolve()): 0 for part in parts})
    for part, of_part in zip(parts, ends, strict=True):
        counts[str(part.file.resolve())] += len(of_part)
    facts = {**facts, "documents": [counts[source[0]] for source in facts["sources"]]}
    with TokenWriter(folder, tokenizer.vocab_size, facts) as writer:
        for number, of_part in enumerate(ends):
            tokens = np.fromfile(_file(work, number, "bin"), dtype=dtype)
            start = 0
            for end in of_part.tolist():
                writer.append(tokens[start:end])
                writer.end_stream()
                start = end
            writer.append(tokens[start:])
