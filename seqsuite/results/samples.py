"""What models generated, as parts of a page: text, FASTA, audio to listen to, and pictures of it."""

import base64
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path

from seqsuite.experiments.tracking.store import Store

_AUDIO = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg"}
_TEXT = (".txt", ".fasta", ".fa")
_PICTURE = ".png"
_LONGEST_TEXT = 2000
_LARGEST = 2_000_000  # bytes of a file: a page stays small enough to send


@dataclass(frozen=True)
class Sample:
    """A file of what a model generated, or of its picture."""

    name: str
    content: bytes

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture of what was generated."""
        return self._suffix == _PICTURE

    @property
    def _suffix(self) -> str:
        return Path(self.name).suffix.lower()

    def html(self) -> str:
        """Return it as a part of a page that needs no other file, or a word on why it is not there."""
        name = escape(self.name)
        if self._suffix in _TEXT:
            text = self.content.decode("utf-8", errors="replace")
            cut = "…" if len(text) > _LONGEST_TEXT else ""
            return f"<pre>{escape(text[:_LONGEST_TEXT])}{cut}</pre>"
        if self._suffix not in _AUDIO and not self.is_picture:
            return f"<p>{name}: left with its run.</p>"
        if len(self.content) > _LARGEST:
            return f"<p>{name}: {len(self.content) / 1e6:.1f} MB, left with its run.</p>"
        data = base64.b64encode(self.content).decode()
        if self.is_picture:
            return f'<div class="figure"><img alt="{name}" src="data:image/png;base64,{data}"></div>'
        return f'<audio controls src="data:{_AUDIO[self._suffix]};base64,{data}"></audio>'


def read_samples(store: Store, run_id: str) -> list[Sample]:
    """Return the files of what a run's model generated, and their picture last, where there is one.

    Of a task that has nothing to generate there are none.

    Raises:
        UserError: if the store cannot be read.
    """
    found = []
    with store.errors(), tempfile.TemporaryDirectory() as folder:
        for file in store.client.list_artifacts(run_id):
            if Path(file.path).stem == "sample":
                path = Path(store.client.download_artifacts(run_id, file.path, folder))
                found.append(Sample(path.name, path.read_bytes()))
    return sorted(found, key=lambda sample: sample.is_picture)
