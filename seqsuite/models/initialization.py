"""Initial values that several layers share."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn


@torch.no_grad()
def assign(parameter: nn.Parameter, values: Tensor) -> None:
    """Set a parameter in place, in its own dtype and on its own device.

    A parameter that FSDP2 has sharded takes its part of the first rank's ``values``.
    """
    if hasattr(parameter, "device_mesh"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(parameter, DTensor)
        local = values.to(parameter.dtype)
        parameter.copy_(distribute_tensor(local, parameter.device_mesh, parameter.placements))
    else:
        parameter.copy_(values)


def log_uniform(size: int, low: float, high: float) -> Tensor:
    """Return ``size`` values drawn log-uniformly from [low, high]."""
    return torch.exp(torch.empty(size).uniform_(math.log(low), math.log(high)))


def inverse_softplus(y: Tensor) -> Tensor:
    """Return x with softplus(x) = y, for y > 0."""
    return y + torch.log(-torch.expm1(-y))


_LARGEST_HIPPO = 2048

RealInit = Literal["real", "random", "half"]
ComplexInit = Literal["lin", "inv", "legs"]


def is_complex(init: RealInit | ComplexInit) -> bool:
    """Return whether :func:`diagonal_A` makes a complex A of ``init``."""
    return init in get_args(ComplexInit)


def diagonal_A(init: RealInit | ComplexInit, d_model: int, d_state: int) -> tuple[Tensor, Tensor | None]:
    """Return the initial values of a diagonal A.

    Args:
        init: ``"real"`` is −(n + 1) (S4D-Real), ``"random"`` −exp(N(0, 1)) and ``"half"`` −1/2, all real;
            ``"lin"`` is −1/2 + iπn (S4D-Lin), ``"inv"`` −1/2 + iN/π (N/(2n + 1) − 1) (S4D-Inv), and
            ``"legs"`` the eigenvalues of the normal part of HiPPO-LegS (S4D-LegS); arXiv 2206.11893, section
            4, and the Mamba paper's Table 8.
        d_model: Channels D.
        d_state: Real state size N; a complex A has N/2 values, one of each conjugate pair.

    Returns:
        log(−Re A), and Im A or ``None`` where A is real: float32 (D, N) or (D, N/2).

    Raises:
        ValueError: if A is complex and N is odd.
    """
    if is_complex(init):
        imaginary = _frequencies(init, d_state).repeat(d_model, 1)
        return torch.full_like(imaginary, 0.5).log(), imaginary
    if init == "random":
        return torch.randn(d_model, d_state), None
    values = (
        torch.arange(1, d_state + 1, dtype=torch.float32) if init == "real" else torch.full((d_state,), 0.5)
    )
    return values.log().repeat(d_model, 1), None


def hippo_legs(d_state: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return HiPPO-LegS in diagonal plus low-rank form (S4 paper, Theorem 1 and appendix C.1).

    Args:
        d_state: Real state size N, even.

    Returns:
        Λ, P and B, complex128 (N/2,), one of each conjugate pair: the matrix is Λ − P P* in a unitary basis.

    Raises:
        ValueError: if N is odd, or so large that its eigenvalues would take minutes.
    """
    _check_even(d_state)
    if d_state > _LARGEST_HIPPO:
        raise ValueError(f"HiPPO-LegS is computed for at most {_LARGEST_HIPPO} states, not {d_state}")
    n = torch.arange(d_state, dtype=torch.float64, device="cpu")  # not on "meta" when counting parameters
    scale = torch.sqrt(2 * n + 1)
    hippo = -torch.tril(torch.outer(scale, scale), diagonal=-1) - torch.diag(n + 1)
    low_rank = torch.sqrt(n + 0.5)
    normal = hippo + torch.outer(low_rank, low_rank)  # −1/2 I plus a skew-symmetric matrix
    imaginary, basis = torch.linalg.eigh(-1j * (normal - normal.T) / 2)
    upper = slice(d_state // 2, None)  # eigenvalues ascend, so these are the positive half
    to_basis = basis[:, upper].mH
    A = torch.complex(torch.full_like(imaginary[upper], -0.5), imaginary[upper])
    return A, to_basis @ low_rank.to(basis.dtype), to_basis @ scale.to(basis.dtype)


def _frequencies(init: str, d_state: int) -> Tensor:
    """Return Im A of one channel, (N/2,)."""
    _check_even(d_state)
    if init == "legs":
        return hippo_legs(d_state)[0].imag.float().to(torch.get_default_device())
    n = torch.arange(d_state // 2, dtype=torch.float32)
    return math.pi * n if init == "lin" else d_state / math.pi * (d_state / (2 * n + 1) - 1)


def _check_even(d_state: int) -> None:
    if d_state % 2:
        raise ValueError(f"d_state counts conjugate pairs twice, so it must be even, got {d_state}")
