"""The three ways to a scan against length, on this machine, in a second or two: for the inspection page."""

from typing import Any

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.peers import FORWARD, OURS, Shape, make_inputs, peers_of, runner
from seqsuite.bench.timing import interleave, warm_up

WAYS = {"eager-loop": "loop, in PyTorch", "prefix-scan": "tree, in PyTorch", OURS: "tiled, fused kernel"}
"""The peers of ``seqsuite bench scan`` that go each way, and what a reader is told they are."""

LENGTHS = (64, 256, 1024, 4096)
_SHAPE = Shape(1, 0, 64, 16)
_REPEATS = 5
_BUDGET_S = 0.3


def time_ways(lengths: tuple[int, ...] = LENGTHS) -> dict[str, Any]:
    """Time the forward pass of each way at each length, on the CPU, in turn.

    Returns:
        ``machine`` and ``shape``, in words, and ``rows``, each with ``way``, ``seqlen`` and ``seconds``, the
        fastest of a few repeats, since other work may disturb them.
    """
    peers = {peer.name: peer for peer in peers_of("scan") if peer.name in WAYS}
    functions = {name: peer.make() for name, peer in peers.items()}
    rows = []
    for seqlen in lengths:
        shape = _SHAPE._replace(seqlen=seqlen)
        runs = {
            name: runner(functions[name], make_inputs(peers[name], shape, grad=False), FORWARD)
            for name in WAYS
        }
        estimates = {name: warm_up(run, "cpu") for name, run in runs.items()}
        found = interleave(runs, estimates, _REPEATS, _BUDGET_S, "cpu")
        rows += [{"way": way, "seqlen": seqlen, "seconds": found[name].minimum} for name, way in WAYS.items()]
    machine = describe_machine("cpu", ())
    return {
        "machine": f"{machine['processor']}, {machine['cores']} cores, PyTorch {machine['PyTorch']}",
        "shape": f"one sequence of {_SHAPE.d_model} channels with {_SHAPE.size} states each",
        "rows": rows,
    }
