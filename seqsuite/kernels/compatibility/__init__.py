"""Our operations behind the names, argument orders and layouts that existing code calls.

A line such as ``from mamba_ssm.ops.selective_scan_interface import selective_scan_fn`` becomes
``from seqsuite.kernels.compatibility import selective_scan_fn``. These functions only rearrange: what they
compute is in the packages beside this one, differentiable and on every backend.
docs/coming-from.md says what is where.
"""

from seqsuite.kernels.compatibility.causal_conv1d import causal_conv1d_fn, causal_conv1d_update
from seqsuite.kernels.compatibility.fla import (
    chunk_gated_delta_rule,
    chunk_linear_attn,
    chunk_retention,
    fused_recurrent_gated_delta_rule,
    fused_recurrent_linear_attn,
    fused_recurrent_retention,
)
from seqsuite.kernels.compatibility.mamba_ssm import rmsnorm_fn, selective_scan_fn, selective_state_update
from seqsuite.kernels.compatibility.mamba_ssm_2 import mamba_chunk_scan_combined

__all__ = [
    "causal_conv1d_fn",
    "causal_conv1d_update",
    "chunk_gated_delta_rule",
    "chunk_linear_attn",
    "chunk_retention",
    "fused_recurrent_gated_delta_rule",
    "fused_recurrent_linear_attn",
    "fused_recurrent_retention",
    "mamba_chunk_scan_combined",
    "rmsnorm_fn",
    "selective_scan_fn",
    "selective_state_update",
]
