"""Hyena's implicit filter and the shift SSM against their papers' equations."""

import numpy as np
import torch

from seqsuite.models.mixers.hyena import Hyena
from seqsuite.models.mixers.shift import ShiftSSM


def test_hyena_is_a_convolution_with_the_networks_filter():
    """h(t) = exp(−α t) · MLP([t, cos 2πkt, sin 2πkt]) with sines, one position at a time; then the sum."""
    torch.manual_seed(0)
    layer = Hyena(3, 6, filter_width=5, filter_layers=2, bands=2, frequency=1.5).double()
    w = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    alpha = np.linspace(np.log(100) / 1.5, np.log(100) / 0.3, 3)
    h = []
    for position in range(9):  # beyond the length, too
        t = position / 6
        z = np.array(
            [t, *np.cos(2 * np.pi * np.array([1, 2]) * t), *np.sin(2 * np.pi * np.array([1, 2]) * t)]
        )
        for layer_index in range(2):
            z = w[f"hidden.{layer_index}.weight"] @ z + w[f"hidden.{layer_index}.bias"]
            z = np.sin(w["frequencies"][layer_index] * z)
        h.append(np.exp(-alpha * t) * (w["to_filter.weight"] @ z))
    x = torch.randn(2, 9, 3).double()
    expected = x.numpy() * w["D"]
    for t in range(9):
        for k in range(t + 1):
            expected[:, t] += h[k] * x.numpy()[:, t - k]
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, rtol=1e-6, atol=1e-8)


def test_hyena_decays_to_one_percent_where_it_says():
    layer = Hyena(2, seqlen=100)
    falls = torch.exp(-layer.decays(layer.D) * torch.tensor([1.5, 0.3]))
    torch.testing.assert_close(falls, torch.tensor([0.01, 0.01]))


def test_shift_is_a_state_space_model_with_a_shift_matrix():
    """x_t = A x_{t−1} + B u_t with ones below the diagonal of A and B the first unit vector; y = C x."""
    torch.manual_seed(0)
    layer = ShiftSSM(3, d_state=4).double()
    C = layer.weight.detach().numpy()[:, ::-1]  # the last tap of the filter meets the present input
    A, B = np.eye(4, k=-1), np.eye(4)[0]
    u = torch.randn(2, 9, 3).double()
    x = np.zeros((2, 3, 4))
    y = layer(u)[0].detach().numpy()
    for t in range(9):
        x = x @ A.T + u[:, t, :, None].numpy() * B
        np.testing.assert_allclose(y[:, t], (x * C).sum(-1), atol=1e-12)
