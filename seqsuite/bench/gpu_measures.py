"""What ``seqsuite.bench.gpu_report`` measures itself: steps and tokens, with CUDA graphs and without; norms.

Each function goes through rows of raw numbers in base units. On a CPU there are no graphs, and rows say so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from seqsuite.bench.bandwidth import copy_bandwidth
from seqsuite.bench.peers import BOTH, FORWARD, OURS, Shape, make_inputs, runner
from seqsuite.bench.scan_peers import SCAN_PEERS
from seqsuite.bench.timing import time_once
from seqsuite.graphs import GraphedCall, Outputs, TrainStep, recorder_for
from seqsuite.kernels import rms_norm
from seqsuite.models import MODELS
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.decoding import make_decoder
from seqsuite.models.presets import size_settings
from seqsuite.models.sequence_model import LanguageModel
from seqsuite.report import Row

# Dense products in bfloat16 a second, from NVIDIA's data sheets, without sparsity.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12, "L40S": 362e12}

SAMPLES = 5


@dataclass(frozen=True)
class Training:
    """A train step: a named model, its size (a name, or blocks and width), its batch and its vocabulary."""

    model: str
    size: str | tuple[int, int]
    batch: int
    seqlen: int
    vocabulary: int

    def build(self, device: str) -> LanguageModel:
        """Return the model, made on the device."""
        return build(self.model, self.size, self.vocabulary, self.seqlen, device)


TRAININGS = [
    Training("mamba", (2, 64), 32, 256, 256),
    Training("mamba", "130m", 8, 2048, 50_280),
    Training("mamba2", (2, 64), 32, 256, 256),
    Training("transformer++", (2, 64), 32, 256, 256),
    Training("s4", (2, 64), 32, 256, 256),
    Training("gated_deltanet", (2, 64), 32, 256, 256),
    Training("mamba2", "130m", 8, 2048, 50_280),
]
QUICK_TRAININGS = [Training("mamba", (1, 16), 2, 32, 16)]

GRAPHED_LENGTHS, QUICK_GRAPHED_LENGTHS = [256, 1024, 4096, 16_384, 65_536], [32]
NORMS, QUICK_NORMS = [(8192, 768), (16_384, 2048), (65_536, 1024)], [(64, 32)]


def build(name: str, size: str | tuple[int, int], vocabulary: int, seqlen: int, device: str) -> LanguageModel:
    """Return a named model, made on the device."""
    values = MODELS.load(name)()
    shape = (
        dict(zip(("n_layer", "d_model"), size, strict=True))
        if isinstance(size, tuple)
        else size_settings(name, size)
    )
    config = ModelConfig(name=name, **{**values, **shape})
    with torch.device(device):
        torch.manual_seed(0)
        return build_model(config, vocab_size=vocabulary, seqlen=seqlen).to(device)


def train(device: str, quick: bool) -> Iterator[Row]:
    """Go through train steps in bfloat16: tokens a second without a graph and with one, share of the peak."""
    peak = next(
        (p for name, p in PEAKS.items() if device == "cuda" and name in torch.cuda.get_device_name()), None
    )
    for training in QUICK_TRAININGS if quick else TRAININGS:
        row: Row = {
            "model": training.model,
            "size": str(training.size),
            "batch": training.batch,
            "seqlen": training.seqlen,
        }
        try:
            row |= _train(training, device, peak)
        except Exception as error:  # one that fails is a finding; the others are still measured
            row["note"] = f"{type(error).__name__}: {str(error).strip()[:300]}"
        yield row


def _train(training: Training, device: str, peak: float | None) -> Row:
    model = training.build(device)
    tokens = torch.randint(training.vocabulary, (training.batch, training.seqlen + 1), device=device)

    def loss(tokens: Tensor) -> Tensor:
        # A cache of weights that were cast would be outside of the graph.
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            logits = model(tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())

    step = TrainStep(loss, torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True), clip=1.0)
    count = training.batch * training.seqlen
    row: Row = {"parameters": model.num_parameters()}
    row["eager_tokens_per_second"] = count / seconds(lambda: step(tokens), device)
    recorder = recorder_for(torch.device(device))
    if recorder is None:
        row["note"] = "no graphs on this device"
    else:
        call = GraphedCall(step, recorder)
        row["graph_tokens_per_second"] = count / seconds(lambda: call(tokens), device)
        row["note"] = call.reason
    if peak is not None:
        best = float(row.get("graph_tokens_per_second") or row["eager_tokens_per_second"])
        row["share_of_peak"] = 6 * model.num_parameters() * best / peak
    return row


def scan_in_graphs(device: str, quick: bool) -> Iterator[Row]:
    """Go through scans at (1, L, 512, 16) in bfloat16, called and as graphs: ours and the official one."""
    names = [OURS] + (["mamba-ssm"] if device == "cuda" and find_spec("mamba_ssm") else [])
    for peer in (peer for peer in SCAN_PEERS if peer.name in names):
        function = peer.make()
        for seqlen in QUICK_GRAPHED_LENGTHS if quick else GRAPHED_LENGTHS:
            for work in (FORWARD, BOTH):
                inputs = make_inputs(
                    peer, Shape(1, seqlen, 512, 16), device=device, dtype=torch.bfloat16, grad=work != FORWARD
                )
                run = runner(function, inputs, work)

                def call(run: Callable[[], object] = run) -> Outputs:
                    result = run()
                    return result if isinstance(result, tuple) else (result,)

                row: Row = {"peer": peer.name, "seqlen": seqlen, "work": work}
                row["eager_s"] = seconds(run, device)
                recorder = recorder_for(torch.device(device))
                if recorder is not None:
                    graphed = GraphedCall(call, recorder)
                    row["graph_s"] = seconds(graphed, device)
                    row["note"] = graphed.reason
                yield row


def decode(device: str, quick: bool) -> Iterator[Row]:
    """Go through models: seconds a token at batch 1 in bfloat16, beside those of reading the weights once."""
    bandwidth = copy_bandwidth(device)
    sizes = (
        [("mamba", (1, 16), 16)]
        if quick
        else [("mamba", "130m", 50_280), ("mamba", "1.4b", 50_280), ("mamba2", "1.3b", 50_280)]
    )
    for name, size, vocabulary in sizes:
        model = build(name, size, vocabulary, 1, device).to(torch.bfloat16).eval()
        token = torch.zeros(1, dtype=torch.int64, device=device)
        with torch.inference_mode():
            state = model.initial_state(1)
            decoder = make_decoder(model, state)
            eager = seconds(lambda: model.step(token, state), device)  # noqa: B023  # called here
            graphed = seconds(lambda: decoder.step(token), device)  # noqa: B023
        reading = sum(p.numel() * p.element_size() for p in model.parameters()) / bandwidth
        yield {
            "model": name,
            "size": str(size),
            "eager_s": eager,
            "decoder": type(decoder).__name__.strip("_"),
            "decoder_s": graphed,
            "weights_s": reading,
            "over_weights": graphed / reading,
        }


def norm(device: str, quick: bool) -> Iterator[Row]:
    """Go through norms after a residual in bfloat16: our kernel, and PyTorch's operations."""
    for count, width in QUICK_NORMS if quick else NORMS:
        x, residual = (
            torch.randn(count, width, device=device, dtype=torch.bfloat16, requires_grad=True)
            for _ in range(2)
        )
        weight = torch.ones(width, device=device, requires_grad=True)
        for backend in (None, "reference"):

            def both(
                backend: str | None = backend,
                x: Tensor = x,
                residual: Tensor = residual,
                weight: Tensor = weight,
            ) -> object:
                y, _ = rms_norm(x, weight, 1e-5, residual=residual, backend=backend)
                return torch.autograd.grad(y, [x, weight, residual], torch.ones_like(y))

            yield {"rows": count, "width": width, "backend": backend or OURS, "both_s": seconds(both, device)}


MEASURES: dict[str, Callable[[str, bool], Iterator[Row]]] = {
    "train": train,
    "scan-graph": scan_in_graphs,
    "decode-graph": decode,
    "norm": norm,
}


def seconds(run: Callable[[], object], device: str) -> float:
    """Return the seconds of a warm call, the median of some samples of as many calls as fill 20 ms."""
    for _ in range(5):
        run()
    calls = max(1, min(200, int(0.02 / max(time_once(run, device), 1e-6))))
    found = sorted(time_once(run, device, calls) for _ in range(SAMPLES))
    return found[SAMPLES // 2]
