"""The variants of each operation that are compiled and reported."""

from collections.abc import Mapping

from seqsuite.kernels.ahead_of_time.report import Variant
from seqsuite.kernels.causal_conv1d.triton_report import VARIANTS as CAUSAL_CONV1D
from seqsuite.kernels.rms_norm.triton_report import VARIANTS as RMS_NORM
from seqsuite.kernels.selective_scan.triton_report import VARIANTS as SELECTIVE_SCAN

VARIANTS: dict[str, Mapping[str, Variant]] = {
    "selective_scan": SELECTIVE_SCAN,
    "causal_conv1d": CAUSAL_CONV1D,
    "rms_norm": RMS_NORM,
}
