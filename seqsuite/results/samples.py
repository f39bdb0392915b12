"""What models generated, as parts of a page: text, FASTA, and audio to listen to."""

import base64
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path

from seqsuite.experiments.tracking.store import Store

_AUDIO = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg"}
_TEXT = (".txt", ".fasta", ".fa")
_LONGEST_TEXT = 2000
_LARGEST_AUDIO = 2_000_000  # bytes: a page stays small enough to send


@dataclass(frozen=True)
class Sample:
    """A file that a model generated."""

    name: str
    content: bytes

    def html(self) -> str:
        """Return it as a part of a page that needs no other file, or a word on why it is not there."""
        suffix = Path(self.name).suffix.lower()
        if suffix in _AUDIO:
            if len(self.content) > _LARGEST_AUDIO:
                return f"<p>{escape(self.name)}: {len(self.content) / 1e6:.1f} MB, left with its run.</p>"
            data = base64.b64encode(self.content).decode()
            return f'<audio controls src="data:{_AUDIO[suffix]};base64,{data}"></audio>'
        if suffix in _TEXT:
            text = self.content.decode("utf-8", errors="replace")
            cut = "…" if len(text) > _LONGEST_TEXT else ""
            return f"<pre>{escape(text[:_LONGEST_TEXT])}{cut}</pre>"
        return f"<p>{escape(self.name)}: left with its run.</p>"


def read_sample(store: Store, run_id: str) -> Sample | None:
    """Return what a run's model generated, or ``None`` if its task has nothing to generate.

    Raises:
        UserError: if the store cannot be read.
    """
    with store.errors(), tempfile.TemporaryDirectory() as folder:
        for file in store.client.list_artifacts(run_id):
            if Path(file.path).stem == "sample":
                found = Path(store.client.download_artifacts(run_id, file.path, folder))
                return Sample(found.name, found.read_bytes())
    return None
