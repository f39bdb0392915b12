"""The selective layer against the equations, and its published initialisation."""

import numpy as np
import pytest
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


SWITCHES = [
    {"dt_rank": None},
    {"selective_B": False},
    {"selective_C": False},
    {"dt_rank": None, "selective_B": False, "selective_C": False},
    {"A_init": "random"},
    {"A_init": "half", "d_state": 1},
    {"A_init": "lin"},
    {"A_init": "lin", "dt_rank": None, "selective_B": False, "selective_C": False},
    {"A_init": "lin", "selective_C": False, "dt_rank": 3},
]


def complex_(values: np.ndarray) -> np.ndarray:
    """Pairs written out as (real parts, imaginary parts) along the last dimension."""
    real, imaginary = np.split(values, 2, axis=-1)
    return real + 1j * imaginary


@pytest.mark.parametrize("options", SWITCHES, ids=str)
def test_every_switch_is_the_recurrence_with_that_part_constant(options):
    torch.manual_seed(0)
    layer = S6(5, **{"d_state": 4, **options}).double()
    with torch.no_grad():  # away from the initial values, as after training
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    values = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    is_complex = options.get("A_init") == "lin"
    A = -np.exp(values["A_real_log"]) + 1j * values["A_imag"] if is_complex else -np.exp(values["A_log"])
    x = torch.randn(2, 7, 5).double()
    y, after = layer(x, layer.initial_state(2, dtype=x.dtype))
    h, rank, N = np.zeros((2, *A.shape), A.dtype), layer.dt_rank, layer.d_state
    for t, u in enumerate(x.numpy().swapaxes(0, 1)):
        projected = u @ values["x_proj.weight"].T if "x_proj.weight" in values else np.zeros((2, 0))
        raw, projected = projected[:, :rank], projected[:, rank:]
        if rank:
            dt = np.logaddexp(0, raw @ values["dt_proj.weight"].T + values["dt_proj.bias"])
        else:
            dt = np.logaddexp(0, np.broadcast_to(values["dt_bias"], u.shape))
        both = {}
        for name in "BC":
            if name in values:
                constant = values[name]
                both[name] = constant[..., 0] + 1j * constant[..., 1] if is_complex else constant
            else:
                selective, projected = projected[:, :N], projected[:, N:]
                both[name] = (complex_(selective) if is_complex else selective)[:, None]
        h = np.exp(dt[..., None] * A) * h + dt[..., None] * both["B"] * u[..., None]
        out = (both["C"] * h).sum(-1)
        expected = (2 * out.real if is_complex else out) + values["D"] * u
        np.testing.assert_allclose(y[:, t].detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(after["ssm"].detach().numpy(), h, rtol=1e-9, atol=1e-12)


def test_initial_A_of_each_kind():
    torch.manual_seed(0)
    assert torch.allclose(-S6(3, 5, A_init="half").A_log.exp(), torch.tensor(-0.5))
    drawn = S6(64, 64, A_init="random").A_log
    assert abs(drawn.mean().item()) < 0.05
    assert abs(drawn.std().item() - 1) < 0.05
    lin = S6(3, 8, A_init="lin")
    assert torch.allclose(-lin.A_real_log.exp(), torch.tensor(-0.5))
    assert torch.allclose(lin.A_imag, np.pi * torch.arange(4.0).expand(3, 4))


def test_a_complex_A_needs_an_even_state():
    with pytest.raises(ValueError, match="must be even, got 5"):
        S6(4, d_state=5, A_init="lin")
