"""Steps of the decoder's kernel on vectors of any width: products, norm, convolution, SiLU.

Sizes are known when the kernel is built; the last vector of a width that is no multiple of the lanes is
loaded and stored with a mask.
"""

from collections.abc import Callable

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Mask, Variable, Vector
from seqsuite.kernels.llvm.functions import exp_minus_abs, fma, lane_sums, sigmoid, sqrt
from seqsuite.kernels.llvm.tasks import for_each_tile


def multiply(
    matrix: Array,
    rows: int,
    vector: Array,
    columns: int,
    write: Callable[[Vector, Index, Mask | None], None],
) -> None:
    """Multiply a (rows, columns) matrix and a vector; ``write`` takes results, their first row, a mask.

    As many rows as a vector has lanes run along their columns together, and their sums over lanes come out as
    one vector of results.
    """
    kernel = matrix.kernel

    def multiply_rows(first: Index, count: int) -> None:
        sums = [Variable(kernel, kernel.vector(0.0)) for _ in range(count)]

        def add_products(column: Index, mask: Mask | None) -> None:
            right = vector.load(column, mask)
            for i, total in enumerate(sums):
                left = matrix.load((first + i) * columns + column, mask)
                total.value = fma(left, right, total.value)

        for_each_vector(kernel, columns, add_products)
        write(lane_sums([total.value for total in sums]), first, lanes_mask(kernel, count))

    for_each_tile(kernel, rows, kernel.lanes, multiply_rows)


def normalise(source: Array, width: int, weight: Array, eps: Array, result: Array) -> None:
    """Write ``source`` divided by its root mean square, times the weight; ``result`` can be ``source``."""
    kernel = source.kernel
    squares = Variable(kernel, kernel.vector(0.0))

    def add_square(i: Index, mask: Mask | None) -> None:
        x = source.load(i, mask)
        squares.value = fma(x, x, squares.value)

    for_each_vector(kernel, width, add_square)
    total = lane_sums([squares.value] * kernel.lanes)  # in every lane
    scale = 1.0 / sqrt(fma(total, 1.0 / width, eps.broadcast()))

    def write(i: Index, mask: Mask | None) -> None:
        result.store(source.load(i, mask) * scale * weight.load(i, mask), i, mask)

    for_each_vector(kernel, width, write)


def convolve(
    inputs: Array, width: int, weight: Array, bias: Array, taps: int, history: Array, result: Array
) -> None:
    """Write silu(convolution) of the last K inputs, and move the history (K - 1, width) on by one.

    The filters are (K, width): neighbouring channels are neighbours.
    """
    kernel = inputs.kernel

    def convolve_channels(i: Index, mask: Mask | None) -> None:
        window = [history.load(i + k * width, mask) for k in range(taps - 1)]
        window.append(inputs.load(i, mask))
        p = bias.load(i, mask)
        for k, value in enumerate(window):
            p = fma(weight.load(i + k * width, mask), value, p)
        result.store(silu(p), i, mask)
        for k, value in enumerate(window[1:]):
            history.store(value, i + k * width, mask)

    for_each_vector(kernel, width, convolve_channels)


def silu(x: Vector) -> Vector:
    """Return x times its sigmoid."""
    return x * sigmoid(x, exp_minus_abs(x))


def for_each_vector(kernel: Kernel, length: int, body: Callable[[Index, Mask | None], None]) -> None:
    """Call ``body(index, mask)`` for the vectors of an array, the last one with a mask if it is short."""
    for_each_tile(kernel, length, kernel.lanes, lambda i, count: body(i, lanes_mask(kernel, count)))


def lanes_mask(kernel: Kernel, count: int) -> Mask | None:
    """Return the mask of the first ``count`` lanes, ``None`` if these are all."""
    return None if count == kernel.lanes else kernel.first_lanes(kernel.index(count))
