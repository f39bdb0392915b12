"""A user's recordings as token streams, split once and for all; large sets memory-mapped."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.prepare.manifest import read_manifest
from seqsuite.tasks.prepare.token_files import TokenFile, TokenWriter
from seqsuite.tasks.sources import audio
from seqsuite.tasks.sources.audio_fingerprint import Passage, shared_passages
from seqsuite.tasks.sources.audio_splits import SplitRule, split_recordings
from seqsuite.tasks.sources.duplicates import Content, refuse_shared_content
from seqsuite.tasks.sources.files import OnBadFile, find_files, read_files, reason_of
from seqsuite.tasks.sources.quantization import Quantization, Tokens
from seqsuite.tasks.windows import WHOLE_STREAMS_FROM, split_named
from seqsuite.wording import counted

log = logging.getLogger(__name__)

NamedStreams = dict[Split, dict[str, Tokens]]

LARGE = 1 << 30
"""Bytes of files from which on their tokens are kept in the user's cache folder, memory-mapped."""

SEARCHED_HOURS = 12
"""Recordings up to so long in all are searched for shared passages whenever they are read."""

_TOLD = 3  # passages to name where there are many
_RECIPE = 1
"""Part of the cache folder's name: raise it when tokens are made of files in another way."""


def check_recordings(path: Path, rule: SplitRule) -> None:
    """Check that there are recordings, and the layout that a rule is for; cheap, for constructors.

    Raises:
        UserError: if there are not.
    """
    find_files(path, audio.SUFFIXES, "audio", audio.NEEDS)
    if rule != "auto":
        split_recordings(path, rule)


def read_recordings(
    path: Path, rule: SplitRule, quantization: Quantization, on_bad_file: OnBadFile
) -> NamedStreams:
    """Return each split's streams (L,) by name: whole recordings, or parts of them where they are few.

    Splits that share a passage of one recording are named in the log.

    Args:
        path: A file or a folder.
        rule: By which rule recordings are held out.
        quantization: What their tokens are.
        on_bad_file: What to do about one that cannot be read.

    Raises:
        UserError: if recordings cannot be read, one is in two splits, or the cache cannot be written.
    """
    official = split_recordings(path, rule)
    if official is None:
        files = find_files(path, audio.SUFFIXES, "audio", audio.NEEDS)
        read = _read(files, quantization, on_bad_file)
        splits = split_named({str(file): tokens for file, tokens in read.items()})
        if len(read) >= WHOLE_STREAMS_FROM:
            contents: dict[str, Mapping[str, Content]] = {split: splits[split] for split in SPLITS}
            refuse_shared_content(contents, path)
    else:
        read = _read([file for split in SPLITS for file in official[split]], quantization, on_bad_file)
        splits = {
            split: {str(file): read[file] for file in official[split] if file in read} for split in SPLITS
        }
    tell_shared_passages(splits, quantization)
    return splits


def tell_shared_passages(splits: NamedStreams, quantization: Quantization) -> None:
    """Name in the log what passages are in two splits, unless the recordings are too long to be searched."""
    tokens = sum(len(stream) for streams in splits.values() for stream in streams.values())
    hours = tokens / quantization.tokens_per_sample / audio.SAMPLE_RATE / 3600
    if hours > SEARCHED_HOURS:
        log.info(
            "%.0f hours of recordings are not searched for passages in two splits: `seqsuite data info` does",
            hours,
        )
        return
    passages = passages_between(splits, quantization)
    if passages:
        log.warning(
            "Passages are in two splits, and make held-out scores too good; %d of them: %s",
            len(passages),
            "; ".join(map(str, passages[:_TOLD])) + ("; …" if len(passages) > _TOLD else ""),
        )


def passages_between(
    splits: Mapping[Split, Mapping[str, Tokens]], quantization: Quantization
) -> list[Passage]:
    """Return the passages of five seconds and more that recordings of two splits share."""
    if quantization.name == "mu-law":
        return shared_passages({str(split): dict(streams) for split, streams in splits.items()})
    codes: dict[str, dict[str, audio.Codes]] = {
        split: {name: audio.encode(quantization.decode(stream)) for name, stream in streams.items()}
        for split, streams in splits.items()
    }
    return shared_passages(codes)


def _read(files: Sequence[Path], quantization: Quantization, on_bad_file: OnBadFile) -> dict[Path, Tokens]:
    """Return each file's tokens; of large ones from the cache folder, where they are put first."""
    if sum(file.stat().st_size for file in files) <= LARGE:
        return read_files(files, partial(audio.read_audio, quantization=quantization), on_bad_file)
    from filelock import FileLock

    folder = _cache_folder(files, quantization)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if read_manifest(folder) is None:
                log.info("Reading %s into %s (once)", counted(len(files), "file"), folder)
                _write(folder, files, quantization, on_bad_file)
    except OSError as error:
        raise UserError(
            f"The recordings' tokens cannot be kept in {str(folder.parent)!r}: {reason_of(error)}; "
            "point XDG_CACHE_HOME to a folder that you can write."
        ) from error
    tokens = TokenFile(folder)
    return {Path(name): tokens[number] for number, name in enumerate(tokens.names or ())}


def _write(folder: Path, files: Sequence[Path], quantization: Quantization, on_bad_file: OnBadFile) -> None:
    """Write the tokens of each file, one file in memory at a time."""
    with TokenWriter(folder, quantization.vocab_size, {"quantization": quantization.name}) as writer:

        def append(file: Path) -> None:
            writer.append(audio.read_audio(file, quantization))
            writer.end_stream(str(file))

        read_files(files, append, on_bad_file)


def _cache_folder(files: Sequence[Path], quantization: Quantization) -> Path:
    """Return a folder whose name says which files, of which size and time, were read how."""
    from platformdirs import user_cache_path

    digest = hashlib.blake2b(f"{_RECIPE} {quantization.name}\n".encode(), digest_size=8)
    for file in files:
        status = file.stat()
        digest.update(f"{file.absolute()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return user_cache_path("seqsuite") / f"recordings-{digest.hexdigest()}"
