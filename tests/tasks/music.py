"""Something like music, to look for passages in."""

import numpy as np

from seqsuite.tasks.sources.audio import SAMPLE_RATE as RATE


def piece(seed: int, seconds: float = 20.0, pitches: int = 36, beat: int = 1) -> np.ndarray:
    """Return notes at random times, multiples of ``beat``, each with overtones that die away."""
    rng = np.random.default_rng(seed)
    wave = np.zeros(int(seconds * RATE), dtype=np.float32)
    time = np.arange(RATE) / RATE
    for start in beat * rng.integers((len(wave) - RATE) // beat, size=int(4 * seconds)):
        pitch = 110 * 2 ** (rng.integers(pitches) / 12)
        tones = sum(np.sin(2 * np.pi * pitch * k * time) / k**2 for k in range(1, 5))
        wave[start : start + RATE] += (0.1 * rng.uniform(0.3, 1) * tones * np.exp(-4 * time)).astype(
            np.float32
        )
    return wave
