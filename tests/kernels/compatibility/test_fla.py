"""The functions of flash-linear-attention against their equations, position by position in float64.

The cases are those of its own tests: the same switches, layouts and dtypes, at smaller sizes.
"""

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels import compatibility as ours

from .comparison import DTYPES, check, check_gradients, check_refusals, normal, wide


def linear(q, k, v, log_decay, beta=None, scale=None, state=None):
    """S_t = e^{g_t} S_{t−1} + k_t u_tᵀ, o_t = scale · S_tᵀ q_t; u = v, or β (v − e^g Sᵀ k)."""
    q, k, v, log_decay, beta, state = map(wide, (q, k, v, log_decay, beta, state))
    batch, length, heads, width = k.shape
    scale = width**-0.5 if scale is None else scale
    S = torch.zeros(batch, heads, width, v.shape[-1], dtype=torch.float64) if state is None else state
    outputs = []
    for t in range(length):
        S = torch.exp(log_decay[:, t])[..., None, None] * S
        u = v[:, t]
        if beta is not None:
            u = beta[:, t, :, None] * (u - torch.einsum("bhkv,bhk->bhv", S, k[:, t]))
        S = S + k[:, t, :, :, None] * u[:, :, None]
        outputs.append(scale * torch.einsum("bhkv,bhk->bhv", S, q[:, t]))
    return torch.stack(outputs, 1), S


def fla_inputs(dtype: torch.dtype, value_heads: int = 3) -> list[Tensor]:
    q, k = (normal(2, 21, 3, 4, seed=seed, dtype=dtype) for seed in (1, 2))
    return [q, k, normal(2, 21, value_heads, 5, seed=3, dtype=dtype)]


def gammas(like: Tensor) -> Tensor:
    logs = torch.log(1 - 2.0 ** (-5 - torch.arange(like.shape[2], dtype=torch.float64)))
    return logs.expand(like.shape[:3])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("name", ["chunk", "fused_recurrent"])
