"""Peak memory of forward and backward, each measured in a process of its own."""

import json
import subprocess
import sys

import torch

from seqsuite.allocator import process_bytes, reset_peak, return_freed_memory
from seqsuite.bench.peers import BOTH, DTYPES, Function, Peer, Shape, make_inputs, peers_of, runner


def peak_bytes(benchmark: str, peer: Peer, shape: Shape, *, device: str, dtype: str) -> int | None:
    """Return what forward and backward need at most beside their inputs, gradients included.

    On a CPU a fresh process runs the peer once to warm up, gives freed memory back, resets the kernel's
    record of its resident set and compares the record after a second run with the size before it.

    Args:
        benchmark: "scan", "conv" or "ssd", whose peer it is.
        peer: what to run.
        shape: at which sizes.
        device: on a GPU, PyTorch's own record is read in this process.
        dtype: of sequences.

    Returns:
        Bytes, or ``None`` where the system keeps no such record or the process fails.
    """
    if device == "cuda":
        return _peak_on_gpu(peer, peer.make(), shape, dtype)
    request = json.dumps([benchmark, peer.name, shape, dtype, torch.get_num_threads()])
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, request], capture_output=True, text=True, check=True
        )
    except subprocess.CalledProcessError:
        return None
    peak: int | None = json.loads(done.stdout.splitlines()[-1])
    return peak


def _peak_on_gpu(peer: Peer, function: Function, shape: Shape, dtype: str) -> int:
    inputs = make_inputs(peer, shape, device="cuda", dtype=DTYPES[dtype], grad=True)
    run = runner(function, inputs, BOTH)
    run()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return torch.cuda.max_memory_allocated() - before


def _peak_here(peer: Peer, shape: Shape, dtype: str) -> int | None:
    """Measure in this process, which must be a fresh one."""
    function = peer.make()
    # A compiled peer compiles at this very shape; to others any shape loads what they need.
    warm_shape = shape if peer.compiled else peer.operation.check_shape
    runner(function, make_inputs(peer, warm_shape, dtype=DTYPES[dtype], grad=True), BOTH)()
    run = runner(function, make_inputs(peer, shape, dtype=DTYPES[dtype], grad=True), BOTH)
    return_freed_memory()
    before = process_bytes("VmRSS")
    if before is None or not reset_peak():
        return None
    run()
    peak = process_bytes("VmHWM")
    return None if peak is None else max(0, peak - before)


def _main() -> None:
    benchmark, name, shape, dtype, threads = json.loads(sys.argv[1])
    torch.set_num_threads(threads)
    (peer,) = (peer for peer in peers_of(benchmark) if peer.name == name)
    print(json.dumps(_peak_here(peer, Shape(*shape), dtype)))


if __name__ == "__main__":
    _main()
