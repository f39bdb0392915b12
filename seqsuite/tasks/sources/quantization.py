"""How a wave becomes tokens: 8-bit mu-law, or linear steps of 8 or 16 bits, all at a fixed scale.

The scale is fixed, so that loudness is kept and silence is always the same token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.unsignedinteger[Any]]

QuantizationName = Literal["mu-law", "linear8", "linear16"]

_BYTE = 256


@dataclass(frozen=True)
class Quantization:
    """Tokens of samples.

    Sixteen bits are two tokens a sample: the upper byte, 0 to 255, and then the lower byte, 256 to 511. One
    token of 65 536 would take more parameters in the embedding than small models have in all, most of them
    for values that hardly occur; and bytes of their own let a model know which of the two comes next.

    Attributes:
        name: What users call it.
    """

    name: QuantizationName

    @property
    def vocab_size(self) -> int:
        """Return the number of tokens V."""
        return 2 * _BYTE if self.tokens_per_sample == 2 else _BYTE

    @property
    def tokens_per_sample(self) -> int:
        """Return how many tokens a sample is."""
        return 2 if self.name == "linear16" else 1

    def encode(self, wave: Wave) -> Tokens:
        """Return the tokens (L · tokens a sample,) of a wave (L,) in [-1, 1]; what lies beyond is clipped."""
        if self.name == "mu-law":
            return _encode_mu_law(wave)
        steps = 1 << (15 if self.name == "linear16" else 7)
        levels = np.clip(np.rint(wave.astype(np.float64) * steps), -steps, steps - 1).astype(np.int64) + steps
        if self.name == "linear8":
            return levels.astype(np.uint8)
        return np.stack([levels >> 8, _BYTE + (levels & 0xFF)], axis=-1).reshape(-1).astype(np.uint16)

    def decode(self, tokens: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Wave:
        """Return the wave (L,) in [-1, 1] of tokens.

        Of sixteen bits, any tokens that a model may say mean something: an upper byte waits for the next
        lower byte, and a lower byte without an upper one is left out.
        """
        values = np.asarray(tokens, dtype=np.int64)
        if self.name == "mu-law":
            return _decode_mu_law(values)
        if self.name == "linear8":
            return ((values - 128) / 128).astype(np.float32)
        lower = np.flatnonzero(values >= _BYTE)
        lower = lower[lower > 0]
        lower = lower[values[lower - 1] < _BYTE]
        levels = (values[lower - 1] << 8) + values[lower] - _BYTE
        return ((levels - (1 << 15)) / (1 << 15)).astype(np.float32)


MU_LAW = Quantization("mu-law")


def _encode_mu_law(wave: Wave) -> Tokens:
    import torch
    from torchaudio.functional import mu_law_encoding

    clipped = torch.from_numpy(wave).clamp(-1, 1)
    return cast(Tokens, mu_law_encoding(clipped, _BYTE).to(torch.uint8).numpy())


def _decode_mu_law(codes: npt.NDArray[np.int64]) -> Wave:
    import torch
    from torchaudio.functional import mu_law_decoding

    return cast(Wave, mu_law_decoding(torch.from_numpy(codes), _BYTE).numpy())
