"""The costly operations: each with a reference in plain PyTorch and the fastest form the machine can run."""

from seqsuite.kernels.parallel_scan import parallel_scan
from seqsuite.kernels.selective_scan import selective_scan
from seqsuite.kernels.selective_scan.compatibility import selective_scan_fn
from seqsuite.kernels.selective_scan.state_update import selective_state_update

__all__ = ["parallel_scan", "selective_scan", "selective_scan_fn", "selective_state_update"]
