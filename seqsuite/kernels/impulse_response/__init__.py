"""What linear systems answer to a single one: the convolution kernel of a state space model.

While torch.compile traces, it is behind two PyTorch operators: the loop over squarings would be unrolled, and
compiled anew for each length.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.impulse_response.powers import krylov, squarings
from seqsuite.kernels.operators import (
    Derivative,
    below_autograd,
    call_backward,
    define_operator,
    implement_operator,
    recomputed_gradients,
)

INPUTS = "Tensor A, Tensor B, Tensor C, SymInt length"

FORWARD = define_operator(f"impulse_response_forward({INPUTS}) -> Tensor")
BACKWARD = define_operator(f"impulse_response_backward(str backend, Tensor dout, {INPUTS}) -> Tensor[]")


def impulse_response(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    """Return K_k = C A^k B for k < length, of D systems; autocast must be off.

    With k = a M + b it is a product over the state of C A^(a M) and A^b B: of two tables of about √length
    rows, which squarings of A fill. That takes O(N³ log length + N length) a system. Powers of a contraction,
    as S4's matrix is, lose no digits so.

    Args:
        A: Real (D, N, N).
        B: (D, N).
        C: (D, N).
        length: From 0 on.

    Returns:
        (D, length).
    """
    if torch.compiler.is_compiling():
        out: Tensor = FORWARD(A, B, C, length)
        return out
    return _forward(A, B, C, length)


def _forward(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    bits = max(length - 1, 0).bit_length()
    powers = squarings(A, bits)
    inner = (bits + 1) // 2
    near = krylov(B.unsqueeze(1), [matrix.mT for matrix in powers[:inner]])
    far = krylov(C.unsqueeze(1), powers[inner:])
    return (far @ near.mT).flatten(1)[:, :length]


def _forward_operator(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    return _forward(A, B, C, length).contiguous()


def _forward_fake(A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
    return C.new_empty(C.shape[0], length)


class _ImpulseResponse(Derivative):
    """The forward with its derivative, which computes it once more."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor, C: Tensor, length: int) -> Tensor:
        ctx.length = length
        ctx.save_for_backward(A, B, C)
        out: Tensor = below_autograd(FORWARD, A, B, C, length)
        return out

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        dA, dB, dC = call_backward(BACKWARD, "compiled", dout, *ctx.saved_tensors, ctx.length)
        return dA, dB, dC, None


def _backward(backend: str, dout: Tensor, A: Tensor, B: Tensor, C: Tensor, length: int) -> list[Tensor]:
    return recomputed_gradients(partial(_forward, length=length), (A, B, C), dout)


def _backward_fake(backend: str, dout: Tensor, A: Tensor, B: Tensor, C: Tensor, length: int) -> list[Tensor]:
    return [value.new_empty(value.shape) for value in (A, B, C)]


DEVICES = ("CompositeExplicitAutograd",)  # any that PyTorch has
implement_operator(FORWARD, _forward_operator, _forward_fake, _ImpulseResponse, _forward, devices=DEVICES)
implement_operator(BACKWARD, _backward, _backward_fake, devices=DEVICES)
