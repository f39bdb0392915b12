"""Short causal depthwise convolution along the sequence, the one in front of Mamba's scan."""

from typing import Literal, overload

import torch
from torch import Tensor

from seqsuite.kernels.backend import CPU, REFERENCE, TRITON, choose_backend
from seqsuite.kernels.causal_conv1d.reference import causal_conv1d_reference, last_inputs
from seqsuite.kernels.checks import check_cu_seqlens, check_devices, check_flag, check_tensor

BACKENDS = {backend.name: backend for backend in (TRITON, CPU, REFERENCE)}

NAME = "causal_conv1d"


@overload
def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_state: Literal[False] = False,
    backend: str | None = None,
) -> Tensor: ...


@overload
def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_state: Literal[True],
    backend: str | None = None,
) -> tuple[Tensor, Tensor]: ...


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    activation: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    return_final_state: bool = False,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Convolve each channel with its own short filter: y_t = Σ_k weight[:, k] · x_{t - K + 1 + k} + bias.

    It is computed in float32 (in float64 where ``x`` is float64) whatever the dtypes of the arguments. Every
    one of them gets a gradient, also through the final state.

    Args:
        x: Inputs (B, L, D): float64, float32, bfloat16 or float16. The fused backends read a slice of the
            last dimension, such as half of a projection, where it is.
        weight: Filters (D, K); the last tap meets the present position.
        bias: Bias (D,).
        activation: Whether to apply SiLU to the result.
        initial_state: The K - 1 inputs before the first position, (B, K - 1, D) — (S, K - 1, D) when packed;
            zeros if not given.
        cu_seqlens: Offsets (S + 1,) of sequences packed along L, with B = 1: no tap reaches over a border.
        return_final_state: Whether to return the last K - 1 inputs too, for the next chunk to start from.
        backend: "triton" (tensors on a GPU), "cpu" or "reference"; if not given, what the environment's
            SEQSUITE_BACKEND says, else the fastest that can run.

    Returns:
        Outputs (B, L, D) in ``x``'s dtype, or these and the final state, of the initial state's shape.

    Raises:
        TypeError: an argument has a type or dtype it cannot have.
        ValueError: an argument has a shape it cannot have or is on another device, or the backend cannot
            be used.
    """
    _check_arguments(x, weight, bias, initial_state, cu_seqlens)
    check_flag(NAME, "activation", activation, " (SiLU or none)")
    if initial_state is not None:
        initial_state = initial_state.to(x.dtype)
    name = backend_for(x.device.type, backend)
    if name == "reference":
        y = causal_conv1d_reference(x, weight, bias, activation, initial_state, cu_seqlens)
    else:
        from seqsuite.kernels.causal_conv1d.operators import causal_conv1d_fused

        y = causal_conv1d_fused(name, x, weight, bias, activation, initial_state, cu_seqlens)
    if not return_final_state:
        return y
    return y, last_inputs(x, weight.shape[1] - 1, initial_state, cu_seqlens)


def _check_arguments(
    x: Tensor, weight: Tensor, bias: Tensor | None, initial_state: Tensor | None, cu_seqlens: Tensor | None
) -> None:
    check_tensor(NAME, "x", x, "(B, L, D)", (None, None, None))
    batch, _, d_model = x.shape
    check_tensor(NAME, "weight", weight, "(D, K)", (d_model, None))
    taps = weight.shape[1]
    if 0 in (d_model, taps):
        raise ValueError(f"{NAME}: D and K must be positive, but weight has shape {tuple(weight.shape)}")
    if bias is not None:
        check_tensor(NAME, "bias", bias, "(D,)", (d_model,))
    if cu_seqlens is not None:
        check_cu_seqlens(NAME, cu_seqlens, "x", x)
    if initial_state is not None:
        sequences = batch if cu_seqlens is None else len(cu_seqlens) - 1
        form = "(B, K - 1, D)" if cu_seqlens is None else "(S, K - 1, D) for S packed sequences"
        check_tensor(NAME, "initial_state", initial_state, form, (sequences, taps - 1, d_model))
    others = {"weight": weight, "bias": bias, "initial_state": initial_state, "cu_seqlens": cu_seqlens}
    check_devices(NAME, "x", x, others)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # untyped in PyTorch
def backend_for(device: str, backend: str | None) -> str:
    """Return the name of the backend; torch.compile calls this once instead of tracing into it."""
    return choose_backend(NAME, BACKENDS, device, backend)
