"""The convolution's kernels: y_t = f(p_t) with p_t = Σ_k w_k x_{t - K + 1 + k} + bias; f is silu or nothing.

With g_t = dy_t f'(p_t) the gradients are::

    dx_t = Σ_k w_k g_{t + K - 1 - k}        dw_k = Σ_t g_t x_{t - K + 1 + k}        dbias = Σ_t g_t

A vector holds neighbouring channels. Of each chunk of rows the inputs are copied to scratch memory, the K - 1
rows before them in front, so that all positions are alike; p is recomputed in the backward.
"""

from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Variable, Vector
from seqsuite.kernels.llvm.functions import exp_minus_abs, fma, sigmoid
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import (
    DIVISION,
    Scratch,
    Task,
    fill_zeros,
    locate,
    task_count,
    thread_scratch,
)

# Positions of a sequence that are worked on together.
CHUNK = 32

INPUTS = ("x", "x_stride", "weight", "bias", "initial_state")
FORWARD_PARAMETERS = (*DIVISION, *INPUTS, "y")
BACKWARD_PARAMETERS = (*DIVISION, *INPUTS, "dy", "dx", "dx_stride", "dweight", "dbias", "dinitial_state")


@dataclass(frozen=True)
class Options:
    """What a kernel is specialised for. Dtypes are named as PyTorch names them, without the prefix.

    Attributes:
        dtype: of the weight and the bias, "float32" or "float64"; the kernel computes in it.
        x_dtype: of inputs, outputs and histories.
        taps: K.
        ragged: whether the channels are no multiple of the lanes.
        has_bias: whether there is a bias.
        has_initial_state: whether there are inputs before the first.
        activation: whether f is silu.
    """

    dtype: str
    x_dtype: str
    taps: int
    ragged: bool
    has_bias: bool
    has_initial_state: bool
    activation: bool


