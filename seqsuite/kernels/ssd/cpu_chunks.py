"""What both kernels of Mamba-2's scan share: a task's sequence and head, and a chunk of it in scratch memory.

With u = Δ x and the logarithm a = Δ A of the decay, the scan is, for each head with its state h (P, N)::

    h_t = exp(a_t) h_{t-1} + u_t B_tᵀ         y_t = h_t C_t + D x_t

Within a chunk of Q positions it is products of matrices (arXiv 2405.21060, section 6), which do the work of a
position with fewer instructions than the recurrence. Let h be the state before the chunk, L_ij =
exp(a_{j+1} + … + a_i) the decay from j to i, r_i that from before the chunk to i, and e_j that from j to the
chunk's end. All are products of exp(a_t): differences of sums would lose digits where a head forgets fast.
Those below :data:`FORGOTTEN` are zero: processors compute with subnormal numbers a hundred times as slowly.
"""

from collections.abc import Callable
from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Mask, Vector
from seqsuite.kernels.llvm.functions import LOG2_E, exp2, zero_below
from seqsuite.kernels.llvm.products import Matrix
from seqsuite.kernels.llvm.tasks import Task, fill_zeros

# The decay below which nothing is left, by dtype: with it, products of usual numbers are normal ones.
FORGOTTEN = {"float32": 2.0**-100, "float64": 2.0**-900}

# Positions of a chunk: matrices of that width, which must be whole vectors.
CHUNK = 32

INPUTS = ("bc_groups", "x", "x_stride", "delta", "a", "B", "B_stride", "C", "C_stride", "D")


@dataclass(frozen=True)
class Options:
    """What a kernel is specialised for.

    Attributes:
        dtype: of everything, "float32" or "float64".
        width: P.
        d_state: N.
        skip: whether there is a D.
    """

    dtype: str
    width: int
    d_state: int
    skip: bool


