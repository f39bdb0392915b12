"""Audio in a line of text and as a picture: what is where, and how loud."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from seqsuite.tasks.codecs.audio import AudioCodec
from seqsuite.tasks.sources.quantization import Quantization

LINEAR = Quantization("linear16")


def steps(levels: list[float], samples: int) -> Any:
    """Tokens of a wave that has each level for so many samples."""
    return LINEAR.encode(np.repeat(np.array(levels, np.float32), samples))


def test_a_line_tells_how_loud_each_hundredth_of_a_second_is() -> None:
    codec = AudioCodec(LINEAR)
    cubes = [(height / 8) ** 3 for height in range(9)]
    assert codec.decode(steps([*cubes[:-1], -1.0], 160)) == "0.09 s, peak 1.00 | ▁▂▃▄▅▆▇█|"
    assert (
        codec.decode(steps([0.25, 0.0, -0.5], 1600)) == f"0.30 s, peak 0.50 |{'▅' * 10}{' ' * 10}{'▆' * 10}|"
    )
    assert codec.decode(steps([0.5], 1)) == "0.00 s, peak 0.50 |▆|"
    assert codec.decode(steps([0.5], 239)) == "0.01 s, peak 0.50 |▆|"
    assert AudioCodec(LINEAR, 2000).decode(steps([0.5, 0.0], 40)) == "0.04 s, peak 0.50 |▆▆  |"


def test_of_a_second_a_line_shows_all_and_not_its_beginning() -> None:
    """A terminal showed 60 samples of it: 0.00 s."""
    codec, second = AudioCodec(LINEAR), steps([0.0, 0.25], 8000)
    assert codec.preview(second, 60) == codec.decode(second)
    assert codec.decode(second) == f"1.00 s, peak 0.25 |{' ' * 20}{'▅' * 20}|"


def test_a_file_is_read_at_the_codecs_rate(tmp_path: Path) -> None:
    time = np.arange(16_000) / 16_000
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 100 * time), 16_000, subtype="FLOAT")
    codec = AudioCodec(LINEAR, 2000)
    wave = codec.wave(codec.read(tmp_path / "a.wav"))
    assert len(wave) == 2000
    np.testing.assert_allclose(wave[200:-200], 0.5 * np.sin(2 * np.pi * 100 * time[1600:-1600:8]), atol=0.01)
    assert codec.tokens_per_second == 4000


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved, in place of files."""
    from matplotlib.figure import Figure

    saved: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: saved.append((figure, path)))
    return saved


def test_a_picture_has_the_wave_above_its_spectrogram(figures: list[Any], tmp_path: Path) -> None:
    """A sine of full scale at 250 Hz: 0 dB there, in windows of 32 ms, 8 ms apart."""
    codec = AudioCodec(LINEAR, 2000)
    wave = np.sin(2 * np.pi * 250 * np.arange(4000) / 2000)
    tokens = LINEAR.encode(wave.astype(np.float32))
    assert codec.draw(tokens, tmp_path / "a.png")
    ((figure, path),) = figures
    above, below, colours = figure.axes
    assert path == tmp_path / "a.png"
    assert figure.get_size_inches().tolist() == [8, 4.5]
    assert above.get_gridspec().get_geometry() == (2, 1)
    assert above.get_gridspec().get_height_ratios() == (1, 2)
    assert above.get_shared_x_axes().joined(above, below)

    (line,) = above.lines
    np.testing.assert_allclose(line.get_xdata(), np.arange(4000) / 2000)
    np.testing.assert_allclose(line.get_ydata(), codec.wave(tokens))
    assert above.get_ylim() == (-1.05, 1.05)
    assert below.get_xlim() == (0, 2)
    labels = [above.get_ylabel(), below.get_xlabel(), below.get_ylabel(), colours.get_ylabel()]
    assert labels == ["amplitude", "time in s", "frequency in kHz", "level in dB of full scale"]

    (image,) = below.images
    levels = image.get_array()
    assert levels.shape == (33, 251)  # of 64 samples, 16 apart, from the first to the last
    assert image.get_extent() == pytest.approx([-0.004, 2.004, 0, 1])
    assert image.get_clim() == (-80, 0)
    np.testing.assert_allclose(levels[8, 3:-3], 0, atol=0.1)
    np.testing.assert_allclose(levels[[7, 9], 3:-3], -6, atol=0.5)  # Hann's window
    assert levels[12:, 3:-3].max() < -40


def test_what_is_not_heard_is_at_the_floor_and_a_click_is_where_it_is(
    figures: list[Any], tmp_path: Path
) -> None:
    wave = np.zeros(640, np.float32)
    wave[320] = 1
    AudioCodec(LINEAR, 2000).draw(LINEAR.encode(wave), tmp_path / "a.png")
    levels = figures[0][0].axes[1].images[0].get_array()
    assert levels.shape == (33, 41)
    heard = np.flatnonzero(levels.max(axis=0) > -79)
    assert heard.tolist() == [19, 20, 21]  # frame k is around sample 16 k
    np.testing.assert_allclose(levels[:, 20], 20 * np.log10(2 / 31.5), atol=0.1)
    assert levels[:, 0].tolist() == [-80] * 33


def test_a_wave_of_few_samples_a_second_is_drawn_sample_by_sample(figures: list[Any], tmp_path: Path) -> None:
    AudioCodec(LINEAR, 100).draw(steps([0.5], 10), tmp_path / "a.png")
    (image,) = figures[0][0].axes[1].images
    assert image.get_array().shape == (2, 10)  # windows of three samples, one apart
    assert image.get_extent() == pytest.approx([-0.005, 0.095, 0, 0.05])


def test_nothing_is_drawn_as_nothing(figures: list[Any], tmp_path: Path) -> None:
    AudioCodec(LINEAR, 2000).draw([], tmp_path / "a.png")
    assert figures[0][0].axes[1].get_xlim() == (0, 1 / 2000)
