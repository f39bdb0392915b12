"""The norm's kernels: y = s v ∘ weight, where s = 1 / sqrt(mean(v²) + eps), and v is x, x silu(z) or x + r.

With g = dy ∘ weight the gradients are::

    dv = s g - (s³ / D) (g · v) v        dweight = Σ s dy ∘ v

and dx = dv silu(z), dz = dv x silu'(z), or dx = dr = dv + the gradient of the sum x + r. A vector holds
neighbouring numbers of one row; a task is a run of rows, which are worked on one after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Mask, Variable, Vector
from seqsuite.kernels.llvm.functions import exp_minus_abs, fma, lane_sums, sigmoid, sqrt
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import Scratch, fill_zeros, for_each_tile, thread_scratch

COMMON = (
    *("rows", "rows_per_task", "tasks", "scratch", "scratch_size"),
    *("x", "x_stride", "gate", "gate_stride", "residual", "residual_stride", "weight"),
)
FORWARD_PARAMETERS = (*COMMON, "y", "total")
BACKWARD_PARAMETERS = (*COMMON, "dy", "dtotal", "dx", "dgate", "dweight")


@dataclass(frozen=True)
class Options:
    """What a kernel is specialised for.

    Attributes:
        dtype: of the weight, "float32" or "float64"; the kernel computes in it.
        x_dtype: of everything of x's shape.
        width: D.
        eps: added to the mean square.
        has_gate, has_residual: whether there is one.
    """

    dtype: str
    x_dtype: str
    width: int
    eps: float
    has_gate: bool
    has_residual: bool


def norm_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps: v and g of a row, and its task's part of dweight, to full vectors."""
    size = -(-options.width // lanes) * lanes
    return Scratch({}, {"v": size, "g": size, "dweight": size})


def build_forward(options: Options, target: Target) -> Kernel:
    """Describe the forward kernel."""
    kernel = Kernel("rms_norm_forward", options.dtype, target, FORWARD_PARAMETERS)
    arrays = norm_scratch(options, kernel.lanes).arrays(thread_scratch(kernel), kernel.index(0))
    norm = _Norm(options, kernel, **arrays)
    with kernel.tasks(kernel.parameter("tasks")) as task, kernel.loop(*norm.rows_of(task)) as row:
        norm.write_y(row)
    return kernel


def build_backward(options: Options, target: Target) -> Kernel:
    """Describe the backward kernel."""
    kernel = Kernel("rms_norm_backward", options.dtype, target, BACKWARD_PARAMETERS)
    arrays = norm_scratch(options, kernel.lanes).arrays(thread_scratch(kernel), kernel.index(0))
    norm = _Norm(options, kernel, **arrays)
    with kernel.tasks(kernel.parameter("tasks")) as task:
        fill_zeros(norm.dweight, -(-options.width // kernel.lanes))
        with kernel.loop(*norm.rows_of(task)) as row:
            norm.write_gradients(row)
        norm.write_dweight(task)
    return kernel


@dataclass(frozen=True)
class _Norm:
    """The steps of one task; the arrays are its scratch."""

    options: Options
    kernel: Kernel
    v: Array
    g: Array
    dweight: Array

    def rows_of(self, task: Index) -> tuple[Index, Index]:
        """Return the task's first row and the one after its last."""
        rows, per_task = self.kernel.parameter("rows"), self.kernel.parameter("rows_per_task")
        return task * per_task, ((task + 1) * per_task).minimum(rows)

    def write_y(self, row: Index) -> None:
        """Normalise one row; write the sum too where there is a residual."""
        kernel = self.kernel
        squares = Variable(kernel, kernel.vector(0.0))

        def read(i: Index, mask: Mask | None) -> None:
            v = self._read_v(row, i, mask)
            squares.value = fma(v, v, squares.value)
            if self.options.has_residual:
                self._output("total", row).store(v, i, mask)

        self._for_each_vector(read)
        scale = self._scale(squares.value)

        def write(i: Index, mask: Mask | None) -> None:
            weight = kernel.array("weight").load(i, mask)
            self._output("y", row).store(self.v.load(i) * scale * weight, i, mask)

        self._for_each_vector(write)

    def write_gradients(self, row: Index) -> None:
        """Write the gradients of one row's inputs and add to that of the weight."""
        kernel, options = self.kernel, self.options
        squares, product = (Variable(kernel, kernel.vector(0.0)) for _ in range(2))

        def read(i: Index, mask: Mask | None) -> None:
            v = self._read_v(row, i, mask)
            g = self._output("dy", row).load(i, mask) * kernel.array("weight").load(i, mask)
            self.g.store(g, i)
            squares.value = fma(v, v, squares.value)
            product.value = fma(g, v, product.value)

        self._for_each_vector(read)
        scale = self._scale(squares.value)
        towards_v = _sum_in_every_lane(product.value) * (scale * scale * scale) * (-1.0 / options.width)

        def write(i: Index, mask: Mask | None) -> None:
            v = self.v.load(i)
            dv = fma(towards_v, v, scale * self.g.load(i))
            if options.has_residual:
                dv = dv + self._output("dtotal", row).load(i, mask)
            if options.has_gate:
                x, z = (self._input(name, row, i, mask) for name in ("x", "gate"))
                gate = sigmoid(z, exp_minus_abs(z))
                self._output("dgate", row).store(dv * x * gate * fma(z, 1.0 - gate, 1.0), i, mask)
                dv = dv * (z * gate)
            self._output("dx", row).store(dv, i, mask)
            dy = self._output("dy", row).load(i, mask)
            self.dweight.store(fma(dy, v * scale, self.dweight.load(i)), i)

        self._for_each_vector(write)

    def write_dweight(self, task: Index) -> None:
        """Write this task's part of dweight, (tasks, D)."""
        output = self.kernel.array("dweight")[task * self.options.width]
        self._for_each_vector(lambda i, mask: output.store(self.dweight.load(i), i, mask))

    def _read_v(self, row: Index, i: Index, mask: Mask | None) -> Vector:
        """Return v of some places in a row, and keep it."""
        v = self._input("x", row, i, mask)
        if self.options.has_gate:
            z = self._input("gate", row, i, mask)
            v = v * (z * sigmoid(z, exp_minus_abs(z)))
        if self.options.has_residual:
            v = v + self._input("residual", row, i, mask)
        self.v.store(v, i)
        return v

    def _scale(self, squares: Vector) -> Vector:
        mean = _sum_in_every_lane(squares) * (1.0 / self.options.width)
        return 1.0 / sqrt(mean + self.options.eps)

    def _input(self, name: str, row: Index, i: Index, mask: Mask | None) -> Vector:
        array = self.kernel.array(name, self.options.x_dtype)
        return array.load(row * self.kernel.parameter(f"{name}_stride") + i, mask)

    def _output(self, name: str, row: Index) -> Array:
        """Return a row of a contiguous (rows, D) tensor."""
        return self.kernel.array(name, self.options.x_dtype)[row * self.options.width]

    def _for_each_vector(self, body: Callable[[Index, Mask | None], None]) -> None:
        """Call ``body(index, mask)`` for the vectors of a row, the last one with a mask if it is short."""
        kernel = self.kernel

        def with_mask(i: Index, count: int) -> None:
            full = count == kernel.lanes
            body(i, None if full else kernel.first_lanes(kernel.index(count)))

        for_each_tile(kernel, self.options.width, kernel.lanes, with_mask)


def _sum_in_every_lane(vector: Vector) -> Vector:
    return lane_sums([vector] * vector.kernel.lanes)
