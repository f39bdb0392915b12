"""The costly operations: each with a reference in plain PyTorch and the fastest form the machine can run."""

from seqsuite.kernels.backend import BackendStatus
from seqsuite.kernels.causal_conv1d import BACKENDS as CAUSAL_CONV1D_BACKENDS
from seqsuite.kernels.causal_conv1d import causal_conv1d
from seqsuite.kernels.compatibility import selective_scan_fn
from seqsuite.kernels.gated_delta_rule import gated_delta_rule, gated_delta_update
from seqsuite.kernels.impulse_response import impulse_response
from seqsuite.kernels.long_conv import long_conv
from seqsuite.kernels.mamba_decoder import BACKENDS as MAMBA_DECODER_BACKENDS
from seqsuite.kernels.mamba_decoder import mamba_decoder
from seqsuite.kernels.mamba_inner import BACKENDS as MAMBA_INNER_BACKENDS
from seqsuite.kernels.mamba_inner import InnerStates, ScanWeights, mamba_inner
from seqsuite.kernels.parallel_scan import parallel_scan
from seqsuite.kernels.precision import full_precision
from seqsuite.kernels.rms_norm import BACKENDS as RMS_NORM_BACKENDS
from seqsuite.kernels.rms_norm import rms_norm
from seqsuite.kernels.selective_scan import selective_scan
from seqsuite.kernels.selective_scan.dispatch import BACKENDS as SELECTIVE_SCAN_BACKENDS
from seqsuite.kernels.selective_scan.state_update import selective_state_update
from seqsuite.kernels.ssd import BACKENDS as SSD_BACKENDS
from seqsuite.kernels.ssd import ssd, ssd_state_update

__all__ = [
    "BackendStatus",
    "InnerStates",
    "ScanWeights",
    "backends",
    "causal_conv1d",
    "full_precision",
    "gated_delta_rule",
    "gated_delta_update",
    "impulse_response",
    "long_conv",
    "mamba_decoder",
    "mamba_inner",
    "parallel_scan",
    "rms_norm",
    "selective_scan",
    "selective_scan_fn",
    "selective_state_update",
    "ssd",
    "ssd_state_update",
]


def backends() -> dict[str, list[BackendStatus]]:
    """Return for each kernel that has several backends what they are, the fastest first.

    A kernel uses the first that is available, unless the call or the environment variable SEQSUITE_BACKEND
    asks for another. This tries to compile an empty kernel, which takes milliseconds.
    """
    tables = {
        "selective_scan": SELECTIVE_SCAN_BACKENDS,
        "causal_conv1d": CAUSAL_CONV1D_BACKENDS,
        "mamba_inner": MAMBA_INNER_BACKENDS,
        "mamba_decoder": MAMBA_DECODER_BACKENDS,
        "rms_norm": RMS_NORM_BACKENDS,
        "ssd": SSD_BACKENDS,
    }
    return {kernel: [backend.status() for backend in table.values()] for kernel, table in tables.items()}
