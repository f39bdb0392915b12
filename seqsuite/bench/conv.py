"""``seqsuite bench conv``: the short causal convolution with SiLU beside its peers."""

from seqsuite.bench.operations import Say, compare
from seqsuite.bench.peers import Shape
from seqsuite.bench.settings import Settings
from seqsuite.report import Report

SHAPES = [Shape(8, 1024, 512, 4), Shape(1, 16384, 512, 4), Shape(64, 256, 128, 4), Shape(2, 128, 128, 4)]
QUICK_SHAPES = [Shape(2, 64, 32, 4)]


def run(settings: Settings, say: Say) -> Report:
    """Check, time and compare.

    Raises:
        UserError: a peer was asked for that is not known, or cannot run here.
    """
    shapes = [Shape(*shape) for shape in settings.shapes] or (QUICK_SHAPES if settings.quick else SHAPES)
    return compare("conv", shapes, settings, say)
