"""The decoder's kernel: one token of each sequence through embedding, Mamba blocks, norm and head.

A task is one sequence. The work is in products of matrices and vectors: as many rows of a matrix as a vector
has lanes run along their columns together, and their sums over lanes come out as one vector of results. All
weights and states are used in the layouts that they have in PyTorch; only the convolution's filters are
turned so that neighbouring channels are neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Mask, Variable, Vector
from seqsuite.kernels.llvm.functions import (
    LOG2_E,
    exp2,
    exp_minus_abs,
    fma,
    lane_sums,
    sigmoid,
    softplus,
    sqrt,
)
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import Scratch, for_each_tile

PARAMETERS = (
    *("sequences", "n_layer", "layers", "scratch", "scratch_size"),
    *("embedding", "norm", "norm_eps", "head", "tokens", "logits"),
)

# What the table ``layers`` holds for each block: addresses, in this order.
BLOCK = (
    *("norm", "norm_eps", "in_proj", "in_bias", "conv_weight", "conv_bias", "x_proj", "dt_proj", "dt_bias"),
    *("A", "D", "out_proj", "out_bias", "conv", "ssm"),
)


@dataclass(frozen=True)
class Options:
    """The sizes that a kernel is specialised for, and the dtype of all weights and states.

    Attributes:
        dtype: "float32" or "float64".
        vocab_size: V.
        d_model: width of the residual stream.
        d_inner: width D inside the blocks.
        d_state: N.
        dt_rank: R.
        taps: K.
    """

    dtype: str
    vocab_size: int
    d_model: int
    d_inner: int
    d_state: int
    dt_rank: int
    taps: int


def decoder_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps: the residual stream x and what a block makes of it, to full vectors."""
    sizes = {
        "x": options.d_model,
        "normed": options.d_model,
        "xz": 2 * options.d_inner,
        "u": options.d_inner,
        "projected": options.dt_rank + 2 * options.d_state,
        "delta": options.d_inner,
        "delta_u": options.d_inner,
        "y": options.d_inner,
    }
    return Scratch({}, {name: -(-size // lanes) * lanes for name, size in sizes.items()})


def build_decoder(options: Options, target: Target) -> Kernel:
    """Describe the kernel."""
    kernel = Kernel("mamba_decoder", options.dtype, target, PARAMETERS)
    scratch = kernel.array("scratch")[kernel.thread_number() * kernel.parameter("scratch_size")]
    arrays = decoder_scratch(options, kernel.lanes).arrays(scratch, kernel.index(0))
    with kernel.tasks(kernel.parameter("sequences")) as sequence:
        _Decoder(options, kernel, sequence, **arrays).run()
    return kernel


@dataclass(frozen=True)
class _Decoder:
    """The steps of one task; the arrays are its scratch."""

    options: Options
    kernel: Kernel
    sequence: Index
    x: Array
    normed: Array
    xz: Array
    u: Array
    projected: Array
    delta: Array
    delta_u: Array
    y: Array

    def run(self) -> None:
        """Read the token's embedding, go through the blocks, write the logits."""
        kernel, d_model, vocab_size = self.kernel, self.options.d_model, self.options.vocab_size
        token = kernel.array("tokens", "int64").integer(self.sequence)
        embedding = kernel.array("embedding")[token * d_model]
        self._for_each_vector(d_model, lambda i, mask: self.x.store(embedding.load(i, mask), i, mask))
        table = kernel.array("layers", "int64")
        with kernel.loop(0, kernel.parameter("n_layer")) as layer:
            addresses = [table.integer(layer * len(BLOCK) + i) for i in range(len(BLOCK))]
            self._run_block({n: kernel.array_at(a) for n, a in zip(BLOCK, addresses, strict=True)})
        self._normalise(kernel.array("norm"), kernel.array("norm_eps"))
        logits = kernel.array("logits")[self.sequence * vocab_size]
        self._multiply(kernel.array("head"), vocab_size, self.normed, d_model, logits.store)

    def _run_block(self, block: dict[str, Array]) -> None:
        options = self.options
        d_model, d_inner, rank = options.d_model, options.d_inner, options.dt_rank
        self._normalise(block["norm"], block["norm_eps"])
        in_bias, dt_bias, out_bias = block["in_bias"], block["dt_bias"], block["out_bias"]

        def write_xz(result: Vector, row: Index, mask: Mask | None) -> None:
            self.xz.store(result + in_bias.load(row, mask), row, mask)

        def write_delta(result: Vector, row: Index, mask: Mask | None) -> None:
            raw = result + dt_bias.load(row, mask)
            delta = softplus(raw, exp_minus_abs(raw))
            self.delta.store(delta, row, mask)
            self.delta_u.store(delta * self.u.load(row, mask), row, mask)

        def add_to_x(result: Vector, row: Index, mask: Mask | None) -> None:
            self.x.store(self.x.load(row, mask) + (result + out_bias.load(row, mask)), row, mask)

        self._multiply(block["in_proj"], 2 * d_inner, self.normed, d_model, write_xz)
        history = block["conv"][self.sequence * ((options.taps - 1) * d_inner)]
        self._convolve(block["conv_weight"], block["conv_bias"], history)
        width = rank + 2 * options.d_state
        self._multiply(block["x_proj"], width, self.u, d_inner, self.projected.store)
        self._multiply(block["dt_proj"], d_inner, self.projected, rank, write_delta)
        state = block["ssm"][self.sequence * (d_inner * options.d_state)]
        for_each_tile(
            self.kernel, d_inner, self.kernel.lanes, lambda c, n: self._update_states(block, state, c, n)
        )
        self._multiply(block["out_proj"], d_model, self.y, d_inner, add_to_x)

    def _normalise(self, weight: Array, eps: Array) -> None:
        """Write x divided by its root mean square, times the weight."""
        kernel, d_model = self.kernel, self.options.d_model
        squares = Variable(kernel, kernel.vector(0.0))

        def add_square(i: Index, mask: Mask | None) -> None:
            x = self.x.load(i, mask)
            squares.value = fma(x, x, squares.value)

        self._for_each_vector(d_model, add_square)
        total = lane_sums([squares.value] * kernel.lanes)  # in every lane
        scale = 1.0 / sqrt(fma(total, 1.0 / d_model, eps.broadcast()))

        def write(i: Index, mask: Mask | None) -> None:
            self.normed.store(self.x.load(i, mask) * scale * weight.load(i, mask), i, mask)

        self._for_each_vector(d_model, write)

    def _multiply(
        self,
        matrix: Array,
        rows: int,
        vector: Array,
        columns: int,
        write: Callable[[Vector, Index, Mask | None], None],
    ) -> None:
        """Multiply a (rows, columns) matrix and a vector; ``write`` takes results, their row, a mask."""
        kernel = self.kernel

        def multiply_rows(first: Index, count: int) -> None:
            sums = [Variable(kernel, kernel.vector(0.0)) for _ in range(count)]

            def add_products(column: Index, mask: Mask | None) -> None:
                right = vector.load(column, mask)
                for i, total in enumerate(sums):
                    left = matrix.load((first + i) * columns + column, mask)
                    total.value = fma(left, right, total.value)

            self._for_each_vector(columns, add_products)
            write(lane_sums([total.value for total in sums]), first, self._lanes_mask(count))

        for_each_tile(kernel, rows, kernel.lanes, multiply_rows)

    def _convolve(self, weight: Array, bias: Array, history: Array) -> None:
        """Write u = silu(convolution) of the last K inputs, and move the history (K - 1, D) on by one."""
        d_inner, before = self.options.d_inner, self.options.taps - 1

        def convolve(i: Index, mask: Mask | None) -> None:
            inputs = [history.load(i + k * d_inner, mask) for k in range(before)]
            inputs.append(self.xz.load(i, mask))
            p = bias.load(i, mask)
            for k, value in enumerate(inputs):
                p = fma(weight.load(i + k * d_inner, mask), value, p)
            self.u.store(p * sigmoid(p, exp_minus_abs(p)), i, mask)
            for k, value in enumerate(inputs[1:]):
                history.store(value, i + k * d_inner, mask)

        self._for_each_vector(d_inner, convolve)

    def _update_states(self, block: dict[str, Array], state: Array, first: Index, count: int) -> None:
        """Advance the states (D, N) of ``count`` channels and write their gated outputs y.

        Here a vector holds states of one channel.
        """
        kernel, d_inner, d_state, rank = (
            self.kernel,
            self.options.d_inner,
            self.options.d_state,
            self.options.dt_rank,
        )
        sums = []
        for channel in (first + i for i in range(count)):
            rate = self.delta.broadcast(channel) * LOG2_E
            delta_u = self.delta_u.broadcast(channel)
            total = kernel.vector(0.0)
            for n in range(0, d_state, kernel.lanes):
                mask = self._lanes_mask(min(d_state - n, kernel.lanes))
                here = channel * d_state + n
                B, C = (self.projected.load(start + n, mask) for start in (rank, rank + d_state))
                decay = exp2(rate * block["A"].load(here, mask))
                h = fma(decay, state.load(here, mask), delta_u * B)
                state.store(h, here, mask)
                total = fma(h, C, total)
            sums.append(total)
        mask = self._lanes_mask(count)
        y = fma(block["D"].load(first, mask), self.u.load(first, mask), lane_sums(sums))
        z = self.xz.load(first + d_inner, mask)
        self.y.store(y * (z * sigmoid(z, exp_minus_abs(z))), first, mask)

    def _for_each_vector(self, length: int, body: Callable[[Index, Mask | None], None]) -> None:
        """Call ``body(index, mask)`` for the vectors of an array, the last one with a mask if it is short."""
        kernel = self.kernel
        for_each_tile(kernel, length, kernel.lanes, lambda i, count: body(i, self._lanes_mask(count)))

    def _lanes_mask(self, count: int) -> Mask | None:
        return None if count == self.kernel.lanes else self.kernel.first_lanes(self.kernel.index(count))
