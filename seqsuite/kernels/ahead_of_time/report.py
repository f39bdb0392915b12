"""What compilers make of Triton kernels, and the bounds on their time that follow: no GPU is used or timed.

An operation says by its variants what its operators would launch (on tensors without memory); this compiles
it ahead of time. ``python -m seqsuite.kernels.ahead_of_time`` prints what comes out.

The bound on a kernel's time is the greatest of four, each as if nothing else took any: instructions issued,
those of the unit for exponentials, those of the unit for memory and shuffles, and bytes to and from memory.
Latencies are not in it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from torch import Tensor

from seqsuite.kernels.ahead_of_time.compilation import Binary, Target, compile_for
from seqsuite.kernels.ahead_of_time.listing import Loop
from seqsuite.kernels.gpu.launch import Runtime

# How often each loop in a loop runs, and the loops in it.
Trips = list[tuple[float, "Trips"]]


@dataclass(frozen=True)
class Machine:
    """An H100 SXM, from NVIDIA's white paper on the architecture; ``bandwidth`` is about 0.9 of what it says.

    Attributes:
        multiprocessors: their number.
        clock: cycles a second.
        issued, special, memory: instructions of a warp that a multiprocessor takes a cycle.
        bandwidth: bytes a second.
    """

    multiprocessors: int = 132
    clock: float = 1.755e9
    issued: float = 4
    special: float = 0.5
    memory: float = 1
    bandwidth: float = 3.0e12

    def bounds(self, executed: Counter[str], moved: int) -> dict[str, float]:
        """Return the least milliseconds for instructions of warps by kind, and for bytes."""
        rates = {"issued": self.issued, "special": self.special, "memory": self.memory}
        counts = {"issued": executed["all"], "special": executed["special"], "memory": executed["memory"]}
        cycles = self.multiprocessors * self.clock / 1e3
        times = {unit: counts[unit] / (rate * cycles) for unit, rate in rates.items()}
        return times | {"bandwidth": moved / self.bandwidth * 1e3}


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel, and whether it belongs to the forward or the backward."""

    direction: str
    kernel: Any
    programs: int
    arguments: dict[str, Any]
    warps: int

    @property
    def name(self) -> str:
        """The kernel's name."""
        return str(self.kernel.__name__)

    def moved(self) -> int:
        """Return the bytes to and from memory, each number once; a program's scratch stays in caches."""
        tensors = (value for name, value in self.arguments.items() if name != "scratch")
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


class Variant(Protocol):
    """Sizes and options of an operation."""

    @property
    def elements(self) -> int:
        """Of what the report counts instructions."""

    def run(self, runtime: Callable[[str], Runtime]) -> None:
        """Call the operation's forward and backward, each on the runtime of its direction."""

    def trips(self, launch: Launch) -> Trips:
        """Return how often each loop of the kernel runs in a program, where tiles fit the sizes."""


def launches(variant: Variant, target: Target) -> list[Launch]:
    """Return what the operators of a variant launch."""
    recorded: list[Launch] = []

    def runtime(direction: str) -> Runtime:
        def record(kernel: Any, programs: int, arguments: dict[str, Any], warps: int) -> None:
            recorded.append(Launch(direction, kernel, programs, arguments, warps))

        return Runtime(target.architecture, target.warp_size, Machine.multiprocessors, record)

    variant.run(runtime)
    return recorded


def executed(loop: Loop, trips: Trips) -> Counter[str]:
    """Return the instructions by kind that a warp executes in a loop, or in the whole kernel, once through.

    Raises:
        ValueError: the loops are not those of the source, because the compiler has changed them.
    """
    if len(loop.inner) != len(trips):
        raise ValueError(f"the listing has {len(loop.inner)} loops where the kernel has {len(trips)}")
    counts = Counter(loop.own)
    for inner, (times, inner_trips) in zip(loop.inner, trips, strict=True):
        for kind, number in executed(inner, inner_trips).items():
            counts[kind] += times * number  # type: ignore[assignment]  # a mean may be a fraction
    return counts


def report(launch: Launch, binary: Binary, target: Target, variant: Variant) -> dict[str, Any]:
    """Return what is known of a launch: resources; for NVIDIA's also instructions an element, and bounds."""
    total = binary.code.total()
    facts: dict[str, Any] = {key: value for key, value in asdict(binary).items() if key != "code"}
    facts |= {"atomics": total["atomic"], "instructions": total["all"]}
    if (
        target.vendor != "nvidia"
    ):  # LLVM orders the blocks of AMD's code freely: its loops are no ranges of it
        return facts
    counts = executed(binary.code, variant.trips(launch))
    in_all = Counter({kind: number * launch.programs * launch.warps for kind, number in counts.items()})
    facts["per_element"] = round(in_all["all"] * target.warp_size / variant.elements, 2)
    if target.name == "sm_90":
        bounds = Machine().bounds(in_all, launch.moved())
        facts |= {"bound_ms": round(max(bounds.values()), 2), "bound_by": max(bounds, key=bounds.__getitem__)}
    return facts


def report_variant(variant: Variant, target: Target) -> dict[str, dict[str, Any]]:
    """Compile what a variant launches, and return by direction and kernel what is known of each launch."""
    facts = {}
    for launch in launches(variant, target):
        binary = compile_for(target, launch.kernel, launch.arguments, launch.warps)
        facts[f"{launch.direction} {launch.name}"] = report(launch, binary, target, variant)
    return facts


def bounds_ms(facts: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return the bounds on the forward and the backward: the sums of those on their launches."""
    sums: Counter[str] = Counter()
    for name, known in facts.items():
        sums[name.split()[0]] += known.get("bound_ms", 0.0)
    return dict(sums)
