"""The peers of the selective scan: the same function computed otherwise, and other ways to mix a sequence.

All compute softplus, bias, skip and gate too. Each is written from the equations of the Mamba paper
(https://arxiv.org/abs/2312.00752, equation 2a and Algorithm 2), or calls the library that it is named after.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.bench.peers import OURS, Function, Inputs, Operation, Peer, Shape
from seqsuite.bench.scan_compiled import make_chunk_loop, make_prefix_scan
from seqsuite.kernels import long_conv, parallel_scan, selective_scan
from seqsuite.models.mixers.s4d import S4D

HEAD_WIDTH = 64


def scan_inputs(shape: Shape, generator: torch.Generator) -> Inputs:
    """Return the scan's arguments, with A and step sizes as Mamba's initialisation has them."""
    B, L, D, N = shape

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    return {
        "u": normal(B, L, D),
        "delta": normal(B, L, D) / 2,
        "A": -torch.arange(1, N + 1, dtype=torch.float64).repeat(D, 1),
        "B": normal(B, L, N),
        "C": normal(B, L, N),
        "D": normal(D),
        "z": normal(B, L, D),
        "delta_bias": normal(D) / 2 - 4,  # softplus gives about 0.02, in the middle of 0.001 … 0.1
    }


def _ours(backend: str | None) -> Function:
    def scan(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
    ) -> Tensor:
        return selective_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus=True, backend=backend)

    return scan


def _prefix_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
) -> Tensor:
    delta = F.softplus(delta + delta_bias)
    h = parallel_scan(torch.exp(delta[..., None] * A), (delta * u)[..., None] * B[:, :, None], dim=1)
    return ((h @ C[..., None].to(h.dtype)).squeeze(-1) + D * u) * F.silu(z)


def _eager_loop(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
) -> Tensor:
    """As careful as a loop of PyTorch operators can be.

    Sequences are unbound once, so that the backward writes each gradient once; a step keeps to its own
    (B, N, D), which fits the cache, with channels innermost; everything else is done for all steps at once.
    """
    delta = F.softplus(delta + delta_bias)
    rates = A.t().contiguous()
    h = u.new_zeros(u.shape[0], *rates.shape, dtype=rates.dtype)
    outputs = []
    steps = zip(*(t.unbind(1) for t in (delta, delta * u, B, C)), strict=True)
    for delta_t, delta_u_t, B_t, C_t in steps:
        decay = torch.exp(delta_t[:, None] * rates)
        h = torch.addcmul(delta_u_t[:, None] * B_t[..., None], decay, h)
        outputs.append(torch.einsum("bnd,bn->bd", h, C_t.to(h.dtype)))
    return (torch.stack(outputs, dim=1) + D * u) * F.silu(z)


def _official_formula(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
) -> Tensor:
    """The way of the official repository's reference: discretise all steps by einsum, then loop.

    Each step takes slices of tensors (B, D, L, N); the backward of a slice is a tensor of the whole length,
    so that its time grows with L².
    """
    delta = F.softplus(delta.float() + delta_bias[:, None])
    wide_u, wide_B, wide_C = u.float(), B.float(), C.float()
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    inputs = torch.einsum("bdl,bnl,bdl->bdln", delta, wide_B, wide_u)
    h = torch.zeros_like(decay[:, :, 0])
    outputs = []
    for t in range(u.shape[2]):
        h = decay[:, :, t] * h + inputs[:, :, t]
        outputs.append(torch.einsum("bdn,bn->bd", h, wide_C[:, :, t]))
    y = torch.stack(outputs, dim=2) + wide_u * D[:, None]
    return (y * F.silu(z.float())).to(u.dtype)


def _mambapy() -> Function:
    from mambapy.pscan import pscan

    def scan(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
    ) -> Tensor:
        delta = F.softplus(delta + delta_bias)
        decay = torch.exp(delta.unsqueeze(-1) * A)
        h = pscan(decay, delta.unsqueeze(-1) * B.unsqueeze(2) * u.unsqueeze(-1))
        y: Tensor = (h @ C.unsqueeze(-1).to(h.dtype)).squeeze(3) + D * u
        return y * F.silu(z)

    return scan


def _mamba_ssm() -> Function:
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    def scan(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
    ) -> Tensor:
        y: Tensor = selective_scan_fn(u, delta, A, B, C, D, z, delta_bias, delta_softplus=True)
        return y

    return scan


def _transformers() -> Function:
    from transformers.models.mamba.modeling_mamba import mamba_selective_scan
    from transformers.utils import logging

    logging.set_verbosity_error()

    def scan(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
    ) -> Tensor:
        y: Tensor = mamba_selective_scan(
            u, delta, A, B, C, D, z=z, delta_bias=delta_bias, delta_softplus=True, use_mambapy=False
        )
        return y

    return scan


SCAN = Operation(
    name="selective scan",
    inputs=scan_inputs,
    reference=_ours("reference"),
    check_shape=Shape(2, 64, 32, 4),
    sequences=("u", "delta", "B", "C", "z"),
)


def attention_inputs(shape: Shape, generator: torch.Generator) -> Inputs:
    """Return queries, keys and values (B, H, L, D / H), heads as wide as usual."""
    B, L, D, _ = shape
    heads = max(1, D // HEAD_WIDTH)
    size = (B, heads, L, D // heads)
    return {
        name: torch.randn(size, generator=generator, dtype=torch.float64)
        for name in ("query", "key", "value")
    }


def _explicit_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    L, width = query.shape[-2:]
    scores = query @ key.transpose(-1, -2) / width**0.5
    later = torch.ones(L, L, dtype=torch.bool, device=query.device).triu(1)
    return torch.softmax(scores.masked_fill(later, float("-inf")), dim=-1) @ value


def _sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


ATTENTION = Operation(
    name="causal attention of the same width",
    inputs=attention_inputs,
    reference=_explicit_attention,
    check_shape=Shape(2, 33, 128, 4),
    sequences=("query", "key", "value"),
)


def convolution_inputs(shape: Shape, generator: torch.Generator) -> Inputs:
    """Return a sequence (B, L, D) and a filter (D, L) as long, that decays."""
    B, L, D, _ = shape
    u = torch.randn(B, L, D, generator=generator, dtype=torch.float64)
    kernel = torch.randn(D, L, generator=generator, dtype=torch.float64)
    return {"u": u, "kernel": kernel * torch.exp(-torch.arange(L) / 16)}


def _explicit_convolution(u: Tensor, kernel: Tensor) -> Tensor:
    L = u.shape[1]
    lag = torch.arange(L)[:, None] - torch.arange(L)
    taps = torch.where(lag >= 0, kernel[:, lag.clamp_min(0)], 0.0)
    return torch.einsum("dts,bsd->btd", taps, u)


LONG_CONVOLUTION = Operation(
    name="convolution with a given filter of length L",
    inputs=convolution_inputs,
    reference=_explicit_convolution,
    check_shape=Shape(2, 33, 16, 4),
    sequences=("u",),
)


def s4d_inputs(shape: Shape, generator: torch.Generator) -> Inputs:
    """Return a sequence (B, L, D) and S4D's parameters, by their names in the module."""
    B, L, D, N = shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        parameters = dict(S4D(D, N).named_parameters())
    u = torch.randn(B, L, D, generator=generator, dtype=torch.float64)
    return {"u": u, **{name: value.detach() for name, value in parameters.items()}}


