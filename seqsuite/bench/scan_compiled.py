"""The selective scan as ``torch.compile`` likes it best, of all the forms that were tried.

Tried on a CPU and no faster than the chunk loop kept here: chunks of 4, 16 and 32 steps (the longer ones are
slower with a backward, and take minutes to compile); the state as (B, N, D) with channels innermost; every
state a tensor of its own, which leaves elementwise operators only; and all chunks at once in two passes,
with the states between them combined in a loop. PyTorch's operator ``scan`` does not compile for this.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.bench.peers import Backend, Function, compile_for_each_shape

CHUNK = 8
# One kernel for a whole chunk: by default Inductor stops at 64 operators, and the state goes to memory.
OPTIONS = {"max_fusion_size": 100_000}


def make_chunk_loop(backend: Backend = "inductor") -> Function:
    """Return a Python loop over chunks of steps, each chunk unrolled and compiled to one kernel.

    Args:
        backend: torch.compile's; ``"eager"`` runs the same formula without a compiler.
    """
    chunk = compile_for_each_shape(_chunk, backend, OPTIONS if backend == "inductor" else None)

    def scan(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
    ) -> Tensor:
        h = u.new_zeros(u.shape[0], *A.shape, dtype=A.dtype)
        outputs = []
        for pieces in zip(*(torch.split(t, CHUNK, dim=1) for t in (u, delta, B, C, z)), strict=True):
            y, h = chunk(h, *pieces, A, D, delta_bias)
            outputs.append(y)
        return torch.cat(outputs, dim=1)

    return scan


def _chunk(
    h: Tensor,
    u: Tensor,
    delta: Tensor,
    B: Tensor,
    C: Tensor,
    z: Tensor,
    A: Tensor,
    D: Tensor,
    delta_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """Advance a state (B, D, N) by the steps of a chunk; return its outputs and the next state."""
    delta = F.softplus(delta + delta_bias)
    outputs = []
    for t in range(u.shape[1]):
        decay = torch.exp(delta[:, t, :, None] * A)
        h = decay * h + (delta[:, t] * u[:, t])[..., None] * B[:, t, None]
        outputs.append((h * C[:, t, None]).sum(-1))
    return (torch.stack(outputs, dim=1) + D * u) * F.silu(z), h


def make_prefix_scan(backend: Backend = "inductor") -> Function:
    """Return the whole scan as one graph around PyTorch's ``associative_scan``."""
    return compile_for_each_shape(_associative_scan, backend)


def _associative_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, delta_bias: Tensor
) -> Tensor:
    from torch._higher_order_ops.associative_scan import associative_scan

    def compose(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return first[0] * second[0], second[0] * first[1] + second[1]

    delta = F.softplus(delta + delta_bias)
    maps = (torch.exp(delta[..., None] * A), (delta * u)[..., None] * B[:, :, None])
    mode = "pointwise" if u.device.type == "cuda" else "generic"
    _, h = associative_scan(compose, maps, dim=1, combine_mode=mode)
    y: Tensor = (h * C[:, :, None]).sum(-1) + D * u
    return y * F.silu(z)
