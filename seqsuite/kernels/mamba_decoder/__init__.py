"""Token after token through a whole Mamba language model, each in one call of a kernel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from seqsuite.kernels.backend import CPU, REFERENCE, choose_backend
from seqsuite.kernels.mamba_inner import ScanWeights

if TYPE_CHECKING:
    from seqsuite.kernels.mamba_decoder.cpu import MambaDecoder

BACKENDS = {backend.name: backend for backend in (CPU, REFERENCE)}

# Products a token, of all sequences together, up to which the kernel is the faster way: each sequence reads
# all weights by itself and in one thread, while PyTorch's matrix products read them once for all.
MAX_PRODUCTS = 1 << 25


class Norm(NamedTuple):
    """A root mean square norm: weight (M,) and epsilon."""

    weight: Tensor
    eps: float


class BlockWeights(NamedTuple):
    """The parameters of a Mamba block of width M, D inside.

    Attributes:
        norm: norm of the block's input.
        in_proj, in_bias: (2 D, M) and (2 D,), to inputs and gates.
        conv_weight, conv_bias: (D, K) and (D,).
        scan: the scan's parameters.
        out_proj, out_bias: (M, D) and (M,).
    """

    norm: Norm
    in_proj: Tensor
    in_bias: Tensor | None
    conv_weight: Tensor
    conv_bias: Tensor | None
    scan: ScanWeights
    out_proj: Tensor
    out_bias: Tensor | None

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """M, D, N, the rank of Δ's projection, and K."""
        (d_inner, d_state), (_, rank) = self.scan.A.shape, self.scan.dt_proj.shape
        return self.in_proj.shape[1], d_inner, d_state, rank, self.conv_weight.shape[1]

    def tensors(self) -> list[Tensor]:
        """Return all parameters that are given."""
        others = (self.in_proj, self.in_bias, self.conv_weight, self.conv_bias, self.out_proj, self.out_bias)
        return [tensor for tensor in (self.norm.weight, *others, *self.scan) if tensor is not None]


class ModelWeights(NamedTuple):
    """The parameters of a language model of Mamba blocks.

    Attributes:
        embedding: (V, M).
        blocks: the blocks' parameters, at least one's.
        norm: norm before the head.
        head: (V, M).
    """

    embedding: Tensor
    blocks: Sequence[BlockWeights]
    norm: Norm
    head: Tensor

    def tensors(self) -> list[Tensor]:
        """Return all parameters that are given."""
        own = [self.embedding, self.norm.weight, self.head]
        return own + [tensor for block in self.blocks for tensor in block.tensors()]


class BlockState(NamedTuple):
    """What a block remembers: its convolution's last inputs (B, K - 1, D) and the scan's states (B, D, N)."""

    conv: Tensor
    ssm: Tensor


def mamba_decoder(weights: ModelWeights, states: Sequence[BlockState]) -> "MambaDecoder | None":
    """Return a decoder that goes on from ``states``, or ``None`` where there is none or it would not pay.

    There is one for models in float32 or float64 on the CPU, whose blocks all have the same sizes, and it
    pays while the weights are few and the sequences too. SEQSUITE_BACKEND=reference rules it out.

    Raises:
        ValueError: SEQSUITE_BACKEND asks for something that does not exist or cannot run.
    """
    tensors = weights.tensors()
    dtype, device, batch_size = weights.head.dtype, weights.head.device, states[0].conv.shape[0]
    fits = (
        device.type == "cpu"
        and dtype in (torch.float32, torch.float64)
        and all(tensor.dtype == dtype and tensor.device == device for tensor in tensors)
        and len({block.sizes for block in weights.blocks}) == 1
        and batch_size * sum(tensor.numel() for tensor in tensors) <= MAX_PRODUCTS
    )
    if not fits or choose_backend("mamba_decoder", BACKENDS, device.type, None) == "reference":
        return None
    from seqsuite.kernels.mamba_decoder.cpu import MambaDecoder

    return MambaDecoder(weights, states)