def _s4d() -> Function:
    modules: dict[tuple[int, int], S4D] = {}

    def convolve(u: Tensor, **parameters: Tensor) -> Tensor:
        D, half, _ = parameters["C"].shape
        module = modules.setdefault((D, half), S4D(D, 2 * half))
        y: Tensor = torch.func.functional_call(module, parameters, (u,))[0]
        return y

    return convolve


def _s4d_recurrence(u: Tensor, **parameters: Tensor) -> Tensor:
    D, half, _ = parameters["C"].shape
    return _StepByStep(S4D(D, 2 * half)).run(u, parameters)


class _StepByStep(torch.nn.Module):
    """S4D's recurrent form, one position after the other."""

    def __init__(self, mixer: S4D) -> None:
        super().__init__()
        self.mixer = mixer

    def run(self, u: Tensor, parameters: Inputs) -> Tensor:
        named = {f"mixer.{name}": value for name, value in parameters.items()}
        y: Tensor = torch.func.functional_call(self, named, (u,))
        return y

    def forward(self, u: Tensor) -> Tensor:
        state = self.mixer.initial_state(u.shape[0], dtype=u.dtype)
        outputs = []
        for u_t in u.unbind(1):
            y_t, state = self.mixer.step(u_t, state)
            outputs.append(y_t)
        return torch.stack(outputs, dim=1)


S4D_LAYER = Operation(
    name="S4D with as many states, its filter made anew each call",
    inputs=s4d_inputs,
    reference=_s4d_recurrence,
    check_shape=Shape(2, 33, 16, 4),
    sequences=("u",),
)


SCAN_PEERS = [
    Peer(OURS, "the fastest backend for this device", SCAN, lambda: _ours(None)),
    Peer(
        "reference",
        "seqsuite's reference, step by step in PyTorch",
        SCAN,
        lambda: _ours("reference"),
        states=6,
    ),
    Peer("eager-loop", "a careful loop of PyTorch operators", SCAN, lambda: _eager_loop, states=6),
    Peer("prefix-scan", "Blelloch's scan in PyTorch", SCAN, lambda: _prefix_scan, states=16),
    Peer(
        "official-formula",
        "the official reference's formula",
        SCAN,
        lambda: _official_formula,
        channels_first=True,
        states=8,
    ),
    Peer(
        "mamba-ssm",
        "the official CUDA kernel",
        SCAN,
        _mamba_ssm,
        packages=("mamba_ssm",),
        channels_first=True,
        gpu_only=True,
    ),
    Peer("mambapy", "mambapy's parallel scan", SCAN, _mambapy, packages=("mambapy",), states=10),
    Peer(
        "transformers",
        "transformers' MambaMixer without CUDA kernels",
        SCAN,
        _transformers,
        packages=("transformers",),
        channels_first=True,
        states=8,
    ),
    Peer(
        "compiled-chunks",
        "torch.compile: a loop over chunks, unrolled inside",
        SCAN,
        make_chunk_loop,
        compiled=True,
        states=1,
    ),
    Peer(
        "compiled-prefix-scan",
        "torch.compile: associative_scan",
        SCAN,
        make_prefix_scan,
        compiled=True,
        states=9,
    ),
    Peer("sdpa", "scaled_dot_product_attention, causal", ATTENTION, lambda: _sdpa),
    Peer("fft-conv", "long convolution by FFT", LONG_CONVOLUTION, lambda: long_conv),
    Peer("s4d", "S4D: filter, then FFT", S4D_LAYER, _s4d),
]
