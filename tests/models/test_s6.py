"""The selective layer against the equations, and its published initialisation."""

import numpy as np
import torch
import torch.nn.functional as F

from seqsuite.models.mixers.s6 import S6


def test_forward_is_the_published_recurrence():
    """Equation 2a of the Mamba paper with Δ, B and C projected from the input, written with NumPy loops."""
    torch.manual_seed(0)
    layer = S6(6, d_state=3, dt_rank=2).double()
    x, gate = torch.randn(2, 9, 6).double(), torch.randn(2, 9, 6).double()
    y = layer(x, gate=gate)[0].detach().numpy()

    projected = (x @ layer.x_proj.weight.T).detach().numpy()
    dt = np.logaddexp(
        0, projected[..., :2] @ layer.dt_proj.weight.T.detach().numpy() + layer.dt_proj.bias.detach().numpy()
    )
    B, C = projected[..., 2:5], projected[..., 5:]
    A, u = -np.exp(layer.A_log.detach().numpy()), x.numpy()
    h = np.zeros((2, 6, 3))
    for t in range(9):
        h = np.exp(dt[:, t, :, None] * A) * h + dt[:, t, :, None] * B[:, t, None] * u[:, t, :, None]
        expected = ((h * C[:, t, None]).sum(-1) + u[:, t]) * F.silu(gate[:, t]).numpy()
        np.testing.assert_allclose(y[:, t], expected, rtol=1e-10)


def test_initial_values_as_published():
    torch.manual_seed(0)
    layer = S6(512)
    dt = F.softplus(layer.dt_proj.bias)
    assert layer.dt_rank == 16  # 256 / 16: inside a Mamba block of twice its residual width
    assert dt.min() > 0.99e-3
    assert dt.max() < 1.01e-1
    assert torch.allclose(dt.log().mean(), torch.tensor(1e-2).log(), atol=0.2)  # log-uniform
    assert torch.allclose(-layer.A_log.exp(), -torch.arange(1.0, 17).expand(512, 16))
    assert torch.equal(layer.D.data, torch.ones(512))
