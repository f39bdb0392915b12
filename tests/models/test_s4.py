"""S4 and S4D against the textbook: dense matrices, powers one by one."""

import math

import numpy as np
import pytest
import torch

from seqsuite.models.initialization import hippo_legs
from seqsuite.models.mixers.s4 import S4
from seqsuite.models.mixers.s4d import S4D


def test_hippo_is_recovered_from_its_diagonal_plus_low_rank_form():
    """Same characteristic polynomial and same impulse response as the HiPPO-LegS matrix written out."""
    size = 8
    A, P, B = (values.numpy() for values in hippo_legs(size))
    full = np.diag(np.concatenate([A, A.conj()]))
    p, b = (np.concatenate([half, half.conj()])[:, None] for half in (P, B))
    diagonalised = full - p @ p.conj().T
    n = np.arange(size)
    scale = np.sqrt(2 * n + 1)
    legs = -np.tril(np.outer(scale, scale), -1) - np.diag(n + 1.0)
    np.testing.assert_allclose(np.poly(diagonalised), np.poly(legs), rtol=1e-9)
    # Moments b* Aᵏ b do not depend on the (unitary) basis.
    for k in range(size):
        ours = (b.conj().T @ np.linalg.matrix_power(diagonalised, k) @ b).item()
        written_out = scale @ np.linalg.matrix_power(legs, k) @ scale
        np.testing.assert_allclose(ours, written_out, rtol=1e-8)


@pytest.mark.parametrize("seqlen", [1, 2, 5, 32, 33])
def test_s4_kernel_is_that_of_the_dense_bilinear_system(seqlen):
    torch.manual_seed(1)
    layer = S4(3, d_state=6).double()
    with torch.no_grad():
        layer.P.add_(0.1 * torch.randn_like(layer.P))  # away from the initial structure, as after training
    kernel = layer.kernel(seqlen).detach().numpy()
    for channel in range(3):

        def both(pairs: torch.Tensor, channel: int = channel) -> np.ndarray:
            half = torch.view_as_complex(pairs.detach())[channel].numpy()
            return np.concatenate([half, half.conj()])

        A_half = torch.complex(-layer.A_real_log.exp(), layer.A_imag)[channel].detach().numpy()
        p, b, c = both(layer.P), both(layer.B), both(layer.C)
        A = np.diag(np.concatenate([A_half, A_half.conj()])) - np.outer(p, p.conj())
        half_dt = math.exp(layer.log_dt[channel].item()) / 2
        backward = np.linalg.inv(np.eye(6) - half_dt * A)
        A_bar, B_bar = backward @ (np.eye(6) + half_dt * A), 2 * half_dt * backward @ b
        expected = [(c @ np.linalg.matrix_power(A_bar, k) @ B_bar).real for k in range(seqlen)]
        np.testing.assert_allclose(kernel[channel], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("init", ["lin", "inv", "legs"])
def test_s4d_kernel_is_a_sum_of_exponentials(init):
    torch.manual_seed(2)
    layer = S4D(2, d_state=4, init=init).double()
    A = torch.complex(-layer.A_real_log.exp(), layer.A_imag).detach().numpy()
    C = torch.view_as_complex(layer.C.detach()).numpy()
    dt = layer.log_dt.exp().detach().numpy()[:, None]
    expected = [2 * (C * np.exp(dt * A * k) * (np.exp(dt * A) - 1) / A).sum(-1).real for k in range(20)]
    np.testing.assert_allclose(layer.kernel(20).detach().numpy(), np.stack(expected, axis=1), rtol=1e-10)


@pytest.mark.parametrize("init", ["real", "random", "half"])
def test_a_real_s4d_kernel_is_one_too(init):
    torch.manual_seed(2)
    layer = S4D(2, d_state=3, init=init).double()
    A, C = -layer.A_real_log.exp().detach().numpy(), layer.C.detach().numpy()
    dt = layer.log_dt.exp().detach().numpy()[:, None]
    expected = [(C * np.exp(dt * A * k) * (np.exp(dt * A) - 1) / A).sum(-1) for k in range(20)]
    np.testing.assert_allclose(layer.kernel(20).detach().numpy(), np.stack(expected, axis=1), rtol=1e-10)


def test_s4d_initial_frequencies_as_published():
    assert torch.allclose(S4D(1, d_state=8).A_imag[0], math.pi * torch.arange(4.0))
    n = torch.arange(4.0)
    assert torch.allclose(S4D(1, d_state=8, init="inv").A_imag[0], 8 / math.pi * (8 / (2 * n + 1) - 1))
    legs = S4D(1, d_state=8, init="legs")
    assert torch.allclose(-legs.A_real_log.exp(), torch.tensor(-0.5))
    assert torch.allclose(legs.A_imag[0].double(), hippo_legs(8)[0].imag)
    assert torch.allclose(-S4D(1, d_state=8, init="real").A_real_log.exp()[0], -torch.arange(1.0, 9))


@pytest.mark.parametrize("mixer", [S4, S4D])
def test_odd_state_sizes_are_refused(mixer):
    with pytest.raises(ValueError, match="must be even, got 5"):
        mixer(4, d_state=5)
