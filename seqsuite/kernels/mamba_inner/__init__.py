"""What lies between the in-projection and the residual of a Mamba block, as one operation."""

from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor

from seqsuite.kernels.backend import CPU, REFERENCE, choose_backend
from seqsuite.kernels.causal_conv1d.reference import last_inputs
from seqsuite.kernels.checks import check_cu_seqlens, check_devices, check_tensor
from seqsuite.kernels.mamba_inner.reference import mamba_inner_reference

BACKENDS = {backend.name: backend for backend in (CPU, REFERENCE)}

NAME = "mamba_inner"


class ScanWeights(NamedTuple):
    """The parameters of a selective scan that projects Δ, B and C from its input.

    Attributes:
        x_proj: (R + 2 N, D), to the low rank of Δ, to B and to C.
        dt_proj: (D, R), from the low rank to Δ.
        dt_bias: (D,), added to Δ before its softplus.
        A: (D, N), real.
        D: skip weight (D,).
    """

    x_proj: Tensor
    dt_proj: Tensor
    dt_bias: Tensor
    A: Tensor
    D: Tensor


class InnerStates(NamedTuple):
    """What goes on from one chunk to the next.

    Attributes:
        conv: the K - 1 inputs of the convolution before the chunk, (B, K - 1, D), or (S, K - 1, D) of packed
            sequences.
        scan: the scan's state (B, D, N), or (S, D, N).
    """

    conv: Tensor
    scan: Tensor


@overload
def mamba_inner(
    xz: Tensor,
    conv_weight: Tensor,
    conv_bias: Tensor | None,
    scan: ScanWeights,
    out_proj: Tensor,
    *,
    initial_states: InnerStates | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_states: Literal[False] = False,
    backend: str | None = None,
) -> Tensor: ...


@overload
def mamba_inner(
    xz: Tensor,
    conv_weight: Tensor,
    conv_bias: Tensor | None,
    scan: ScanWeights,
    out_proj: Tensor,
    *,
    initial_states: InnerStates | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_states: Literal[True],
    backend: str | None = None,
) -> tuple[Tensor, InnerStates]: ...


