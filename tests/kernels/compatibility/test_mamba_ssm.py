"""The functions of mamba_ssm against the equations that they compute, position by position in float64.

The cases are those of its own tests: the same switches, layouts and dtypes, at smaller sizes.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.kernels import compatibility as ours

from .comparison import DTYPES, check, check_gradients, check_refusals, normal, wide


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


def test_what_cannot_be_meant_is_said() -> None:
    """In the function's own names and layout."""
    x, A, B = normal(2, 6, 8), -normal(6, 4).abs(), normal(2, 4, 8)
    state, heads = normal(2, 6, 4), normal(2, 3, 2, 4)
    check_refusals(
        [
            (lambda: ours.selective_scan_fn(x.mT, x, A, B, B), r"selective_scan_fn: delta .*= \(2, 8, 6\)"),
            (lambda: ours.selective_scan_fn(x, x, A, B, B, z=x.mT), r"z .*\(B, D, L\) = \(2, 6, 8\)"),
            (lambda: ours.selective_scan_fn(x, x, A, B, B[:, :3]), r"C .*\(B, N, L\) = \(2, 4, 8\)"),
            (
                lambda: ours.selective_state_update(
                    state, x[..., 0], x[..., 0], A[:, :3], B[..., 0], B[..., 0]
                ),
                r"selective_state_update: A .*\(D, N\) = \(6, 4\)",
            ),
            (
                lambda: ours.selective_state_update(heads, x[..., 0], x[..., 0], A, B[..., 0], B[..., 0]),
                r"x must have shape \(B, H, D\), not \(2, 6\)",
            ),
            (lambda: ours.rmsnorm_fn(x, normal(8), None, group_size=3), "must divide D = 8, not 3"),
            (lambda: ours.rmsnorm_fn(x, normal(4), None), r"rmsnorm_fn: x .*\(2, 6, 4\), not \(2, 6, 8\)"),
            (lambda: ours.rmsnorm_fn(x, normal(8), None, z=x[..., :1]), r"z must have shape of x"),
        ]
    )
