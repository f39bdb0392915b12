"""``seqsuite bench ssd``: Mamba-2's scan beside its peers."""

from seqsuite.bench.operations import Say, compare
from seqsuite.bench.peers import Shape
from seqsuite.bench.settings import Settings
from seqsuite.bench.ssd_peers import HEAD_WIDTH
from seqsuite.errors import UserError
from seqsuite.report import Report

SHAPES = [Shape(8, 1024, 512, 64), Shape(8, 1024, 512, 128), Shape(1, 16384, 512, 128)]
QUICK_SHAPES = [Shape(2, 64, 64, 16)]


def run(settings: Settings, say: Say) -> Report:
    """Check, time and compare.

    Raises:
        UserError: a peer was asked for that is not known, or cannot run here, or heads do not fill a width.
    """
    shapes = [Shape(*shape) for shape in settings.shapes] or (QUICK_SHAPES if settings.quick else SHAPES)
    for shape in shapes:
        if shape.d_model % HEAD_WIDTH:
            raise UserError(f"--shape for ssd needs D in heads of {HEAD_WIDTH}, and has D = {shape.d_model}.")
    return compare("ssd", shapes, settings, say)