def mamba_inner(
    xz: Tensor,
    conv_weight: Tensor,
    conv_bias: Tensor | None,
    scan: ScanWeights,
    out_proj: Tensor,
    *,
    initial_states: InnerStates | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_states: bool = False,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, InnerStates]:
    """Convolve, project Δ, B and C, scan, gate and project out (Mamba, Figure 3).

    With x and z the halves of ``xz``::

        u = silu(causal_conv1d(x))        δ, B, C = u x_projᵀ        Δ = softplus(δ dt_projᵀ + dt_bias)
        out = (selective_scan(u, Δ, A, B, C) + D u) · silu(z) · out_projᵀ

    The cpu backend keeps for the backward no more than its inputs, the projections δ, B and C, and a part of
    the states, and computes the rest again. The matrix products are in ``xz``'s dtype, all else is in float32
    (float64 where ``xz`` is). Every floating argument gets a gradient, also through the final states.

    Args:
        xz: inputs and gates side by side (B, L, 2 D), floating.
        conv_weight: filters (D, K).
        conv_bias: (D,).
        scan: the scan's parameters.
        out_proj: (M, D).
        initial_states: what the sequences go on from; zeros if not given.
        cu_seqlens: offsets (S + 1,) of sequences packed along L, with B = 1.
        return_final_states: whether to return what the next chunk goes on from, too.
        backend: "reference" or "cpu"; if not given, what the environment variable SEQSUITE_BACKEND says,
            else the fastest that can run.

    Returns:
        out (B, L, M) in ``xz``'s dtype, or this and the final states: the convolution's in ``xz``'s dtype,
        the scan's in float32, or float64 where ``xz`` is.

    Raises:
        TypeError: an argument has a dtype it cannot have.
        ValueError: an argument has a shape it cannot have or is on another device, or the backend cannot
            be used.
    """
    _check_arguments(xz, conv_weight, conv_bias, scan, out_proj, cu_seqlens)
    conv_state = scan_state = None
    if initial_states is not None:
        _check_states(initial_states, xz, conv_weight, scan, cu_seqlens)
        conv_state, scan_state = initial_states.conv.to(xz.dtype), initial_states.scan
    inputs = (xz, conv_weight, conv_bias, *scan, out_proj, conv_state, scan_state, cu_seqlens)
    if backend_for(xz.device.type, backend) == "cpu":
        from seqsuite.kernels.mamba_inner.cpu import mamba_inner_cpu

        out, final_state = mamba_inner_cpu(*inputs)
    else:
        out, final_state = mamba_inner_reference(*inputs, backend)
    if not return_final_states:
        return out
    x, taps = xz[..., : xz.shape[2] // 2], conv_weight.shape[1]
    return out, InnerStates(last_inputs(x, taps - 1, conv_state, cu_seqlens), final_state)


def _check_arguments(
    xz: Tensor,
    conv_weight: Tensor,
    conv_bias: Tensor | None,
    scan: ScanWeights,
    out_proj: Tensor,
    cu_seqlens: Tensor | None,
) -> None:
    check_tensor(NAME, "xz", xz, "(B, L, 2 D)", (None, None, None))
    check_tensor(NAME, "scan.A", scan.A, "(D, N)", (None, None))
    d_model, d_state = scan.A.shape
    check_tensor(NAME, "scan.dt_proj", scan.dt_proj, "(D, R)", (d_model, None))
    rank = scan.dt_proj.shape[1]
    check_tensor(NAME, "xz", xz, "(B, L, 2 D)", (*xz.shape[:2], 2 * d_model))
    check_tensor(NAME, "conv_weight", conv_weight, "(D, K)", (d_model, None))
    if conv_bias is not None:
        check_tensor(NAME, "conv_bias", conv_bias, "(D,)", (d_model,))
    check_tensor(NAME, "scan.x_proj", scan.x_proj, "(R + 2 N, D)", (rank + 2 * d_state, d_model))
    check_tensor(NAME, "scan.dt_bias", scan.dt_bias, "(D,)", (d_model,))
    check_tensor(NAME, "scan.D", scan.D, "(D,)", (d_model,))
    check_tensor(NAME, "out_proj", out_proj, "(M, D)", (None, d_model))
    if cu_seqlens is not None:
        check_cu_seqlens(NAME, cu_seqlens, "xz", xz)
    weights = {f"scan.{name}": weight for name, weight in scan._asdict().items()}
    others = {"conv_weight": conv_weight, "conv_bias": conv_bias, "out_proj": out_proj} | weights
    check_devices(NAME, "xz", xz, others | {"cu_seqlens": cu_seqlens})


def _check_states(
    states: InnerStates, xz: Tensor, conv_weight: Tensor, scan: ScanWeights, cu_seqlens: Tensor | None
) -> None:
    (d_model, d_state), taps = scan.A.shape, conv_weight.shape[1]
    letter, sequences = ("B", xz.shape[0]) if cu_seqlens is None else ("S", len(cu_seqlens) - 1)
    form, shape = f"({letter}, K - 1, D)", (sequences, taps - 1, d_model)
    check_tensor(NAME, "initial_states.conv", states.conv, form, shape)
    shape = (sequences, d_model, d_state)
    check_tensor(NAME, "initial_states.scan", states.scan, f"({letter}, D, N)", shape)
    given = {f"initial_states.{name}": state for name, state in states._asdict().items()}
    check_devices(NAME, "xz", xz, given)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # untyped in PyTorch
def backend_for(device: str, backend: str | None) -> str:
    """Return the name of the backend; torch.compile calls this once instead of tracing into it."""
    return choose_backend(NAME, BACKENDS, device, backend)
