"""Linear recurrences by fla-core's Triton kernels (the extra ``gpu``), behind our functions and contract.

They multiply matrices in 16 bits, or in TF32 where inputs are float32. Hence they are chosen where inputs
have 16 bits; plain chunked PyTorch, in full precision, is for all others, and for what they cannot do:
``torch.compile`` in one graph, forward mode and ``torch.func``.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.backend import Backend
from seqsuite.kernels.operators import in_transform


def _why_unavailable() -> str | None:
    if not torch.cuda.is_available():
        return "there is no GPU that PyTorch can use"
    return None if find_spec("fla") else "fla-core is not installed; the extra 'gpu' has it"


FLA = Backend("fla", _why_unavailable, "fla-core's Triton kernels for the GPU")


def is_faster_for(values: Tensor) -> bool:
    """Return whether fla-core's kernels are here, exact enough for these values, and can do what is asked."""
    return (
        values.is_cuda
        and values.dtype in (torch.bfloat16, torch.float16)
        and values.shape[1] > 0
        and not torch.compiler.is_compiling()
        and not in_transform()
        and FLA.unavailable_because() is None
    )


def linear_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor, cu_seqlens: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute S_t = exp(log_decay_t) S_{t-1} + v_t k_tᵀ and y_t = S_t q_t.

    Args:
        q, k: (B, L, H, N).
        v: (B, L, H, P).
        log_decay: (B, L, H), float32, not positive.
        state: S_{-1} (B, H, P, N), float32; (S, H, P, N) for packed sequences.
        cu_seqlens: Offsets (S + 1,) of packed sequences.

    Returns:
        y (B, L, H, P) in v's dtype, and the final state, float32.
    """
    return _run(fla_functions()[0], {"q": q, "k": k, "v": v, "g": log_decay}, state, cu_seqlens)


def gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    beta: Tensor,
    state: Tensor,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Compute what :func:`seqsuite.kernels.gated_delta_rule.gated_delta_rule` does, from ``state``."""
    inputs = {"q": q, "k": k, "v": v, "g": log_decay.float(), "beta": beta.float()}
    return _run(fla_functions()[1], inputs, state, cu_seqlens)


@cache
def fla_functions() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Import fla-core, which looks for a GPU when it is imported."""
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    from fla.ops.simple_gla import chunk_simple_gla

    return chunk_simple_gla, chunk_gated_delta_rule


def _run(
    function: Callable[..., Any], inputs: dict[str, Tensor], state: Tensor, cu_seqlens: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Call one of its functions: by default these scale q, and keep states (N, P)."""
    offsets: dict[str, Tensor | None] = {"cu_seqlens": None}
    if cu_seqlens is not None:
        offsets["cu_seqlens"] = cu_seqlens.to(state.device, torch.int64)
        if cu_seqlens.is_cpu:  # on the host it is known without waiting for the GPU
            offsets["cu_seqlens_cpu"] = cu_seqlens.to(torch.int64)
    dtype = inputs["v"].dtype
    inputs |= {name: inputs[name].to(dtype) for name in ("q", "k")}
    y, final_state = function(
        **inputs, scale=1.0, initial_state=state, output_final_state=True, state_v_first=True, **offsets
    )
    return y, final_state