def forward_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps: the filters of its channels, and the inputs of a chunk."""
    inputs = (options.taps - 1 + CHUNK) * lanes
    return Scratch({"weight": options.taps * lanes, "x": inputs}, {})


def backward_scratch(options: Options, lanes: int) -> Scratch:
    """Return the same and what goes from chunk to chunk; see :class:`_Backward`."""
    forward = forward_scratch(options, lanes).per_block
    sums = {"later": (options.taps - 1) * lanes, "sum_weight": options.taps * lanes, "sum_bias": lanes}
    return Scratch(forward | sums, {})


def build_forward(options: Options, target: Target) -> Kernel:
    """Describe the forward kernel."""
    kernel = Kernel("causal_conv1d_forward", options.dtype, target, FORWARD_PARAMETERS)
    scratch = thread_scratch(kernel)
    with kernel.tasks(task_count(kernel)) as number:
        task = locate(kernel, number, CHUNK, options.ragged)
        arrays = forward_scratch(options, kernel.lanes).arrays(scratch, task.blocks)
        convolution = _Convolution(options, kernel, task, **arrays)
        convolution.load_weight()
        with kernel.loop(task.first_chunk, task.last_chunk) as chunk:
            row, steps = task.rows(chunk)
            convolution.read_rows(row, steps, next_row=CHUNK, output="y")
            with kernel.loop(0, task.blocks) as block:
                convolution.write_block(block, row, steps)
    return kernel


def build_backward(options: Options, target: Target) -> Kernel:
    """Describe the backward kernel."""
    kernel = Kernel("causal_conv1d_backward", options.dtype, target, BACKWARD_PARAMETERS)
    scratch = thread_scratch(kernel)
    with kernel.tasks(task_count(kernel)) as number:
        task = locate(kernel, number, CHUNK, options.ragged)
        arrays = backward_scratch(options, kernel.lanes).arrays(scratch, task.blocks)
        convolution = _Backward(options, kernel, task, **arrays)
        convolution.load_weight()
        convolution.start_sums()
        with kernel.reverse_loop(task.first_chunk, task.last_chunk) as chunk:
            row, steps = task.rows(chunk)
            convolution.read_rows(row, steps, next_row=-CHUNK, output="dx")
            with kernel.loop(0, task.blocks) as block:
                convolution.run_block_back(block, row, steps)
        convolution.store_sums()
    return kernel


@dataclass(frozen=True)
class _Convolution:
    """The steps of one task. Its scratch: ``weight`` [block][k][lane], ``x`` [block][K - 1 + t][lane]."""

    options: Options
    kernel: Kernel
    task: Task
    weight: Array
    x: Array

    def load_weight(self) -> None:
        """Fetch the filters."""
        kernel, taps = self.kernel, self.options.taps
        with kernel.loop(0, self.task.blocks) as block:
            destination = self.weight[block * taps * kernel.lanes]
            self.task.load_columns(block, kernel.array("weight"), destination, taps)

    def read_rows(self, row: Index, steps: Index, next_row: int, output: str) -> None:
        """Copy the inputs of a chunk and the K - 1 before them to scratch, and ask for what is next."""
        kernel, options, task = self.kernel, self.options, self.task
        x, before = kernel.array("x", options.x_dtype), options.taps - 1
        x_stride = kernel.parameter("x_stride")
        output_stride = self._output_stride(output)
        position = row - task.first_row
        from_history = kernel.index(before) - position.minimum(before)
        self._read_history(position, from_history)
        with kernel.loop(from_history, steps + before) as i, kernel.loop(0, task.blocks) as block:
            here, channel = row + i - before, task.channel(block)
            x.prefetch((here + next_row) * x_stride + channel)
            kernel.array(output, options.x_dtype).prefetch(here * output_stride + channel, write=True)
            value = x.load(here * x_stride + channel, task.mask(block))
            self.x.store(value, self._position(block, i))

    def _read_history(self, position: Index, count: Index) -> None:
        """Fill the first ``count`` places before ``position`` from the inputs before the sequence."""
        kernel, options, task = self.kernel, self.options, self.task
        history = kernel.array("initial_state", options.x_dtype)
        d_model = kernel.parameter("d_model")
        first = task.sequence * (options.taps - 1) + position
        with kernel.loop(0, count) as i, kernel.loop(0, task.blocks) as block:
            if options.has_initial_state:
                value = history.load((first + i) * d_model + task.channel(block), task.mask(block))
            else:
                value = kernel.vector(0.0)
            self.x.store(value, self._position(block, i))

    def write_block(self, block: Index, row: Index, steps: Index) -> None:
        """Convolve one block of channels over a chunk."""
        kernel, task = self.kernel, self.task
        weight, bias = self._filters(block)
        output, d_model = kernel.array("y", self.options.x_dtype), kernel.parameter("d_model")
        channel, mask = task.channel(block), task.mask(block)
        with kernel.loop(0, steps) as t:
            y = self._sum_of_taps(block, t, weight, bias)
            if self.options.activation:
                y = y * sigmoid(y, exp_minus_abs(y))
            output.store(y, (row + t) * d_model + channel, mask)

    def _filters(self, block: Index) -> tuple[list[Vector], Vector]:
        kernel, taps = self.kernel, self.options.taps
        weight = [self.weight.load((block * taps + k) * kernel.lanes) for k in range(taps)]
        if not self.options.has_bias:
            return weight, kernel.vector(0.0)
        return weight, kernel.array("bias").load(self.task.channel(block), self.task.mask(block))

    def _sum_of_taps(self, block: Index, t: Index, weight: list[Vector], bias: Vector) -> Vector:
        p = bias
        for k, w in enumerate(weight):
            p = fma(w, self.x.load(self._position(block, t + k)), p)
        return p

    def _position(self, block: Index, i: Index) -> Index:
        return (block * (self.options.taps - 1 + CHUNK) + i) * self.kernel.lanes

    def _output_stride(self, output: str) -> Index:
        """Return the stride of the rows of y or dx; the latter may lie in a wider tensor."""
        return self.kernel.parameter("dx_stride" if output == "dx" else "d_model")


@dataclass(frozen=True)
class _Backward(_Convolution):
    """The steps of one task, chunks from the last to the first.

    Its scratch beside the forward's: ``later`` [block][i][lane], g of the K - 1 positions that follow, and
    the sums ``sum_weight`` [block][k][lane] and ``sum_bias`` [block][lane].
    """

    later: Array
    sum_weight: Array
    sum_bias: Array

    def start_sums(self) -> None:
        """Start everything that is carried from zero."""
        fill_zeros(self.later, self.task.blocks * (self.options.taps - 1))
        fill_zeros(self.sum_weight, self.task.blocks * self.options.taps)
        fill_zeros(self.sum_bias, self.task.blocks)

    def run_block_back(self, block: Index, row: Index, steps: Index) -> None:
        """Write dx of one block of channels over a chunk, and add to the gradients of filters and bias."""
        kernel, options, task = self.kernel, self.options, self.task
        lanes, taps = kernel.lanes, options.taps
        weight, bias = self._filters(block)
        channel, mask = task.channel(block), task.mask(block)
        dy, dx = (kernel.array(name, options.x_dtype) for name in ("dy", "dx"))
        carried = self.later[block * (taps - 1) * lanes]
        later = [Variable(kernel, carried.load(i * lanes)) for i in range(taps - 1)]
        # Summed by chunks: over a long sequence, adding each small term to the whole sum would lose digits.
        dweight = [Variable(kernel, kernel.vector(0.0)) for _ in range(taps)]
        dbias = Variable(kernel, kernel.vector(0.0))
        with kernel.reverse_loop(0, steps) as t:
            g = dy.load((row + t) * kernel.parameter("d_model") + channel, mask)
            if options.activation:
                p = self._sum_of_taps(block, t, weight, bias)
                slope = sigmoid(p, exp_minus_abs(p))
                g = g * slope * fma(p, 1.0 - slope, 1.0)
            onwards = [g, *(variable.value for variable in later)]
            gradient = _sum_of_products(list(reversed(weight)), onwards)
            dx.store(gradient, (row + t) * kernel.parameter("dx_stride") + channel, mask)
            for k in range(taps):
                dweight[k].value = fma(g, self.x.load(self._position(block, t + k)), dweight[k].value)
            dbias.value = dbias.value + g
            for variable, value in zip(later, onwards, strict=False):
                variable.value = value
        for i, variable in enumerate(later):
            carried.store(variable.value, i * lanes)
        for k in range(taps):
            _add(self.sum_weight, (block * taps + k) * lanes, dweight[k].value)
        _add(self.sum_bias, block * lanes, dbias.value)

    def store_sums(self) -> None:
        """Write this sequence's parts of dweight (S, D, K) and dbias (S, D), and dinitial_state."""
        kernel, options, task = self.kernel, self.options, self.task
        lanes, taps = kernel.lanes, options.taps
        first_channel = task.sequence * kernel.parameter("d_model")
        with kernel.loop(0, task.blocks) as block:
            total = self.sum_weight[block * taps * lanes]
            task.store_columns(block, total, kernel.array("dweight")[first_channel * taps], taps)
            if options.has_bias:
                output = kernel.array("dbias")[first_channel]
                output.store(self.sum_bias.load(block * lanes), task.channel(block), task.mask(block))
            if options.has_initial_state:
                self._store_dinitial_state(block)

    def _store_dinitial_state(self, block: Index) -> None:
        """Let the inputs before the sequence reach what they reach of it: dx at positions 1 - K to -1."""
        kernel, options, task = self.kernel, self.options, self.task
        lanes, before = kernel.lanes, options.taps - 1
        output = kernel.array("dinitial_state", options.x_dtype)
        weight, _ = self._filters(block)
        g = [self.later.load((block * before + i) * lanes) for i in range(before)]
        for i in range(before):
            row = task.sequence * before + i
            # Position i - (K - 1) meets position j through tap K - 1 - j + i - (K - 1) = i - j.
            dx = _sum_of_products([weight[i - j] for j in range(i + 1)], g[: i + 1])
            output.store(dx, row * kernel.parameter("d_model") + task.channel(block), task.mask(block))


def _sum_of_products(left: list[Vector], right: list[Vector]) -> Vector:
    total = left[0] * right[0]
    for a, b in zip(left[1:], right[1:], strict=True):
        total = fma(a, b, total)
    return total


def _add(total: Array, index: Index, term: Vector) -> None:
    total.store(total.load(index) + term, index)
