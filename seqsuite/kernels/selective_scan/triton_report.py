"""What compilers make of the Triton scan, and the bounds on its time that follow: no GPU is used or timed.

``python -m seqsuite.kernels.selective_scan.triton_report`` records what the operators would launch (on
tensors without memory), compiles it ahead of time, and prints a table; ``--json`` prints all of it.

The bound on a kernel's time is the greatest of four, each as if nothing else took any: instructions issued,
those of the unit for exponentials, those of the unit for memory and shuffles, and bytes to and from memory.
Latencies are not in it.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from seqsuite.kernels.ahead_of_time.compilation import TARGETS, Binary, Target, compile_for
from seqsuite.kernels.ahead_of_time.listing import Loop
from seqsuite.kernels.selective_scan.inputs import Inputs
from seqsuite.kernels.selective_scan.triton_launch import Runtime, run_backward, run_forward

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
class Variant:
    """Sizes and options of a scan."""

    batch: int = 1
    seqlen: int = 524_288
    d_model: int = 1024
    d_state: int = 16
    groups: int = 1
    dtype: torch.dtype = torch.bfloat16
    options: bool = True
    states: bool = False
    offsets: tuple[int, ...] | None = None

    def inputs(self) -> Inputs:
        """Return inputs on the device "meta"; only offsets have values."""

        state_dtype = torch.float64 if self.dtype == torch.float64 else torch.float32

        def empty(*shape: int, dtype: torch.dtype = state_dtype) -> Tensor:
            return torch.empty(shape, dtype=dtype, device="meta")

        rows = (self.batch, self.seqlen)
        channels = empty(*rows, self.d_model, dtype=self.dtype)
        projection = empty(*rows, self.groups, self.d_state)
        sequences = self.batch if self.offsets is None else len(self.offsets) - 1
        return Inputs(
            u=channels,
            delta=channels,
            A=empty(self.d_model, self.d_state),
            B=projection,
            C=projection,
            D=empty(self.d_model) if self.options else None,
            z=channels if self.options else None,
            delta_bias=empty(self.d_model) if self.options else None,
            delta_softplus=self.options,
            initial_state=empty(sequences, self.d_model, self.d_state) if self.states else None,
            cu_seqlens=None if self.offsets is None else torch.tensor(self.offsets),
        )


REFERENCE = Variant()
VARIANTS = {
    "long": REFERENCE,
    "batch": Variant(batch=128, seqlen=4096, dtype=torch.float32, states=True),
    "plain": Variant(d_model=1000, groups=2, dtype=torch.float16, options=False),
}


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel, and whether it belongs to the forward or the backward."""

    direction: str
    kernel: Any
    programs: int
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The kernel's name."""
        return str(self.kernel.__name__)

    def moved(self) -> int:
        """Return the bytes to and from memory, each number once; a program's scratch stays in caches."""
        tensors = (value for name, value in self.arguments.items() if name != "scratch")
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))

    def trips(self) -> Trips:
        """Return how often each loop of the kernel runs in a program, where tiles fit the sizes."""
        arguments = self.arguments
        if self.name == "combine_kernel":
            offsets = arguments["segment_offsets"]
            return [(arguments["state"].shape[0] / (len(offsets) - 1), [])]
        rows = arguments["delta"].shape[0] * arguments["delta"].shape[1] / len(arguments["segments"])
        steps, chunk = arguments["STEPS"], arguments.get("CHUNK", 1)
        if self.name == "output_kernel":
            return [(rows / chunk, [(chunk / steps, []), (0, [])])]
        if self.name != "gradient_kernel":
            return [(rows / steps, []), (0, [])]
        by_state: Trips = [(arguments["N"], [])]
        in_chunk: Trips = [
            (chunk / steps, [(steps / arguments["READ"], [])]),
            (0, []),
            (0, by_state),
            (chunk / steps, by_state),
        ]
        return [(arguments["items"] / self.programs, [(rows / chunk, in_chunk)])]


def launches(variant: Variant, target: Target) -> list[Launch]:
    """Return what the two operators launch."""
    recorded: list[Launch] = []
    inputs = variant.inputs()

    def runtime(direction: str) -> Runtime:
        def record(kernel: Any, programs: int, arguments: dict[str, Any]) -> None:
            recorded.append(Launch(direction, kernel, programs, arguments))

        return Runtime(target.warp_size, Machine.multiprocessors, record)

    y, final_state, checkpoints = run_forward(inputs, save=True, runtime=runtime("forward"))
    dfinal_state = final_state if variant.states else None
    run_backward(y, dfinal_state, checkpoints, inputs, runtime=runtime("backward"))
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
    counts = executed(binary.code, launch.trips())
    in_all = Counter({kind: number * launch.programs for kind, number in counts.items()})
    elements = variant.batch * variant.seqlen * variant.d_model * variant.d_state
    facts["per_element"] = round(in_all["all"] * target.warp_size / elements, 2)
    if target.name == "sm_90":
        bounds = Machine().bounds(in_all, launch.moved())
        facts |= {"bound_ms": round(max(bounds.values()), 2), "bound_by": max(bounds, key=bounds.__getitem__)}
        if launch.name == "gradient_kernel":
            facts["sums_ms"] = round(_sums_ms(launch), 2)
    return facts


def _sums_ms(launch: Launch) -> float:
    """Return the least milliseconds to sum the parts of gradients that the gradient kernel leaves."""
    parts = [launch.arguments[name] for name in ("dA", "dB", "dC", "dD", "ddelta_bias")]
    moved: int = sum(part.nbytes for part in parts if part is not None)
    return moved / Machine.bandwidth * 1e3


def report_variant(variant: Variant, target: Target) -> dict[str, dict[str, Any]]:
    """Compile what a variant launches, and return by direction and kernel what is known of each launch."""
    facts = {}
    for launch in launches(variant, target):
        binary = compile_for(target, launch.kernel, launch.arguments)
        facts[f"{launch.direction} {launch.name}"] = report(launch, binary, target, variant)
    return facts


def bounds_ms(facts: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return the bounds on the forward and the backward: those on launches, and on sums over parts."""
    sums: Counter[str] = Counter()
    for name, known in facts.items():
        sums[name.split()[0]] += known.get("bound_ms", 0.0) + known.get("sums_ms", 0.0)
    return dict(sums)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", nargs="*", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--variant", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args()
    table = {
        f"{target} {variant}": report_variant(VARIANTS[variant], TARGETS[target])
        for target in options.target
        for variant in options.variant
    }
    if options.json:
        print(json.dumps({"triton": triton.__version__, **table}, indent=1))
    else:
        _print_table(table)


def _print_table(table: dict[str, dict[str, dict[str, Any]]]) -> None:
    print("| GPU, variant | launch | registers | spills | shared | instructions an element | bound, ms |")
    print("|---|---|---|---|---|---|---|")
    for heading, rows in table.items():
        for launch, facts in rows.items():
            bound = f"{facts['bound_ms']} ({facts['bound_by']})" if "bound_ms" in facts else "–"
            columns = [heading, launch, *(str(facts[name]) for name in ("registers", "spills", "shared"))]
            print(f"| {' | '.join([*columns, str(facts.get('per_element', '–')), bound])} |")
        for direction, bound_ms in bounds_ms(rows).items():
            if bound_ms:
                print(f"| {heading} | **{direction}, all** | | | | | **{bound_ms:.1f}** |")


if __name__ == "__main__":
    main()
