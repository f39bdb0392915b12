"""The floor of the scan on this machine: how fast it could be if nothing but its arithmetic took time.

The model counts the slots of the unit that multiplies and adds. A vector of states advances by 9 of them
forward: Δ·A, five in the polynomial of exp2, Δu·B, the state and the output; by 17 in the backward, which
recomputes the states first. Rounding and scaling in exp2 go through other units. Softplus and the gate come
on top, once a channel and step. The speeds are measured by kernels that do only that, in registers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from seqsuite.bench.peers import BACKWARD, Shape, Work
from seqsuite.bench.timing import time_once
from seqsuite.kernels.llvm.builder import Array, Kernel, Variable
from seqsuite.kernels.llvm.functions import exp2, exp_minus_abs, fma, sigmoid, softplus
from seqsuite.kernels.llvm.jit import compile_kernel
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.llvm.threads import launch

FORWARD_SLOTS, BACKWARD_SLOTS = 9, 17
CHAINS = 12  # independent vectors, so that no instruction waits for another's result
SAMPLE_S = 0.02  # long beside the start of a thread
SAMPLES = 5

Body = Callable[[Kernel, Array, list[Variable]], None]


@dataclass(frozen=True)
class Speeds:
    """What the machine does at best, with some number of threads.

    Attributes:
        lanes: float32 numbers in a vector.
        fma: vector multiply-adds a second.
        exp2: vectors of exp2 a second.
        gates: vectors of softplus and gate a second, as in the forward.
        gate_gradients: the same with their derivatives, as in the backward.
    """

    lanes: int
    fma: float
    exp2: float
    gates: float
    gate_gradients: float

    def floor_s(self, shape: Shape, work: Work) -> float:
        """Return the least seconds for a scan, forward or backward."""
        batch, seqlen, d_model, d_state = shape
        channels = batch * seqlen * -(-d_model // self.lanes)
        slots, gates = FORWARD_SLOTS, self.gates
        if work == BACKWARD:
            slots, gates = BACKWARD_SLOTS, self.gate_gradients
        return channels * (d_state * slots / self.fma + 1 / gates)


def measure_speeds(threads: int) -> Speeds:
    """Measure this machine's speeds, each the best of several samples."""
    return Speeds(
        lanes=host_target().vector_bytes // 4,
        fma=_rate("fma", _multiply_add, CHAINS, threads),
        exp2=_rate("exp2", _exponentials, CHAINS, threads),
        gates=_rate("gates", _gates, CHAINS // 2, threads),
        gate_gradients=_rate("gate_gradients", _gate_gradients, CHAINS // 2, threads),
    )


def _rate(name: str, body: Body, vectors_a_round: int, threads: int) -> float:
    """Return how many vectors ``body`` treats a second, on all threads together."""
    kernel = Kernel(f"floor_{name}", "float32", host_target(), ("tasks", "rounds", "data"))
    with kernel.tasks(kernel.parameter("tasks")) as task:
        data = kernel.array("data")[task * (2 * CHAINS * kernel.lanes)]
        chains = [Variable(kernel, data.load(i * kernel.lanes)) for i in range(CHAINS)]
        with kernel.loop(0, kernel.parameter("rounds")):
            body(kernel, data, chains)
        for i, chain in enumerate(chains):
            data.store(chain.value, (CHAINS + i) * kernel.lanes)
    compiled = compile_kernel(kernel)
    numbers = torch.rand(threads, 2, CHAINS, kernel.lanes) - 0.5

    def seconds(rounds: int, threads: int) -> float:
        arguments = [threads, rounds, numbers.data_ptr()]
        return time_once(lambda: launch(compiled.address, arguments, threads), "cpu")

    rounds = 1000
    while (estimate := seconds(rounds, 1)) < SAMPLE_S / 2:
        rounds *= max(2, min(10, round(SAMPLE_S / estimate)))
    best = min(seconds(rounds, threads) for _ in range(SAMPLES))
    return threads * rounds * vectors_a_round / best


def _multiply_add(kernel: Kernel, data: Array, chains: list[Variable]) -> None:
    factor, term = data.load(0), data.load(kernel.lanes)
    for chain in chains:
        chain.value = fma(chain.value, factor, term)


def _exponentials(kernel: Kernel, data: Array, chains: list[Variable]) -> None:
    for chain in chains:
        chain.value = exp2(chain.value - 1.0)


def _gates(kernel: Kernel, data: Array, chains: list[Variable]) -> None:
    for raw, z in zip(chains[0::2], chains[1::2], strict=True):
        delta, gate = raw.value, z.value
        # Both stay near a fixed point: numbers that grew would make exp(-|z|) denormal, which is slow.
        raw.value = softplus(delta, exp_minus_abs(delta)) - 1.0
        z.value = 1.0 - gate * sigmoid(gate, exp_minus_abs(gate))


def _gate_gradients(kernel: Kernel, data: Array, chains: list[Variable]) -> None:
    for raw, z in zip(chains[0::2], chains[1::2], strict=True):
        delta, gate = raw.value, z.value
        e, s = exp_minus_abs(delta), sigmoid(gate, exp_minus_abs(gate))
        silu = gate * s
        raw.value = softplus(delta, e) * sigmoid(delta, e) - 1.0
        z.value = fma(silu, fma(silu, 1.0 - s, s), -1.0)
