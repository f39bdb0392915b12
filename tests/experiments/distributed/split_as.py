"""One of several processes that each compute a part of sequences, layer by layer: started by tests.

Arguments: number of the process, how many there are, a file that they meet at, and a file for how far outputs
and gradients of each layer are from those of whole sequences, as JSON.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from seqsuite.experiments.distributed.sequence import Ring
from seqsuite.experiments.training.assemble import recompute
from seqsuite.models import BLOCKS, MIXERS
from seqsuite.models.base import SequenceLayer
from seqsuite.models.build import build_mixer
from seqsuite.models.sequence_model import NORMS
from seqsuite.models.split import split_over
from seqsuite.options import named_options

WIDTH, BATCH = 16, 2
LENGTHS = (31, 7)  # of the latter, parts are shorter than what a convolution remembers
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "s6": [{"A_init": "lin", "d_state": 4}, {"dt_rank": None, "selective_B": False, "selective_C": False}],
    "s4d": [{"init": "real", "d_state": 5}],
    "ssd": [{"d_state": 5, "head_dim": 4, "n_groups": 2}],
    "gated_delta": [{"n_heads": 2, "d_conv": 1, "negative_eigenvalues": True}],
    "attention": [
        {"positions": "none"},
        {"positions": "xpos", "n_heads": 4, "n_kv_heads": 2},
        {"positions": "rotary", "window": 6},
        {"positions": "alibi", "window": 1},
    ],
}


def make_mixer(name: str, width: int, **options: Any) -> SequenceLayer:
    return build_mixer(named_options(MIXERS, {"name": name, **options}), width, max(LENGTHS))


def make_block(name: str, mixer: str) -> SequenceLayer:
    return BLOCKS.load(name)(WIDTH, lambda width: make_mixer(mixer, width), NORMS["rms"])


def recomputed(layer: SequenceLayer) -> SequenceLayer:
    recompute(layer)
    return layer


CASES: dict[str, Callable[[], SequenceLayer]] = {
    **{
        f"{name}{options or ''}": lambda name=name, options=options: make_mixer(name, WIDTH, **options)
        for name in MIXERS.names()
        for options in ({}, *VARIANTS.get(name, []))
    },
    **{
        f"{block}/{mixer}": lambda block=block, mixer=mixer: make_block(block, mixer)
        for block in BLOCKS.names()
        for mixer in ("s6", "ssd")
    },
    "recomputed mamba/s6": lambda: recomputed(make_block("mamba", "s6")),
}


def compute(layer: SequenceLayer, x: Tensor, weights: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return a layer's outputs, and the gradients of their weighted sum: of the inputs and parameters."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    y, _ = layer(x, layer.initial_state(BATCH, dtype=x.dtype))
    (y * weights).sum().backward()
    return y.detach(), [x.grad, *(parameter.grad for parameter in layer.parameters())]


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm().clamp_min(1e-30))


def distances(layer: SequenceLayer, ring: Ring, length: int) -> list[float]:
    """Return how far outputs, and each gradient, are from those of whole sequences."""
    x, weights = torch.randn(2, BATCH, length, WIDTH, generator=torch.Generator().manual_seed(length))
    whole, (grad_x, *gradients) = compute(layer, x, weights)
    part = slice(*ring.span(length))
    ring.begin(length)
    with split_over(ring):
        y, (own_x, *own) = compute(layer, x[:, part], weights[:, part])
    for gradient in own:
        dist.all_reduce(gradient)
    pairs = [(y, whole[:, part]), (own_x, grad_x[:, part]), *zip(own, gradients, strict=True)]
    return [error(found, expected) for found, expected in pairs]


def main() -> None:
    """Compare every layer."""
    rank, world, meeting, out = sys.argv[1:]
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    store = dist.FileStore(meeting, int(world))
    dist.init_process_group("gloo", store=store, rank=int(rank), world_size=int(world))
    ring, found = Ring(range(int(world))), {}
    for case, make in CASES.items():
        torch.manual_seed(0)
        layer = make()
        found[case] = max(max(distances(layer, ring, length)) for length in LENGTHS)
    Path(out).write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
