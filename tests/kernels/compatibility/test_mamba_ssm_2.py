"""mamba_ssm's function for SSD against the equations that it computes, position by position in float64.

The cases are those of its own tests: the same switches, layouts and dtypes, at smaller sizes.
"""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels import compatibility as ours

from .comparison import DTYPES, SEQ_IDX, check, check_gradients, check_refusals, normal, wide


def ssd(
    x, dt, A, B, C, D=None, z=None, dt_bias=None, initial_states=None, seq_idx=None, dt_softplus=False,
    dt_limit=(0.0, math.inf),
):  # fmt: skip
    """S_t = exp(Δ_t A) S_{t−1} + Δ_t x_t B_tᵀ, y_t = S_t C_t, with S = 0 where the sequence changes."""
    x, dt, A, B, C, D, z, dt_bias, initial_states = map(wide, (x, dt, A, B, C, D, z, dt_bias, initial_states))
    batch, length, heads, width = x.shape
    dt = dt if dt_bias is None else dt + dt_bias
    dt = (F.softplus(dt) if dt_softplus else dt).clamp(*dt_limit)
    B, C = (t.repeat_interleave(heads // t.shape[2], 2) for t in (B, C))
    S = torch.zeros(batch, heads, width, B.shape[-1], dtype=torch.float64)
    S = S if initial_states is None else initial_states
    before, ys = torch.zeros(batch, dtype=torch.int64), []
    for t in range(length):
        if seq_idx is not None:
            S = torch.where((seq_idx[:, t] == before)[:, None, None, None], S, torch.zeros_like(S))
            before = seq_idx[:, t]
        fed = (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, :, None]
        S = torch.exp(dt[:, t] * A)[..., None, None] * S + fed
        ys.append((S * C[:, t, :, None]).sum(-1))
    y = torch.stack(ys, 1)
    y = y if D is None else y + (D if D.dim() == 2 else D[:, None]) * x
    return (y if z is None else y * F.silu(z)), S


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("skip", [None, "head", "channel"])
@pytest.mark.parametrize("groups", [1, 2])
def test_mamba_chunk_scan_combined(
    groups: int, skip: str | None, initial: bool, packed: bool, dtype: torch.dtype
) -> None:
    batch, length, heads, width, states = 2, 40, 4, 3, 5
    real = torch.promote_types(dtype, torch.float32)
    inputs = [
        normal(batch, length, heads, width, dtype=dtype),
        normal(batch, length, heads, seed=1, dtype=dtype),
        -normal(heads, seed=2, dtype=real).abs(),
        normal(batch, length, groups, states, seed=3, dtype=dtype),
        normal(batch, length, groups, states, seed=4, dtype=dtype),
    ]
    options: dict[str, Any] = {"dt_bias": normal(heads, seed=5, dtype=real), "dt_softplus": True}
    if skip is not None:
        options["D"] = normal(*((heads,) if skip == "head" else (heads, width)), seed=6, dtype=real)
        options |= {"z": normal(batch, length, heads, width, seed=7, dtype=dtype), "dt_limit": (0.2, 1.5)}
    if initial:
        options["initial_states"] = normal(batch, heads, width, states, seed=8, dtype=real)
    if packed:
        options["seq_idx"] = SEQ_IDX

    def actual(*leaves: Tensor) -> tuple[Tensor, Tensor]:
        return ours.mamba_chunk_scan_combined(*leaves, 16, **options, return_final_states=True)

    y, final = actual(*inputs)
    assert y.dtype == dtype
    expected = ssd(*inputs, **options)
    check(y, expected[0], dtype)
    check(final, expected[1], dtype)
    if dtype == torch.float64:
        check_gradients(actual, lambda *leaves: ssd(*leaves, **options), inputs)


def test_the_states_of_packed_sequences() -> None:
    length, heads = 12, 2
    inputs = [
        normal(1, length, heads, 3),
        normal(1, length, heads, seed=1).abs(),
        -normal(heads, seed=2).abs(),
        normal(1, length, 1, 4, seed=3),
        normal(1, length, 1, 4, seed=4),
    ]
    seq_idx = torch.tensor([[0] * 5 + [1] * 7])
    options: dict[str, Any] = {"seq_idx": seq_idx, "cu_seqlens": torch.tensor([0, 5, 12], dtype=torch.int32)}
    y, final, states = ours.mamba_chunk_scan_combined(
        *inputs, 4, **options, return_final_states=True, return_varlen_states=True, state_dtype=torch.float32
    )
    expected_y, expected_final = ssd(*inputs, seq_idx=seq_idx)
    _, first = ssd(*(t[:, :5] if t.dim() > 1 else t for t in inputs))
    check(y, expected_y, torch.float64)
    assert final.dtype == states.dtype == torch.float32
    check(final, expected_final, torch.float32)
    check(states, torch.cat([first, expected_final]), torch.float32)
    assert isinstance(ours.mamba_chunk_scan_combined(*inputs, 4), Tensor)
    with pytest.raises(ValueError, match="needs cu_seqlens"):
        ours.mamba_chunk_scan_combined(*inputs, 4, return_varlen_states=True)


def test_what_cannot_be_meant_is_said() -> None:
    """In the function's own names and layout."""
    x, dt, A, B = normal(2, 8, 4, 3), normal(2, 8, 4), -normal(4).abs(), normal(2, 8, 1, 5)
    call = ours.mamba_chunk_scan_combined
    check_refusals(
        [
            (lambda: call(x, dt, A, B, B, 4, D=normal(3)), r"D must have shape \(H,\) = \(4,\), not \(3,\)"),
            (lambda: call(x, dt, A, B, B, 4, z=x[..., :1]), r"z .*\(B, L, H, P\) = \(2, 8, 4, 3\)"),
            (lambda: call(x, dt, A, B, B, 4, initial_states=normal(2, 4, 5, 3)), r"= \(2, 4, 3, 5\)"),
            (lambda: call(x, dt, A, B, B, 4, seq_idx=torch.zeros(2, 7).long()), r"= \(2, 8\), not \(2, 7\)"),
            (lambda: call(x, dt, A, B, B, 0), "chunk_size must be positive"),
        ]
    )
