"""Rows times all powers of a matrix, from a few squarings of it."""

import torch
from torch import Tensor


def squarings(matrix: Tensor, count: int) -> list[Tensor]:
    """Return a matrix (D, N, N) to the powers 1, 2, 4, …: ``count`` of them."""
    found = [matrix][:count]
    while len(found) < count:
        found.append(found[-1] @ found[-1])
    return found


def krylov(start: Tensor, powers: list[Tensor]) -> Tensor:
    """Return start · matrix^k for k < 2^(number of powers), as (D, …, 2^…, N).

    Args:
        start: (D, …, 1, N).
        powers: The matrix to the power 1, 2, 4, …, each (D, N, N), as of :func:`squarings`.
    """
    rows = start
    for matrix in powers:
        rows = torch.cat([rows, rows_times(rows, matrix)], dim=-2)
    return rows


def rows_times(rows: Tensor, matrix: Tensor) -> Tensor:
    """Return rows (D, …, N) times a matrix (D, N, N)."""
    return (rows.flatten(1, -2) @ matrix).view(rows.shape)