def test_retention(name: str, initial: bool, scale: float | None, dtype: torch.dtype) -> None:
    retention = getattr(ours, f"{name}_retention")
    inputs = fla_inputs(dtype)
    state = normal(2, 3, 4, 5, seed=5, dtype=torch.promote_types(dtype, torch.float32)) if initial else None
    expected = linear(*inputs, gammas(inputs[2]), scale=scale, state=state)
    check(retention(*inputs, scale=scale, initial_state=state, output_final_state=True), expected, dtype)
    o, nothing = retention(*inputs, scale=scale, initial_state=state)
    assert (o.dtype, nothing) == (dtype, None)
    if dtype == torch.float64:
        check_gradients(
            lambda *leaves: retention(*leaves, scale=scale, initial_state=state),
            lambda *leaves: linear(*leaves, gammas(leaves[2]), scale=scale, state=state),
            inputs,
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("initial", [None, "one", "both"])
@pytest.mark.parametrize("name", ["chunk", "fused_recurrent"])
def test_linear_attention(name: str, initial: str | None, normalize: bool, dtype: torch.dtype) -> None:
    attention, real = getattr(ours, f"{name}_linear_attn"), torch.promote_types(dtype, torch.float32)
    q, k, v = fla_inputs(dtype)
    q, k = F.elu(q) + 1, F.elu(k) + 1
    products = None if initial is None else normal(2, 3, 4, 5, seed=5, dtype=real)
    keys = normal(2, 1, 3, 4, seed=6, dtype=real).abs() if initial == "both" else None
    given = products if keys is None or not normalize else (products, keys)

    def reference(q: Tensor, k: Tensor, v: Tensor) -> tuple[Any, Any]:
        o, S = linear(q, k, v, torch.zeros(v.shape[:3]), state=products)
        if not normalize:
            return o, S
        sums = wide(k).cumsum(1) + (0 if keys is None else wide(keys))
        return o / ((wide(q) * sums).sum(-1, keepdim=True) * 0.5 + 1e-10), (S, sums[:, -1:])

    def actual(*leaves: Tensor) -> tuple[Any, Any]:
        return attention(*leaves, initial_state=given, output_final_state=True, normalize=normalize)

    check(actual(q, k, v), reference(q, k, v), dtype)
    assert attention(q, k, v)[1] is None
    if dtype == torch.float64:
        check_gradients(actual, reference, [q, k, v])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value_heads", [3, 6])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("state_v_first", [False, True])
@pytest.mark.parametrize("name", ["chunk", "fused_recurrent"])
def test_gated_delta_rule(
    name: str, state_v_first: bool, inside: bool, value_heads: int, dtype: torch.dtype
) -> None:
    rule, real = getattr(ours, f"{name}_gated_delta_rule"), torch.promote_types(dtype, torch.float32)
    q, k, v = fla_inputs(dtype, value_heads)
    g, beta = (normal(2, 21, value_heads, seed=seed, dtype=dtype) for seed in (7, 8))
    A_log, bias = (normal(value_heads, seed=seed, dtype=real) for seed in (9, 10))
    state = normal(2, value_heads, 4, 5, seed=5, dtype=real)
    options: dict[str, Any] = {"state_v_first": state_v_first, "output_final_state": True}
    if inside:
        options |= {"use_qk_l2norm_in_kernel": True, "use_gate_in_kernel": True, "A_log": A_log}
        options |= {"dt_bias": bias, "use_beta_sigmoid_in_kernel": True, "allow_neg_eigval": True}
    else:
        q, k = (F.normalize(t.float(), dim=-1).to(dtype) for t in (q, k))
        g, beta = F.logsigmoid(g.float()).to(dtype), torch.sigmoid(beta.float()).to(dtype)

    def reference(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        q, k, g, beta = map(wide, (q, k, g, beta))
        if inside:
            q, k = (t / (t.square().sum(-1, keepdim=True) + 1e-6).sqrt() for t in (q, k))
            g = -torch.exp(wide(A_log)) * F.softplus(g + wide(bias))
            beta = 2 * torch.sigmoid(beta)
        q, k = (t.repeat_interleave(value_heads // 3, 2) for t in (q, k))
        o, S = linear(q, k, v, g, beta, state=state)
        return o, S.transpose(-1, -2) if state_v_first else S

    def actual(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        given = state.transpose(-1, -2) if state_v_first else state
        return rule(q, k, v, g=g, beta=beta, initial_state=given, **options)

    inputs = [q, k, v, g, beta]
    check(actual(*inputs), reference(*inputs), dtype)
    if dtype == torch.float64:
        check_gradients(actual, reference, inputs)


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("name", ["retention", "linear_attn", "gated_delta_rule"])
def test_packed_sequences(name: str, initial: bool) -> None:
    q, k, v = (t[:1] for t in fla_inputs(torch.float64))
    extra = [F.logsigmoid(normal(1, 21, 3, seed=7)), torch.sigmoid(normal(1, 21, 3, seed=8))]
    inputs = [
        F.elu(q) + 1,
        F.normalize(F.elu(k) + 1, dim=-1),
        v,
        *(extra if name == "gated_delta_rule" else []),
    ]
    function, offsets = getattr(ours, f"chunk_{name}"), torch.tensor([0, 6, 7, 21])
    before = (normal(3, 3, 4, 5, seed=9), normal(3, 1, 3, 4, seed=10).abs())
    given = (before if name == "linear_attn" else before[0]) if initial else None

    def of(sequence: int) -> Any:
        row = slice(sequence, sequence + 1)
        return tuple(t[row] for t in given) if isinstance(given, tuple) else given[row] if initial else None

    o, states = function(*inputs, cu_seqlens=offsets, initial_state=given, output_final_state=True)
    parts = [
        function(*(t[:, start:end] for t in inputs), initial_state=of(sequence), output_final_state=True)
        for sequence, (start, end) in enumerate(pairwise(offsets.tolist()))
    ]
    check(o, torch.cat([part for part, _ in parts], 1), torch.float64)
    expected = [after for _, after in parts]
    if name == "linear_attn":
        check(states, tuple(torch.cat(pair) for pair in zip(*expected, strict=True)), torch.float64)
    else:
        check(states, torch.cat(expected), torch.float64)


def test_what_cannot_be_meant_is_said() -> None:
    """In the functions' own names and layouts."""
    q, k, v = inputs = fla_inputs(torch.float64)
    x, state = normal(2, 21, 3), normal(2, 3, 4, 5)
    rule, attention = ours.chunk_gated_delta_rule, ours.chunk_linear_attn
    check_refusals(
        [
            (lambda: ours.chunk_retention(q, k[..., :3], v), r"chunk_retention: k .*= \(2, 21, 3, 4\)"),
            (lambda: ours.chunk_retention(q, k, v[:, :, :2]), r"v .*\(B, T, H, V\) = \(2, 21, 3, 5\)"),
            (lambda: ours.chunk_retention(q.long(), k, v), "q must be floating"),
            (
                lambda: ours.chunk_retention(*inputs, initial_state=state.mT),
                r"\(N, H, K, V\) = \(2, 3, 4, 5\)",
            ),
            (lambda: ours.fused_recurrent_retention(*inputs, reverse=True), "reverse is not supported"),
            (lambda: ours.fused_recurrent_gated_delta_rule(*inputs, gk=x), "decays of each channel"),
            (lambda: rule(*inputs, x, x, use_gate_in_kernel=True), "needs A_log"),
            (lambda: rule(*inputs, x, x, allow_neg_eigval=True), "needs use_beta_sigmoid"),
            (lambda: rule(*inputs, x, x[..., :2]), r"beta .*\(B, T, HV\) = \(2, 21, 3\)"),
            (lambda: rule(*fla_inputs(torch.float64, 4), x, x), "multiple of k's 3 heads"),
            (lambda: attention(*inputs, initial_state=(state, state), normalize=False), "one tensor"),
            (lambda: attention(*inputs, initial_state=(state, state)), r"the sum of keys .*\(N, 1, H, K\)"),
        ]
    )
