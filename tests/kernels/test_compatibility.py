"""The drop-in functions against the equations that their namesakes compute, position by position in float64.

The cases are those of the namesakes' own tests: the same switches, layouts and dtypes, at smaller sizes.
"""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels import compatibility as ours

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def normal(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Tensor:
    """Return normal numbers that ``dtype`` can hold."""
    generator = torch.Generator().manual_seed(seed + 7 * len(size) + sum(size))
    return (scale * torch.randn(size, generator=generator, dtype=torch.float64)).to(dtype)


def wide(values: Any) -> Any:
    """Return what is floating in float64 (complex128)."""
    if not isinstance(values, Tensor) or not (values.is_floating_point() or values.is_complex()):
        return values
    return values.to(torch.complex128 if values.is_complex() else torch.float64)


def check(actual: Any, expected: Any, dtype: torch.dtype) -> None:
    """Compare with the float64 reference, relative to its size."""
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            check(one, other, dtype)
        return
    if expected is None:
        assert actual is None
        return
    assert actual.shape == expected.shape
    bound = TOLERANCE[dtype] * max(1.0, expected.abs().max().item())
    assert (wide(actual) - expected).abs().max().item() <= bound


def check_gradients(ours: Any, reference: Any, inputs: list[Tensor]) -> None:
    """Compare the gradients of a random weighting of the first output, in float64."""
    found = []
    for function in (ours, reference):
        leaves = [value.clone().requires_grad_() for value in inputs]
        output = function(*leaves)
        output = output[0] if isinstance(output, tuple) else output
        weights = normal(*output.shape, seed=99)
        found.append(torch.autograd.grad((output * weights).sum(), leaves))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


# mamba_ssm: the scan


def scan(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False):
    """h_t = exp(Δ_t A) h_{t−1} + Δ_t B_t u_t and y_t = C_t h_t, twice its real part for a complex A."""
    u, delta, A, B, C, D, z, delta_bias = map(wide, (u, delta, A, B, C, D, z, delta_bias))
    batch, width, length = u.shape
    delta = delta if delta_bias is None else delta + delta_bias[:, None]
    delta = F.softplus(delta) if delta_softplus else delta

    def at(projection: Tensor, t: int) -> Tensor:
        """Return B_t or C_t as (batch, width, N)."""
        if A.is_complex() and not projection.is_complex() and projection.dim() > 2:
            projection = torch.complex(projection[..., 0::2], projection[..., 1::2])
        if projection.dim() == 2:
            return projection.expand(batch, -1, -1)
        if projection.dim() == 3:
            projection = projection[:, None]
        return projection[..., t].repeat_interleave(width // projection.shape[1], dim=1)

    h, ys = torch.zeros(batch, width, A.shape[1], dtype=A.dtype), []
    for t in range(length):
        dt = delta[..., t, None]
        h = torch.exp(dt * A) * h + dt * at(B, t) * u[..., t, None]
        y = (at(C, t) * h).sum(-1)
        ys.append(2 * y.real if A.is_complex() else y)
    y = torch.stack(ys, -1)
    y = y if D is None else y + D[:, None] * u
    y = y if z is None else y * F.silu(z)
    return (y, h) if return_last_state else y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("extras", [False, True])
@pytest.mark.parametrize("groups", [0, 1, 2])
@pytest.mark.parametrize("form", ["real", "complex", "interleaved"])
def test_selective_scan_fn(form: str, groups: int, extras: bool, dtype: torch.dtype) -> None:
    batch, width, states, length = 2, 4, 8, 24
    real = torch.promote_types(dtype, torch.float32)
    A = -0.5 * torch.rand(width, states, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    A = A.to(real) if form == "real" else torch.complex(A, normal(width, states)).to(real.to_complex())

    def projection(seed: int) -> Tensor:
        time = length * (2 if form == "interleaved" else 1)
        size = (batch, groups, states, time) if groups > 1 else (batch, states, time)
        if groups == 0:
            size = (width, states)
        if form == "complex" or (form == "interleaved" and groups == 0):
            return torch.complex(normal(*size, seed=seed), normal(*size, seed=seed + 1)).to(real.to_complex())
        return normal(*size, seed=seed, dtype=dtype)

    u, delta = normal(batch, width, length, dtype=dtype), normal(batch, width, length, seed=1, dtype=dtype)
    arguments = [u, 0.5 * delta.abs(), A, projection(2), projection(4)]
    options: dict[str, Any] = {"return_last_state": True}
    if extras:
        options |= {
            "D": normal(width, dtype=real),
            "z": normal(batch, width, length, seed=6, dtype=dtype),
            "delta_bias": 0.5 * normal(width, seed=7, dtype=real),
            "delta_softplus": True,
        }
    check(ours.selective_scan_fn(*arguments, **options), scan(*arguments, **options), dtype)
    if dtype == torch.float64 and form != "complex":
        check_gradients(
            lambda *leaves: ours.selective_scan_fn(*leaves, **options),
            lambda *leaves: scan(*leaves, **options),
            arguments,
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("extras", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("heads", "groups"), [(0, 0), (1, 1), (4, 1), (4, 2), (4, 4)])
def test_selective_state_update(
    heads: int, groups: int, tied: bool, extras: bool, indexed: bool, dtype: torch.dtype
) -> None:
    batch, width, states, rows = 2, 6, 5, 5
    real = torch.promote_types(dtype, torch.float32)
    inner = (heads, width) if heads else (width,)
    state = normal(rows if indexed else batch, *inner, states, dtype=dtype)
    x, dt = normal(batch, *inner, dtype=dtype), normal(batch, *inner, seed=1, dtype=dtype)
    A = -normal(*inner, states, seed=2, dtype=real).abs()
    bias, D = normal(*inner, seed=3, dtype=real), normal(*inner, seed=4, dtype=real)
    if tied and heads:
        dt, A = dt[..., :1].expand_as(dt), A[:, :1, :1].expand_as(A)
        bias, D = bias[..., :1].expand_as(bias), D[..., :1].expand_as(D)
    B, C = (normal(batch, *([groups] * bool(groups)), states, seed=s, dtype=dtype) for s in (5, 6))
    z = normal(batch, *inner, seed=7, dtype=dtype) if extras else None
    indices = torch.tensor([3, 1]) if indexed else None

    def flat(values: Tensor | None, start: int) -> Tensor | None:
        return values.flatten(start, start + 1) if heads and values is not None else values

    before = state.clone()
    picked = before[indices] if indexed else before
    h = wide(flat(picked, 1))
    step = F.softplus(wide(flat(dt, 1)) + wide(flat(bias, 0)))
    B_each, C_each = (
        wide(t if groups else t[:, None]).repeat_interleave((heads or 1) * width // (groups or 1), 1)
        for t in (B, C)
    )
    h = torch.exp(step[..., None] * wide(flat(A, 0))) * h + (step * wide(flat(x, 1)))[..., None] * B_each
    y = (C_each * h).sum(-1) + (wide(flat(D, 0)) * wide(flat(x, 1)) if extras else 0)
    y = (y * F.silu(wide(flat(z, 1))) if extras else y).reshape(x.shape)

    actual = ours.selective_state_update(
        state, x, dt, A, B, C, D if extras else None, z, bias, True, state_batch_indices=indices
    )
    check(actual, y, dtype)
    check(state[indices] if indexed else state, h.reshape(picked.shape), dtype)
    if indexed:
        others = [0, 2, 4]
        assert torch.equal(state[others], before[others])


# mamba_ssm: the gated norm


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("has_z", [False, True])
@pytest.mark.parametrize("group_size", [None, 4])
@pytest.mark.parametrize("norm_before_gate", [False, True])
def test_rmsnorm_fn(
    norm_before_gate: bool, group_size: int | None, has_z: bool, has_bias: bool, dtype: torch.dtype
) -> None:
    x, z = normal(2, 7, 16, dtype=dtype), normal(2, 7, 16, seed=1, dtype=dtype) if has_z else None
    weight, bias = normal(16, seed=2, dtype=torch.float32), normal(16, seed=3) if has_bias else None

    def reference(x: Tensor, weight: Tensor, bias: Tensor | None, z: Tensor | None) -> Tensor:
        gated = x * F.silu(z) if z is not None and not norm_before_gate else x
        parts = gated.reshape(2, 7, -1, group_size or 16)
        y = (parts / (parts.square().mean(-1, keepdim=True) + 1e-5).sqrt()).reshape(x.shape) * weight
        y = y if bias is None else y + bias
        return y * F.silu(z) if z is not None and norm_before_gate else y

    def actual(x: Tensor, weight: Tensor, bias: Tensor | None, z: Tensor | None) -> Tensor:
        return ours.rmsnorm_fn(
            x, weight, bias, z=z, eps=1e-5, group_size=group_size, norm_before_gate=norm_before_gate
        )

    inputs = (x, weight, bias, z)
    found = actual(*inputs)
    assert found.dtype == dtype
    check(found, reference(*map(wide, inputs)), dtype)
    if dtype == torch.float64:
        leaves = [wide(weight), *(t for t in (bias, z) if t is not None)]

        def with_leaves(function: Any) -> Any:
            def call(weight: Tensor, *others: Tensor) -> Tensor:
                given = iter(others)
                return function(x, weight, next(given) if has_bias else None, next(given) if has_z else None)

            return call

        check_gradients(with_leaves(actual), with_leaves(reference), leaves)


# mamba_ssm: SSD


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


SEQ_IDX = torch.tensor([[0] * 9 + [1] * 20 + [2] * 11, [3] * 2 + [4] * 38])


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


# causal-conv1d


def convolution(x, weight, bias=None, seq_idx=None, initial_states=None, activation=None):
    """y_t = Σ_k w_k x_{t−K+1+k} + b, over inputs of the same sequence."""
    x, weight, bias, initial_states = map(wide, (x, weight, bias, initial_states))
    taps, length = weight.shape[1], x.shape[-1]
    before = torch.zeros_like(x[..., :1]).repeat(1, 1, taps - 1) if initial_states is None else initial_states
    padded = torch.cat([before, x], -1)
    ys = []
    for t in range(length):
        window = padded[..., t : t + taps]
        if seq_idx is not None:
            places = torch.arange(t - taps + 1, t + 1)
            same = (places >= 0) & (seq_idx[:, places.clamp_min(0)] == seq_idx[:, t, None])
            window = window * same[:, None]
        ys.append((window * weight).sum(-1))
    y = torch.stack(ys, -1)
    y = y if bias is None else y + bias[:, None]
    y = y if activation is None else F.silu(y)
    y = y if seq_idx is None else torch.where(seq_idx[:, None] < 0, 0, y)
    return y, padded[..., padded.shape[-1] - taps + 1 :]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 2, 33])
@pytest.mark.parametrize("taps", [2, 4])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("activation", [None, "silu", "swish"])
@pytest.mark.parametrize("channel_last", [False, True])
def test_causal_conv1d_fn(
    channel_last: bool, activation: str | None, initial: bool, taps: int, length: int, dtype: torch.dtype
) -> None:
    x, width = normal(2, 6, length, dtype=dtype), 6
    x = x.transpose(1, 2).contiguous().transpose(1, 2) if channel_last else x
    weight, bias = normal(width, taps, dtype=torch.float32), normal(width, dtype=torch.float32)
    states = normal(2, width, taps - 1, seed=3, dtype=dtype) if initial else None
    expected = convolution(x, weight, bias, initial_states=states, activation=activation)
    options: dict[str, Any] = {"initial_states": states, "activation": activation}
    check(ours.causal_conv1d_fn(x, weight, bias, **options), expected[0], dtype)
    out = torch.empty(2, width, taps - 1, dtype=dtype)
    found = ours.causal_conv1d_fn(x, weight, bias, **options, return_final_states=True, final_states_out=out)
    check(found, expected, dtype)
    assert found[1] is out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "silu"])
def test_causal_conv1d_fn_of_packed_sequences(activation: str | None, dtype: torch.dtype) -> None:
    seq_idx = SEQ_IDX.clone().to(torch.int32)
    seq_idx[0, -3:] = -1
    x = normal(2, 6, 40, dtype=dtype)
    inputs = [x, normal(6, 4, dtype=torch.float32), normal(6, dtype=torch.float32)]
    found = ours.causal_conv1d_fn(*inputs, seq_idx=seq_idx, activation=activation)
    check(found, convolution(*inputs, seq_idx=seq_idx, activation=activation)[0], dtype)
    if dtype == torch.float64:
        check_gradients(
            lambda *leaves: ours.causal_conv1d_fn(*leaves, seq_idx=seq_idx, activation=activation),
            lambda *leaves: convolution(*leaves, seq_idx=seq_idx, activation=activation),
            list(map(wide, inputs)),
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0, 1, 4, 5])
@pytest.mark.parametrize("taps", [2, 4])
@pytest.mark.parametrize("longer", [0, 3])
@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("indexed", [False, True])
def test_causal_conv1d_update(
    indexed: bool, ring: bool, longer: int, taps: int, length: int, dtype: torch.dtype
) -> None:
    batch, width, size = 3, 6, taps - 1 + longer
    shape = (batch, width, length) if length else (batch, width)  # a single position has no dimension
    x, weight = normal(*shape, dtype=dtype), normal(width, taps, dtype=torch.float32)
    bias = normal(width, dtype=torch.float32)
    state = normal(5 if indexed else batch, width, size, seed=2, dtype=dtype)
    indices = torch.tensor([4, 0, 2], dtype=torch.int32) if indexed else None
    seen = torch.tensor([0, 5, 11], dtype=torch.int32) if ring else None
    picked = state.clone()[indices.long()] if indexed else state.clone()
    inputs = x if length else x[..., None]
    places = torch.arange(1 - taps, 0) + (seen[:, None] if ring else size)
    history = torch.stack(
        [row[:, place % size] for row, place in zip(picked, places.expand(batch, -1), strict=True)]
    )
    expected, _ = convolution(inputs, weight, bias, initial_states=history, activation="silu")
    after = picked.clone()
    for row in range(batch):
        for t in range(inputs.shape[-1]):
            if ring:
                after[row, :, (int(seen[row]) + t) % size] = inputs[row, :, t]
            else:
                after[row] = torch.cat([after[row, :, 1:], inputs[row, :, t : t + 1]], -1)

    found = ours.causal_conv1d_update(
        x, state, weight, bias, activation="silu", cache_seqlens=seen, conv_state_indices=indices
    )
    check(found, expected if length else expected[..., 0], dtype)
    assert torch.equal(state[indices.long()] if indexed else state, after)


