"""The decoder's kernel: one token of each sequence through embedding, blocks, norm and head.

A task is one sequence. All weights and states are used in the layouts that they have in PyTorch; only the
convolution's filters are turned so that neighbouring channels are neighbours. Blocks of both kinds are alike
but for their insides, which :class:`Inside` describes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Mask, Vector
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import Scratch, thread_scratch
from seqsuite.kernels.mamba_decoder.cpu_mamba import MambaInside
from seqsuite.kernels.mamba_decoder.cpu_mamba2 import Mamba2Inside
from seqsuite.kernels.mamba_decoder.cpu_steps import convolve, for_each_vector, multiply, normalise
from seqsuite.kernels.mamba_decoder.weights import BlockSizes, MambaSizes

PARAMETERS = (
    *("sequences", "n_layer", "layers", "scratch", "scratch_size"),
    *("embedding", "norm", "norm_eps", "head", "tokens", "logits"),
)


class Inside(Protocol):
    """What a kind of block does between the convolution and the out-projection."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the parameters that it uses."""

    def scratch(self) -> dict[str, int]:
        """Return names and sizes of the arrays that it works in."""

    def run(self, block: Mapping[str, Array], work: Mapping[str, Array], state: Array) -> None:
        """Advance the state of a sequence and write y.

        Args:
            block: the block's tensors by name.
            work: the scratch by name: ``projected``, the in-projection's outputs, and ``gate`` among them;
                ``u``, what came out of the convolution; ``y`` (D,), for the out-projection; its own arrays.
            state: the sequence's states.
        """


@dataclass(frozen=True)
class Options:
    """What a kernel is specialised for.

    Attributes:
        dtype: "float32" or "float64", of all weights and states.
        vocab_size: V.
        sizes: those of every block.
    """

    dtype: str
    vocab_size: int
    sizes: BlockSizes

    @property
    def inside(self) -> Inside:
        """The inside of the blocks."""
        return MambaInside(self.sizes) if isinstance(self.sizes, MambaSizes) else Mamba2Inside(self.sizes)

    @property
    def table(self) -> tuple[str, ...]:
        """What the table ``layers`` holds for each block: addresses, in this order."""
        return (
            *("norm", "norm_eps", "in_proj", "in_bias", "conv_weight", "conv_bias"),
            *self.inside.tensors,
            *("out_proj", "out_bias", "conv", "ssm"),
        )


def decoder_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps: the residual stream x and what a block makes of it, to full vectors."""
    sizes = {
        "x": options.sizes.d_model,
        "normed": options.sizes.d_model,
        "projected": options.sizes.projected,
        "u": len(options.sizes.convolved),
        "y": options.sizes.d_inner,
        **options.inside.scratch(),
    }
    return Scratch({}, {name: -(-size // lanes) * lanes for name, size in sizes.items()})


def build_decoder(options: Options, target: Target) -> Kernel:
    """Describe the kernel."""
    kernel = Kernel("mamba_decoder", options.dtype, target, PARAMETERS)
    work = decoder_scratch(options, kernel.lanes).arrays(thread_scratch(kernel), kernel.index(0))
    work["gate"] = work["projected"][options.sizes.gate]
    with kernel.tasks(kernel.parameter("sequences")) as sequence:
        _read_embedding(kernel, sequence, options.sizes.d_model, work["x"])
        table, names = kernel.array("layers", "int64"), options.table
        with kernel.loop(0, kernel.parameter("n_layer")) as layer:
            addresses = [table.integer(layer * len(names) + i) for i in range(len(names))]
            block = {name: kernel.array_at(a) for name, a in zip(names, addresses, strict=True)}
            _run_block(options, sequence, block, work)
        _write_logits(kernel, sequence, options, work)
    return kernel


def _read_embedding(kernel: Kernel, sequence: Index, d_model: int, x: Array) -> None:
    token = kernel.array("tokens", "int64").integer(sequence)
    embedding = kernel.array("embedding")[token * d_model]
    for_each_vector(kernel, d_model, lambda i, mask: x.store(embedding.load(i, mask), i, mask))


def _run_block(
    options: Options, sequence: Index, block: Mapping[str, Array], work: Mapping[str, Array]
) -> None:
    sizes = options.sizes
    x, normed, projected = work["x"], work["normed"], work["projected"]
    in_bias, out_bias, width = block["in_bias"], block["out_bias"], len(sizes.convolved)

    def write_projected(result: Vector, row: Index, mask: Mask | None) -> None:
        projected.store(result + in_bias.load(row, mask), row, mask)

    def add_to_x(result: Vector, row: Index, mask: Mask | None) -> None:
        x.store(x.load(row, mask) + (result + out_bias.load(row, mask)), row, mask)

    normalise(x, sizes.d_model, block["norm"], block["norm_eps"], normed)
    multiply(block["in_proj"], sizes.projected, normed, sizes.d_model, write_projected)
    inputs, history = projected[sizes.convolved.start], block["conv"][sequence * ((sizes.taps - 1) * width)]
    convolve(inputs, width, block["conv_weight"], block["conv_bias"], sizes.taps, history, work["u"])
    options.inside.run(block, work, block["ssm"][sequence * (sizes.d_inner * sizes.d_state)])
    multiply(block["out_proj"], sizes.d_model, work["y"], sizes.d_inner, add_to_x)


def _write_logits(kernel: Kernel, sequence: Index, options: Options, work: Mapping[str, Array]) -> None:
    d_model, normed = options.sizes.d_model, work["normed"]
    normalise(work["x"], d_model, kernel.array("norm"), kernel.array("norm_eps"), normed)
    logits = kernel.array("logits")[sequence * options.vocab_size]
    multiply(kernel.array("head"), options.vocab_size, normed, d_model, logits.store)
