"""The description of the machine, its speeds, and the memory of a peer in a process of its own."""

import pytest
import torch

from seqsuite.bench import machine
from seqsuite.bench.bandwidth import bytes_moved, copy_bandwidth
from seqsuite.bench.conv_peers import CONV_PEERS
from seqsuite.bench.floor import Speeds, measure_speeds
from seqsuite.bench.memory import peak_bytes
from seqsuite.bench.peers import BACKWARD, FORWARD, Shape
from seqsuite.devices import usable_cores
from seqsuite.kernels.backend import CPU


def test_the_machine_is_described() -> None:
    described = machine.describe_machine("cpu", (1, 2))
    assert described["PyTorch"] == torch.__version__
    assert described["threads"] == "1, 2"
    assert int(described["cores"]) == usable_cores()


def test_the_floor_is_what_the_model_says() -> None:
    speeds = Speeds(lanes=16, fma=1e9, exp2=1e9, gates=1e8, gate_gradients=5e7)
    vectors = 8 * 1024 * 32
    forward = vectors * (16 * 9 / 1e9 + 1 / 1e8)
    assert speeds.floor_s(Shape(8, 1024, 512, 16), FORWARD) == pytest.approx(forward)
    backward = vectors * (16 * 17 / 1e9 + 1 / 5e7)
    assert speeds.floor_s(Shape(8, 1024, 512, 16), BACKWARD) == pytest.approx(backward)
    assert bytes_moved(Shape(1, 10, 100, 16), FORWARD, torch.float32) == 4 * 10 * (4 * 100 + 2 * 16)
    assert bytes_moved(Shape(1, 10, 100, 16), BACKWARD, torch.bfloat16) == 2 * 10 * (7 * 100 + 4 * 16)
    assert copy_bandwidth("cpu") > 0


@pytest.mark.skipif(CPU.unavailable_because() is not None, reason="LLVM cannot compile here")
def test_speeds_are_measured() -> None:
    speeds = measure_speeds(1)
    assert speeds.lanes in (4, 8, 16)
    assert min(speeds.fma, speeds.exp2, speeds.gates, speeds.gate_gradients) > 0
    assert speeds.floor_s(Shape(1, 64, 32, 4), FORWARD) < speeds.floor_s(Shape(1, 64, 32, 8), FORWARD)


def test_peak_memory_counts_what_is_alive_at_once() -> None:
    peer = CONV_PEERS[0]
    batch_bytes = 4 * 4 * 4096 * 256  # one (B, L, D)
    peak = peak_bytes("conv", peer, Shape(4, 4096, 256, 4), device="cpu", dtype="float32")
    if peak is None:
        pytest.skip("this system keeps no record of the largest resident set")
    # The output, the gradient of the input and something between them; not dozens.
    assert 2 * batch_bytes < peak < 12 * batch_bytes
