"""Token after token through a whole Mamba or Mamba-2 language model, each in one call of a kernel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from seqsuite.kernels.backend import CPU, REFERENCE, choose_backend
from seqsuite.kernels.mamba_decoder.weights import BlockState, ModelWeights

if TYPE_CHECKING:
    from seqsuite.kernels.mamba_decoder.cpu import MambaDecoder

BACKENDS = {backend.name: backend for backend in (CPU, REFERENCE)}

# Products a token, of all sequences together, up to which the kernel is the faster way: each sequence reads
# all weights by itself and in one thread, while PyTorch's matrix products read them once for all.
MAX_PRODUCTS = 1 << 25


def mamba_decoder(weights: ModelWeights, states: Sequence[BlockState]) -> "MambaDecoder | None":
    """Return a decoder that goes on from ``states``, or ``None`` where there is none or it would not pay.

    There is one for models in float32 or float64 on the CPU, whose blocks are all of one kind and have the
    same sizes, and it pays while the weights are few and the sequences too. SEQSUITE_BACKEND=reference rules
    it out.

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