def whole_vectors(count: int, lanes: int) -> int:
    """Return ``count`` elements filled up to whole vectors."""
    return -(-count // lanes) * lanes


@dataclass(frozen=True)
class ChunkScan:
    """One task and its scratch, ``arrays`` by name.

    There, rows of channels and of states are filled up to whole vectors, and the last chunk to whole chunks:
    with zeros, and with decays of 1, so that the state passes through.
    """

    options: Options
    kernel: Kernel
    task: Task
    arrays: dict[str, Array]

    @property
    def P(self) -> int:
        """Channels in whole vectors."""
        return whole_vectors(self.options.width, self.kernel.lanes)

    @property
    def N(self) -> int:
        """States in whole vectors."""
        return whole_vectors(self.options.d_state, self.kernel.lanes)

    def channels(self, name: str) -> Matrix:
        """Return scratch whose columns are channels."""
        return Matrix(self.arrays[name], self.P)

    def states(self, name: str) -> Matrix:
        """Return scratch whose columns are states."""
        return Matrix(self.arrays[name], self.N)

    def positions(self, name: str) -> Matrix:
        """Return scratch whose columns are positions of the chunk."""
        return Matrix(self.arrays[name], CHUNK)

    def load_states(self, name: str, destination: Matrix) -> None:
        """Fetch the head's states from (S, H, P, N)."""
        N = self.options.d_state
        with self.kernel.loop(0, self.options.width) as p:
            self._load_row(self._of_head(name)[p * N], N, destination, p)

    def store_states(self, source: Matrix, name: str) -> None:
        """Write them back."""
        N = self.options.d_state
        with self.kernel.loop(0, self.options.width) as p:
            self._store_row(source, p, N, self._of_head(name)[p * N])

    def copy_states(self, source: Matrix, destination: Matrix) -> None:
        """Copy the head's states from or to where they are in whole vectors."""
        kernel = self.kernel
        with kernel.loop(0, self.options.width) as p, kernel.loop(0, self.N, kernel.lanes) as n:
            destination.store(source.load(p, n), p, n)

    def checkpoint(self, chunk: Index) -> Matrix:
        """Return where the states before a chunk are kept."""
        head = chunk * self.kernel.parameter("groups") + self.task.group
        return Matrix(self.kernel.array("checkpoints")[head * (self.options.width * self.N)], self.N)

    def read_inputs(self, row: Index, steps: Index) -> None:
        """Compute u = Δ x for a chunk."""
        self._read_rows(*self._inputs(), row, steps, self.options.width, self.channels("u"), self.delta)

    def input(self, row: Index, first: int) -> Vector:
        """Return x of a position, from a channel on, zero beyond the head."""
        source, stride = self._inputs()
        return source[row * stride].load(first, self.mask(self.options.width - first))

    def delta(self, row: Index) -> Vector:
        """Return Δ of a position, in every lane."""
        groups = self.kernel.parameter("groups")
        return self.kernel.array("delta").broadcast(row * groups + self.task.group)

    def skip(self) -> Vector:
        """Return D, in every lane."""
        return self.kernel.array("D").broadcast(self.task.group)

    def read_output_gradient(self, row: Index, steps: Index) -> None:
        """Copy a chunk of dy."""
        source, stride = self.kernel.array("dy")[self.task.first_channel], self.kernel.parameter("d_model")
        self._read_rows(source, stride, row, steps, self.options.width, self.channels("dy"))

    def read_projection(self, name: str, row: Index, steps: Index) -> None:
        """Copy a chunk of B or C."""
        source = self.kernel.array(name)[self._bc_group() * self.options.d_state]
        stride = self.kernel.parameter(f"{name}_stride")
        self._read_rows(source, stride, row, steps, self.options.d_state, self.states(name))

    def store_output(self, value: Vector, name: str, row: Index, first: int) -> None:
        """Write y or dx of a position, from a channel on."""
        output, stride = self.kernel.array(name)[self.task.first_channel], self.kernel.parameter("d_model")
        output[row * stride].store(value, first, self.mask(self.options.width - first))

    def write_projection(self, name: str, row: Index, steps: Index) -> None:
        """Write the head's part of a chunk of dB or dC, which are (H / G, B·L, G, N)."""
        kernel, N = self.kernel, self.options.d_state
        bc_groups = kernel.parameter("bc_groups")
        part = self.task.group % (kernel.parameter("groups") // bc_groups)
        first_row = part * kernel.parameter("rows") + row
        with kernel.loop(0, steps) as t:
            output = kernel.array(name)[((first_row + t) * bc_groups + self._bc_group()) * N]
            self._store_row(self.states(name), t, N, output)

    def read_factors(self, row: Index, steps: Index) -> None:
        """Compute exp(a) for a chunk into ``factor``, in every lane."""
        kernel = self.kernel
        a = kernel.array("a")
        with kernel.loop(0, steps) as t:
            exponent = a.broadcast((row + t) * kernel.parameter("groups") + self.task.group)
            self.arrays["factor"].store(exp2(exponent * LOG2_E), t * kernel.lanes)
        with kernel.loop(steps, CHUNK) as t:
            self.arrays["factor"].store(kernel.vector(1.0), t * kernel.lanes)

    def decayed(self, decay: Vector, t: Index) -> Vector:
        """Return the decay through position t too: times exp(a_t)."""
        product = decay * self.arrays["factor"].load(t * self.kernel.lanes)
        return zero_below(product, FORGOTTEN[self.options.dtype])

    def scale_rows(self, source: Matrix, scale: Callable[[Index], Vector], destination: Matrix) -> None:
        """Multiply the channels of position t by ``scale(t)``."""
        with self.kernel.loop(0, CHUNK) as t:
            by = scale(t)
            for first in range(0, self.P, self.kernel.lanes):
                destination.store(source.load(t, first) * by, t, first)

    def _bc_group(self) -> Index:
        """Return the head's group of B and C."""
        kernel = self.kernel
        return self.task.group * kernel.parameter("bc_groups") // kernel.parameter("groups")

    def _inputs(self) -> tuple[Array, Index]:
        return self.kernel.array("x")[self.task.first_channel], self.kernel.parameter("x_stride")

    def _of_head(self, name: str) -> Array:
        head = self.task.sequence * self.kernel.parameter("groups") + self.task.group
        return self.kernel.array(name)[head * (self.options.width * self.options.d_state)]

    def _read_rows(
        self,
        source: Array,
        stride: Index,
        row: Index,
        steps: Index,
        count: int,
        destination: Matrix,
        scale: Callable[[Index], Vector] | None = None,
    ) -> None:
        with self.kernel.loop(0, steps) as t:
            by = None if scale is None else scale(row + t)
            self._load_row(source[(row + t) * stride], count, destination, t, by)
        vectors = destination.row_stride // self.kernel.lanes
        fill_zeros(destination.array[steps * destination.row_stride], (steps * -1 + CHUNK) * vectors)

    def _load_row(
        self, source: Array, count: int, destination: Matrix, row: Index, scale: Vector | None = None
    ) -> None:
        """Copy ``count`` elements to a row of whole vectors, times ``scale``."""
        for first in range(0, count, self.kernel.lanes):
            value = source.load(first, self.mask(count - first))
            destination.store(value if scale is None else value * scale, row, first)

    def _store_row(self, source: Matrix, row: Index, count: int, destination: Array) -> None:
        for first in range(0, count, self.kernel.lanes):
            destination.store(source.load(row, first), first, self.mask(count - first))

    def mask(self, count: int) -> Mask | None:
        """Return the lanes of so many elements, ``None`` for all."""
        return None if count >= self.kernel.lanes else self.kernel.first_lanes(self.kernel.index(count))
