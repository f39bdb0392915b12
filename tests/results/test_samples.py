"""What a run's model generated, as a part of a page."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from seqsuite.experiments.tracking.store import Store
from seqsuite.results.samples import Sample, read_samples


def test_samples_are_parts_of_a_page_or_left_with_their_run() -> None:
    sound = Sample("sample.wav", b"RIFF").html()
    assert 'src="data:audio/wav;base64,UklGRg=="' in sound
    assert Sample("sample.wav", bytes(2_000_000)).html().startswith("<audio")
    assert Sample("sample.wav", bytes(2_500_000)).html() == "<p>sample.wav: 2.5 MB, left with its run.</p>"
    assert Sample("sample.FASTA", b">a\nACGT").html() == "<pre>&gt;a\nACGT</pre>"
    assert Sample("sample.txt", b"a" * 2000).html() == f"<pre>{'a' * 2000}</pre>"
    assert Sample("sample.txt", b"a" * 2001).html() == f"<pre>{'a' * 2000}…</pre>"
    assert Sample("sample.mid", b"x").html() == "<p>sample.mid: left with its run.</p>"
    assert replace(Sample("sample.txt", b"\xff"), name="sample.fa").html() == "<pre>\ufffd</pre>"
    picture = Sample("sample.png", b"\x89PNG").html()
    assert '<img alt="sample.png" src="data:image/png;base64,iVBORw=="' in picture
    assert Sample("sample.png", bytes(2_500_000)).html() == "<p>sample.png: 2.5 MB, left with its run.</p>"


def test_what_can_be_heard_is_before_its_picture(
    store: Store, record: Callable[..., str], tmp_path: Path
) -> None:
    """The store lists files by name, and so the picture first."""
    run_id = record("mamba", 6.0, task="piano", metric="bits_per_sample")
    assert read_samples(store, run_id) == []
    for name in ("sample.png", "sample.wav", "loss_curve.png"):
        (tmp_path / name).write_bytes(name.encode())
        store.artifact(run_id, tmp_path / name)
    assert read_samples(store, run_id) == [
        Sample("sample.wav", b"sample.wav"),
        Sample("sample.png", b"sample.png"),
    ]
