"""``seqsuite bench conv``: the short causal convolution with SiLU beside its peers."""

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.operations import Bench, Say, each_setting, times_section
from seqsuite.bench.peers import BOTH, FORWARD, Shape, Work
from seqsuite.bench.report import Report
from seqsuite.bench.settings import Settings

SHAPES = [Shape(8, 1024, 512, 4), Shape(1, 16384, 512, 4), Shape(64, 256, 128, 4), Shape(2, 128, 128, 4)]
QUICK_SHAPES = [Shape(2, 64, 32, 4)]
WORKS: list[Work] = [FORWARD, BOTH]


def run(settings: Settings, say: Say) -> Report:
    """Check, time and compare.

    Raises:
        UserError: a peer was asked for that is not known, or cannot run here.
    """
    bench = Bench("conv", settings, say)
    sections = [bench.check_peers()]
    shapes = [Shape(*shape) for shape in settings.shapes] or (QUICK_SHAPES if settings.quick else SHAPES)
    for number, (allocator, threads) in enumerate(each_setting(settings)):
        for shape in shapes:
            for work in WORKS:
                memory = number == 0 and not settings.quick
                sections.append(times_section(bench, shape, work, allocator, threads, memory=memory))
    return Report(settings.command, describe_machine(settings.device, settings.threads), sections)
