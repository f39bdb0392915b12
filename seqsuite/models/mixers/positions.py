"""How heads learn where they are: by turning queries and keys, or by a bias on distances."""

import torch
from torch import Tensor


def rotate(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Turn pairs of channels by angles that grow with the position (RoPE, arXiv 2104.09864, equation 34).

    Args:
        x: Queries or keys (B, L, H, P), P even; channel i is paired with channel i + P/2.
        positions: Whole numbers (B, L).
        base: Pair i turns by base^(−2i / P) a position.

    Returns:
        The turned tensor, in x's dtype; the angles are computed in float64.
    """
    half = x.shape[-1] // 2
    exponents = torch.arange(half, device=x.device, dtype=torch.float64) / half
    angles = positions.to(torch.float64).unsqueeze(-1) * base**-exponents
    cos, sin = angles.cos().to(x.dtype).unsqueeze(2), angles.sin().to(x.dtype).unsqueeze(2)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)


def xpos_scale(x: Tensor, positions: Tensor, sign: int) -> Tensor:
    """Scale pairs of channels so that scores fade with distance (xPos, arXiv 2212.10554, section 3.2).

    Args:
        x: Turned queries or keys (B, L, H, P).
        positions: Whole numbers (B, L).
        sign: +1 for queries, −1 for keys: the exponents of a score then add up to their distance.

    Returns:
        x times ζ_i^(± position / 512) with ζ_i = (2i / P + 0.4) / 1.4, in x's dtype.
    """
    half = x.shape[-1] // 2
    zeta = (torch.arange(half, device=x.device, dtype=torch.float64) / half + 0.4) / 1.4
    scale = zeta ** (sign / 512 * positions.to(torch.float64).unsqueeze(-1))
    return x * torch.cat([scale, scale], dim=-1).to(x.dtype).unsqueeze(2)


def alibi_slopes(n_heads: int) -> list[float]:
    """Return ALiBi's slope of each head: a geometric sequence from 2^(−8/H) (arXiv 2108.12409, section 3).

    Where H is no power of two, the slopes of the power below are followed by every other one of the power
    above, as in the authors' implementation.
    """
    power = 1 << (n_heads.bit_length() - 1)
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    return slopes + [2 ** (-4 * (2 * head + 1) / power) for head in range(n_heads - power)]
