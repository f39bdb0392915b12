"""The variants of each operation that are compiled and reported."""

from collections.abc import Mapping

from seqsuite.kernels.ahead_of_time.report import Variant
from seqsuite.kernels.causal_conv1d.triton_report import VARIANTS as CAUSAL_CONV1D
from seqsuite.kernels.selective_scan.triton_report import VARIANTS as SELECTIVE_SCAN

VARIANTS: dict[str, Mapping[str, Variant]] = {
    "selective_scan": SELECTIVE_SCAN,
    "causal_conv1d": CAUSAL_CONV1D,
}