# flash-linear-attention


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


@pytest.mark.parametrize("name", ["retention", "linear_attn", "gated_delta_rule"])
def test_packed_sequences(name: str) -> None:
    q, k, v = (t[:1] for t in fla_inputs(torch.float64))
    extra = [F.logsigmoid(normal(1, 21, 3, seed=7)), torch.sigmoid(normal(1, 21, 3, seed=8))]
    inputs = [
        F.elu(q) + 1,
        F.normalize(F.elu(k) + 1, dim=-1),
        v,
        *(extra if name == "gated_delta_rule" else []),
    ]
    function, offsets = getattr(ours, f"chunk_{name}"), torch.tensor([0, 6, 7, 21])
    o, states = function(*inputs, cu_seqlens=offsets, output_final_state=True)
    parts = [
        function(*(t[:, start:end] for t in inputs), output_final_state=True)
        for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]
    check(o, torch.cat([part for part, _ in parts], 1), torch.float64)
    expected = [after for _, after in parts]
    if name == "linear_attn":
        check(states, tuple(torch.cat(pair) for pair in zip(*expected, strict=True)), torch.float64)
    else:
        check(states, torch.cat(expected), torch.float64)


def test_what_cannot_be_meant_is_said() -> None:
    x, weight = normal(2, 6, 8), normal(6, 4)
    seq_idx, inputs = torch.zeros(2, 8, dtype=torch.int64), fla_inputs(torch.float64)
    for call, reason in [
        (lambda: ours.causal_conv1d_fn(x, weight, activation="gelu"), "'silu' or 'swish', not 'gelu'"),
        (lambda: ours.causal_conv1d_fn(x, weight, activation=True), "not True"),
        (
            lambda: ours.causal_conv1d_fn(x, weight, seq_idx=seq_idx[:, :7]),
            r"\(B, L\) = \(2, 8\), not \(2, 7\)",
        ),
        (lambda: ours.causal_conv1d_fn(x, weight, seq_idx=seq_idx.double()), "whole numbers"),
        (lambda: ours.causal_conv1d_fn(x, weight, seq_idx=seq_idx, return_final_states=True), "combined"),
        (lambda: ours.causal_conv1d_update(x[..., 0], x[..., :2], weight), "K - 1 = 3"),
        (lambda: ours.rmsnorm_fn(x, normal(8), None, group_size=3), "must divide D = 8, not 3"),
        (lambda: ours.fused_recurrent_retention(*inputs, reverse=True), "reverse is not supported"),
        (lambda: ours.fused_recurrent_gated_delta_rule(*inputs, gk=x), "decays of each channel"),
        (lambda: ours.chunk_gated_delta_rule(*inputs, x, x, use_gate_in_kernel=True), "needs A_log"),
        (lambda: ours.chunk_gated_delta_rule(*inputs, x, x, allow_neg_eigval=True), "needs use_beta_sigmoid"),
        (lambda: ours.chunk_gated_delta_rule(*fla_inputs(torch.float64, 4), x, x), "multiple of k's 3 heads"),
        (lambda: ours.chunk_linear_attn(*inputs, initial_state=(x, x), normalize=False), "one tensor"),
    ]:
        with pytest.raises(ValueError, match=reason):
            call()
