"""Linear attention, retention and SSD against their papers' quadratic forms, written with NumPy loops."""

import numpy as np
import pytest
import torch

from seqsuite.models.mixers.gated_delta import GatedDelta
from seqsuite.models.mixers.linear_attention import LinearAttention
from seqsuite.models.mixers.retention import Retention
from seqsuite.models.mixers.ssd import SSD


def weights(layer: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in layer.named_parameters()}


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def test_linear_attention_is_normalised_kernel_attention():
    torch.manual_seed(0)
    layer = LinearAttention(12, n_heads=3, bias=True).double()
    x = torch.randn(2, 9, 12).double()
    w = weights(layer)
    query, key, value = np.split(x.numpy() @ w["qkv.weight"].T + w["qkv.bias"], 3, axis=-1)
    phi = lambda v: np.where(v > 0, v + 1, np.exp(v))  # noqa: E731  # elu + 1
    y = np.zeros((2, 9, 12))
    for head in (slice(0, 4), slice(4, 8), slice(8, 12)):
        scores = phi(query[..., head]) @ phi(key[..., head]).swapaxes(1, 2) * np.tri(9)
        y[..., head] = scores @ value[..., head] / scores.sum(-1, keepdims=True)
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), y @ w["out_proj.weight"].T + w["out_proj.bias"])


def test_retention_is_its_parallel_form():
    """(Q Kᵀ ⊙ D) V with complex turns and D_nm = γ^(n − m); group norm; gate (equations 5 to 8)."""
    torch.manual_seed(0)
    layer = Retention(8, n_heads=2, value_expand=3, rotary_base=100.0).double()
    x = torch.randn(2, 9, 8).double()
    w = weights(layer)
    query, key, value, gate = np.split(x.numpy() @ w["in_proj.weight"].T, [8, 16, 40], axis=-1)
    n = np.arange(9)
    theta = 100.0 ** (-np.arange(2) / 2)
    heads = []
    for h in range(2):
        q, k = (v[..., 4 * h : 4 * h + 2] + 1j * v[..., 4 * h + 2 : 4 * h + 4] for v in (query, key))
        turn = np.exp(1j * n[:, None] * theta)
        scores = np.einsum("bnp,bmp->bnm", q * turn, (k * turn).conj()).real / 2
        gamma = float(np.float32(np.log1p(-(2.0 ** (-5 - h)))))  # the layer keeps log γ in float32
        decay = np.tril(np.exp(gamma * (n[:, None] - n)))
        retained = (scores * decay) @ value[..., 12 * h : 12 * h + 12]
        centred = retained - retained.mean(-1, keepdims=True)
        heads.append(centred / np.sqrt(retained.var(-1, keepdims=True) + 1e-6))
    expected = silu(gate) * np.concatenate(heads, axis=-1) @ w["out_proj.weight"].T
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, rtol=1e-9)


def test_retention_decays_as_published():
    assert Retention(16, n_heads=4).log_gamma(torch.device("cpu")).exp().tolist() == pytest.approx(
        [31 / 32, 63 / 64, 127 / 128, 255 / 256]
    )


def test_ssd_layer_is_the_published_recurrence():
    torch.manual_seed(0)
    layer = SSD(12, d_state=5, head_dim=3, n_groups=2).double()
    x = torch.randn(2, 9, 12).double()
    w = weights(layer)
    B, C, dt = np.split(x.numpy() @ w["control_proj.weight"].T, [10, 20], axis=-1)
    delta, A = np.logaddexp(0, dt + w["dt_bias"]), -np.exp(w["A_log"])
    y = layer(x)[0].detach().numpy()
    state = np.zeros((2, 4, 3, 5))
    for t in range(9):
        for h in range(4):
            u, group = x.numpy()[:, t, 3 * h : 3 * h + 3], slice(5 * (h // 2), 5 * (h // 2) + 5)
            fed = delta[:, t, h, None, None] * u[:, :, None] * B[:, t, None, group]
            state[:, h] = np.exp(delta[:, t, h] * A[h])[:, None, None] * state[:, h] + fed
            expected = (state[:, h] * C[:, t, None, group]).sum(-1) + w["D"][h] * u
            np.testing.assert_allclose(y[:, t, 3 * h : 3 * h + 3], expected, rtol=1e-9, atol=1e-12)


def test_ssd_initial_values_as_published():
    torch.manual_seed(0)
    layer = SSD(8192)
    assert (layer.n_heads, layer.head_dim, layer.d_state) == (128, 64, 128)
    A, dt = layer.A_log.exp(), torch.nn.functional.softplus(layer.dt_bias)
    assert A.min() >= 1
    assert A.max() <= 16
    assert abs(A.mean().item() - 8.5) < 1.5
    assert dt.min() > 0.99e-3
    assert dt.max() < 1.01e-1


def test_gated_delta_layer_is_the_published_one():
    """Convolved, SiLU, norm 1; S ← α S (I − β k kᵀ) + β v kᵀ; RMSNorm of each head, gated."""
    torch.manual_seed(0)
    layer = GatedDelta(6, n_heads=2, value_expand=2, d_conv=3).double()
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 1.5)
    x = torch.randn(2, 7, 6).double()
    w = weights(layer)
    qkv, gate, raw, beta = np.split(x.numpy() @ w["in_proj.weight"].T, [24, 36, 38], axis=-1)
    padded = np.pad(qkv, [(0, 0), (2, 0), (0, 0)])
    qkv = silu(sum(w["conv_weight"][:, k] * padded[:, k : k + 7] for k in range(3)))
    alpha = np.exp(-np.exp(w["A_log"]) * np.logaddexp(0, raw + w["dt_bias"]))
    beta = 1 / (1 + np.exp(-beta))
    y, state = np.zeros((2, 7, 12)), np.zeros((2, 2, 6, 3))
    for b in range(2):
        for t in range(7):
            for h in range(2):
                q, k = (qkv[b, t, start + 3 * h : start + 3 * h + 3] for start in (0, 6))
                q, k = q / np.linalg.norm(q), k / np.linalg.norm(k)
                v = qkv[b, t, 12 + 6 * h : 18 + 6 * h]
                forget = alpha[b, t, h] * (np.eye(3) - beta[b, t, h] * np.outer(k, k))
                state[b, h] = state[b, h] @ forget + beta[b, t, h] * np.outer(v, k)
                out = state[b, h] @ q
                y[b, t, 6 * h : 6 * h + 6] = out / np.sqrt((out**2).mean() + 1e-5) * w["norm.weight"]
    expected = (y * silu(gate)) @ w["out_proj.weight"].T
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearAttention(12, n_heads=5), "linear attention needs d_model divisible by n_heads"),
        (lambda: GatedDelta(12, n_heads=5), "gated_delta needs d_model divisible by n_heads"),
        (lambda: Retention(12, n_heads=4), "retention needs d_model divisible by n_heads into even parts"),
        (lambda: SSD(12, head_dim=5), "ssd needs d_model divisible by head_dim, got 12 by 5"),
        (lambda: SSD(12, head_dim=3, n_groups=3), "ssd needs its 4 heads divisible by n_groups, got 3"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
