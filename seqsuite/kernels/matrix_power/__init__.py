"""Rows times a power of a matrix, by repeated squaring.

While torch.compile traces, it is behind two PyTorch operators: the loop would be unrolled, and compiled anew
for each exponent, which is a sequence's length.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.operators import (
    Derivative,
    below_autograd,
    call_backward,
    define_operator,
    implement_operator,
    recomputed_gradients,
)

INPUTS = "Tensor rows, Tensor matrix, SymInt exponent"

FORWARD = define_operator(f"matrix_power_forward({INPUTS}) -> Tensor")
BACKWARD = define_operator(f"matrix_power_backward(str backend, Tensor dout, {INPUTS}) -> Tensor[]")


def times_matrix_power(rows: Tensor, matrix: Tensor, exponent: int) -> Tensor:
    """Return rows · matrix^exponent in ⌈log₂ exponent⌉ squarings; autocast must be off.

    Args:
        rows: (…, M, N), of one dtype with the matrix.
        matrix: (…, N, N).
        exponent: From 0 on.

    Returns:
        (…, M, N).
    """
    if torch.compiler.is_compiling():
        out: Tensor = FORWARD(rows, matrix, exponent)
        return out
    return _forward(rows, matrix, exponent)


def _forward(rows: Tensor, matrix: Tensor, exponent: int) -> Tensor:
    while exponent:
        if exponent & 1:
            rows = rows @ matrix
        exponent >>= 1
        if exponent:
            matrix = matrix @ matrix
    return rows


def _forward_operator(rows: Tensor, matrix: Tensor, exponent: int) -> Tensor:
    return _forward(rows, matrix, exponent) if exponent else rows.clone()


def _forward_fake(rows: Tensor, matrix: Tensor, exponent: int) -> Tensor:
    return rows.new_empty(rows.shape)


class _MatrixPower(Derivative):
    """The forward with its derivative, which computes it once more."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Tensor, exponent: int) -> Tensor:
        ctx.exponent = exponent
        ctx.save_for_backward(rows, matrix)
        out: Tensor = below_autograd(FORWARD, rows, matrix, exponent)
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor, None]:
        drows, dmatrix = call_backward(BACKWARD, "compiled", dout, *ctx.saved_tensors, ctx.exponent)
        return drows, dmatrix, None


def _backward(backend: str, dout: Tensor, rows: Tensor, matrix: Tensor, exponent: int) -> list[Tensor]:
    return recomputed_gradients(partial(_forward, exponent=exponent), (rows, matrix), dout)


def _backward_fake(backend: str, dout: Tensor, rows: Tensor, matrix: Tensor, exponent: int) -> list[Tensor]:
    return [rows.new_empty(rows.shape), matrix.new_empty(matrix.shape)]


DEVICES = ("CompositeExplicitAutograd",)  # any that PyTorch has
implement_operator(FORWARD, _forward_operator, _forward_fake, _MatrixPower, _forward, devices=DEVICES)
implement_operator(BACKWARD, _backward, _backward_fake, devices=DEVICES)
