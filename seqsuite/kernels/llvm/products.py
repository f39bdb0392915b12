"""Products of small matrices that lie in a core's cache, tile after tile with the sums in registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Mask, Variable, Vector
from seqsuite.kernels.llvm.functions import fma, transpose, where
from seqsuite.kernels.llvm.tasks import for_each_tile

VECTORS_PER_TILE = 2


@dataclass(frozen=True)
class Matrix:
    """Memory as a matrix, element (i, j) at ``i * row_stride + j * column_stride``.

    Vectors run along a row and need a ``column_stride`` of 1.
    """

    array: Array
    row_stride: int
    column_stride: int = 1

    @property
    def T(self) -> Matrix:
        """The transposed matrix, whose elements can be read one by one."""
        return Matrix(self.array, self.column_stride, self.row_stride)

    def broadcast(self, i: Index | int, j: Index | int) -> Vector:
        """Read an element into every lane."""
        return self.array.broadcast(i * self.row_stride + j * self.column_stride)

    def load(self, i: Index | int, j: Index | int = 0) -> Vector:
        """Read a vector from element (i, j) on."""
        return self.array.load(i * self.row_stride + j)

    def store(self, value: Vector, i: Index | int, j: Index | int = 0) -> None:
        """Write a vector from element (i, j) on."""
        self.array.store(value, i * self.row_stride + j)


class Tile:
    """Some rows of some vectors of a sum of products, in registers.

    Attributes:
        row, stop: the first row, and the one after the last.
    """

    def __init__(self, kernel: Kernel, row: Index, rows: int, column: Index, vectors: int) -> None:
        self.kernel = kernel
        self.row, self.stop = row, row + rows
        self._rows = [row + r for r in range(rows)]
        self._columns = [column + v * kernel.lanes for v in range(vectors)]
        self._sums = {
            (r, v): Variable(kernel, kernel.vector(0.0)) for r in range(rows) for v in range(vectors)
        }

    def add(
        self,
        left: Matrix,
        right: Matrix,
        start: Index | int,
        stop: Index | int,
        mask: Callable[[Index], Mask] | None = None,
    ) -> None:
        """Add Σ_k left[row, k] · right[k, column] over k from ``start`` up to, not including, ``stop``.

        With ``mask``, terms count only in the lanes that it gives for k; others are not even added as zeros,
        which would make NaN of what is not finite.
        """
        with self.kernel.loop(start, stop) as k:
            factors = [left.broadcast(row, k) for row in self._rows]
            vectors = [right.load(k, column) for column in self._columns]
            counted = None if mask is None else mask(k)
            for (r, v), total in self._sums.items():
                added = fma(factors[r], vectors[v], total.value)
                total.value = added if counted is None else where(counted, added, total.value)

    def update(self, change: Callable[[Vector, Index, Index], Vector]) -> None:
        """Replace each vector of sums by ``change(vector, row, column)``."""
        for (r, v), total in self._sums.items():
            total.value = change(total.value, self._rows[r], self._columns[v])

    def add_products(self, other: Matrix, totals: Array) -> None:
        """Add each row's products with the same elements of ``other`` to the row's vector of ``totals``."""
        for r, row in enumerate(self._rows):
            total = totals.load(row * self.kernel.lanes)
            for v, column in enumerate(self._columns):
                total = fma(self._sums[r, v].value, other.load(row, column), total)
            totals.store(total, row * self.kernel.lanes)

    def store(self, destination: Matrix) -> None:
        """Write the sums to their place."""
        for (r, v), total in self._sums.items():
            destination.store(total.value, self._rows[r], self._columns[v])


def for_each_product_tile(kernel: Kernel, rows: range, columns: range, body: Callable[[Tile], None]) -> None:
    """Call ``body`` for the tiles of a matrix's part, whose columns are whole vectors.

    A tile takes half of the registers: enough sums at a time to hide how long an addition takes.
    """

    def take_columns(first: Index, vectors: int) -> None:
        column = first * kernel.lanes + columns.start
        height = kernel.target.vector_registers // 2 // vectors
        for_each_tile(
            kernel,
            len(rows),
            height,
            lambda row, count: body(Tile(kernel, row + rows.start, count, column, vectors)),
        )

    for_each_tile(kernel, len(columns) // kernel.lanes, VECTORS_PER_TILE, take_columns)


def store_transposed(kernel: Kernel, source: Matrix, rows: int, columns: int, destination: Matrix) -> None:
    """Write a matrix (rows, columns) as (columns, rows); both are multiples of the lanes."""
    lanes = kernel.lanes
    with kernel.loop(0, rows, lanes) as row, kernel.loop(0, columns, lanes) as column:
        for j, vector in enumerate(transpose([source.load(row + i, column) for i in range(lanes)])):
            destination.store(vector, column + j, row)
