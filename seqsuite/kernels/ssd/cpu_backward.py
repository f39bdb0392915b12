"""The backward kernel of Mamba-2's scan; the letters are those of :mod:`~.cpu_chunks`.

With S_ij = L_ij C_i · B_j and W_ij = L_ij dy_i · u_j for j ≤ i, and the gradient g of the state after the
chunk, which is that of the next chunk's h::

    du_j = e_j g B_j + Σ_i S_ij dy_i          dC_i = r_i hᵀ dy_i + Σ_j W_ij B_j
    dB_j = e_j gᵀ u_j + Σ_i W_ij C_i          dh   = r_Q g + Σ_i r_i dy_i C_iᵀ

The decay of position t is in all that passes through it: from before the chunk to after it, from there to
i ≥ t, from j < t to after the chunk, and from j < t to i ≥ t::

    da_t = r_Q Σ g ∘ h + Σ_{i ≥ t} C_i · (r_i hᵀ dy_i) + Σ_{j < t} B_j · (e_j gᵀ u_j)
           + Σ_{i ≥ t > j} S_ij dy_i · u_j

From these come the gradients of what u is made of, and of the skip::

    dx_j = Δ_j du_j + D dy_j        dΔ_j = x_j · du_j        dD = Σ_j x_j · dy_j

The kernel goes through chunks from the last to the first; the forward has kept every h.
"""

from seqsuite.kernels.llvm.builder import Index, Kernel, Variable, Vector
from seqsuite.kernels.llvm.functions import fma, lane_sums, where
from seqsuite.kernels.llvm.products import Tile, for_each_product_tile, store_transposed
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import (
    DIVISION,
    Scratch,
    fill_zeros,
    locate,
    task_count,
    thread_scratch,
)
from seqsuite.kernels.ssd.cpu_chunks import CHUNK, INPUTS, ChunkScan, Options, whole_vectors

PARAMETERS = (
    *(*DIVISION, "rows", *INPUTS, "checkpoints", "dy", "dfinal_state"),
    *("dx", "ddelta", "da", "dB", "dC", "dD", "dinitial_state"),
)


def backward_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps; see :class:`_Backward`."""
    P, N = whole_vectors(options.width, lanes), whole_vectors(options.d_state, lanes)
    channels = dict.fromkeys(("u", "dy", "fed", "reached", "du", "u_T", "du_T"), CHUNK * P)
    states = dict.fromkeys(("B", "C", "B_T", "dB", "dC"), CHUNK * N)
    pairs = dict.fromkeys(("decay", "S", "M", "W"), CHUNK * CHUNK)
    by_lane = dict.fromkeys(("factor", "since_start", "leaving", "arriving", "da", "ddelta"), CHUNK * lanes)
    whole = dict.fromkeys(("carry", "entering"), P * N) | {"dD": lanes}
    return Scratch({}, channels | states | pairs | by_lane | whole)


def build_backward(options: Options, target: Target) -> Kernel:
    """Describe the kernel."""
    kernel = Kernel("ssd_backward", options.dtype, target, PARAMETERS)
    scratch = thread_scratch(kernel)
    with kernel.tasks(task_count(kernel)) as number:
        task = locate(kernel, number, CHUNK, ragged=False)
        arrays = backward_scratch(options, kernel.lanes).arrays(scratch, task.blocks)
        scan = _Backward(options, kernel, task, arrays)
        scan.load_states("dfinal_state", scan.states("carry"))
        for name in ("S", "M", "W"):
            fill_zeros(arrays[name], CHUNK * CHUNK // kernel.lanes)  # what is above the diagonal stays so
        fill_zeros(arrays["dD"], 1)
        with kernel.reverse_loop(task.first_chunk, task.last_chunk) as chunk:
            row, steps = task.rows(chunk)
            scan.read_factors(row, steps)
            scan.read_inputs(row, steps)
            scan.read_output_gradient(row, steps)
            scan.read_projection("B", row, steps)
            scan.read_projection("C", row, steps)
            scan.copy_states(scan.checkpoint(chunk), scan.states("entering"))
            scan.run_chunk()
            scan.write_dx(row, steps)
            scan.write_projection("dB", row, steps)
            scan.write_projection("dC", row, steps)
            scan.write_sums("da", row, steps)
            scan.write_sums("ddelta", row, steps)
        if options.skip:
            scan.write_dD()
        scan.store_states(scan.states("carry"), "dinitial_state")
    return kernel


class _Backward(ChunkScan):
    """The backward of one task.

    Its scratch:

    - rows of positions: ``u``, ``dy``, ``fed`` (e_j u_j), ``reached`` (r_i dy_i), ``du``; ``B``, ``C``,
      ``dB``, ``dC``
    - columns of positions: ``u_T``, ``du_T`` (P, Q), ``B_T`` (N, Q)
    - (i, j): ``decay`` (L, whose last row is e), ``S``, ``M`` (dy_i · u_j), ``W``
    - [t][lane], to be summed over the lanes: ``leaving`` (B_j · (e_j gᵀ u_j)), ``arriving`` (C_i · (r_i hᵀ
      dy_i)), ``da``, ``ddelta``; the same in every lane: ``factor``, ``since_start`` (r); [lane]: ``dD``
    - (P, N): ``carry`` (g), ``entering`` (h)
    """

    def run_chunk(self) -> None:
        """Compute the gradients of a chunk, and ``carry`` before it."""
        self._compute_decays()
        self._compute_pairs()
        self._compute_du()
        self._compute_dB()
        self._compute_dC()
        self._compute_da()
        self._go_back()

    def _compute_decays(self) -> None:
        """Row after row: each is the one before, decayed once more, and ends with 1."""
        kernel, decay = self.kernel, self.positions("decay")
        columns = range(0, CHUNK, kernel.lanes)
        since = {column: Variable(kernel, kernel.vector(0.0)) for column in columns}
        since_start = Variable(kernel, kernel.vector(1.0))
        with kernel.loop(0, CHUNK) as i:
            since_start.value = self.decayed(since_start.value, i)
            self.arrays["since_start"].store(since_start.value, i * kernel.lanes)
            for column in columns:
                decayed = self.decayed(since[column].value, i)
                since[column].value = where(kernel.only_lane(i - column), kernel.vector(1.0), decayed)
                decay.store(since[column].value, i, column)
        self.scale_rows(self.channels("u"), lambda j: decay.broadcast(CHUNK - 1, j), self.channels("fed"))
        self.scale_rows(self.channels("dy"), self._since_start, self.channels("reached"))

    def _compute_pairs(self) -> None:
        """Compute S, M and W on and below the diagonal."""
        kernel, lanes, C, dy = self.kernel, self.kernel.lanes, self.states("C"), self.channels("dy")
        B_T, u_T, decay, S, M, W = map(self.positions, ("B_T", "u_T", "decay", "S", "M", "W"))
        store_transposed(kernel, self.states("B"), CHUNK, self.N, B_T)
        store_transposed(kernel, self.channels("u"), CHUNK, self.P, u_T)

        def compute_S(tile: Tile) -> None:
            tile.add(C, B_T, 0, self.options.d_state)
            tile.update(lambda product, i, j: product * decay.load(i, j))
            tile.store(S)

        def compute_W(tile: Tile) -> None:
            tile.add(dy, u_T, 0, self.options.width)
            tile.store(M)
            tile.update(lambda product, i, j: product * decay.load(i, j))
            tile.store(W)

        for first in range(0, CHUNK, lanes):
            rows, columns = range(first, first + lanes), range(first + lanes)
            for_each_product_tile(kernel, rows, columns, compute_S)
            for_each_product_tile(kernel, rows, columns, compute_W)

    def _compute_du(self) -> None:
        kernel, lanes, carry, dy = self.kernel, self.kernel.lanes, self.states("carry"), self.channels("dy")
        B_T, du_T, decay, S = map(self.positions, ("B_T", "du_T", "decay", "S"))
        for first in range(0, CHUNK, lanes):

            def compute(tile: Tile, first: int = first) -> None:
                tile.add(carry, B_T, 0, self.options.d_state)
                tile.update(lambda product, _, j: product * decay.load(CHUNK - 1, j))
                tile.add(dy.T, S, first, first + lanes, lambda i: kernel.first_lanes(i - first + 1))
                tile.add(dy.T, S, first + lanes, CHUNK)
                tile.store(du_T)

            for_each_product_tile(kernel, range(self.options.width), range(first, first + lanes), compute)
        store_transposed(kernel, du_T, self.P, CHUNK, self.channels("du"))

    def _compute_dB(self) -> None:
        carry, fed, B, C = self.states("carry"), self.channels("fed"), self.states("B"), self.states("C")
        fill_zeros(self.arrays["leaving"], CHUNK)

        def compute(tile: Tile) -> None:
            tile.add(fed, carry, 0, self.options.width)
            tile.add_products(B, self.arrays["leaving"])
            tile.add(self.positions("W").T, C, tile.row, CHUNK)
            tile.store(self.states("dB"))

        for_each_product_tile(self.kernel, range(CHUNK), range(self.N), compute)

    def _compute_dC(self) -> None:
        reached, entering = self.channels("reached"), self.states("entering")
        B, C = self.states("B"), self.states("C")
        fill_zeros(self.arrays["arriving"], CHUNK)

        def compute(tile: Tile) -> None:
            tile.add(reached, entering, 0, self.options.width)
            tile.add_products(C, self.arrays["arriving"])
            tile.add(self.positions("W"), B, 0, tile.stop)
            tile.store(self.states("dC"))

        for_each_product_tile(self.kernel, range(CHUNK), range(self.N), compute)

    def _compute_da(self) -> None:
        """Collect its terms: those of j < t on the way forth and those of i ≥ t on the way back."""
        kernel, lanes, S, M = self.kernel, self.kernel.lanes, self.positions("S"), self.positions("M")
        carry, entering = self.states("carry"), self.states("entering")
        leaving, arriving, da = (self.arrays[name] for name in ("leaving", "arriving", "da"))
        collected = Variable(kernel, kernel.vector(0.0))
        with kernel.loop(0, self.options.width) as p, kernel.loop(0, self.N, lanes) as n:
            collected.value = fma(carry.load(p, n), entering.load(p, n), collected.value)
        collected.value = collected.value * self._since_start(kernel.index(CHUNK - 1))
        with kernel.loop(0, CHUNK) as t:
            da.store(collected.value, t * lanes)
            collected.value = collected.value + leaving.load(t * lanes)

        collected.value = kernel.vector(0.0)
        columns = range(0, CHUNK, lanes)
        later = {column: Variable(kernel, kernel.vector(0.0)) for column in columns}  # Σ_{i ≥ t} S_ij M_ij
        with kernel.reverse_loop(0, CHUNK) as t:
            collected.value = collected.value + arriving.load(t * lanes)
            total = da.load(t * lanes) + collected.value
            for column in columns:
                later[column].value = fma(S.load(t, column), M.load(t, column), later[column].value)
                earlier = kernel.first_lanes(t - column)
                total = total + where(earlier, later[column].value, kernel.vector(0.0))
            da.store(total, t * lanes)

    def _go_back(self) -> None:
        """Turn the gradient of the state after the chunk into that of the one before."""
        carry, reached, C = self.states("carry"), self.channels("reached"), self.states("C")
        through = self._since_start(self.kernel.index(CHUNK - 1))

        def compute(tile: Tile) -> None:
            tile.add(reached.T, C, 0, CHUNK)
            tile.update(lambda added, p, n: fma(through, carry.load(p, n), added))
            tile.store(carry)

        for_each_product_tile(self.kernel, range(self.options.width), range(self.N), compute)

    def write_dx(self, row: Index, steps: Index) -> None:
        """Write dx from ``du``, fill ``ddelta`` and add to ``dD``."""
        kernel, lanes, zero = self.kernel, self.kernel.lanes, self.kernel.vector(0.0)
        sum_D = Variable(kernel, zero)
        with kernel.loop(0, steps) as t:
            delta, ddelta = self.delta(row + t), zero
            for first in range(0, self.options.width, lanes):
                x, du = self.input(row + t, first), self.channels("du").load(t, first)
                inside = self.mask(self.options.width - first)
                if inside is not None:
                    du = where(inside, du, zero)
                ddelta = fma(x, du, ddelta)
                dx = delta * du
                if self.options.skip:
                    dy = self.channels("dy").load(t, first)
                    dx = fma(self.skip(), dy, dx)
                    sum_D.value = fma(x, dy, sum_D.value)
                self.store_output(dx, "dx", row + t, first)
            self.arrays["ddelta"].store(ddelta, t * lanes)
        # Summed by chunks: over a long sequence, adding each small term to the whole would lose digits.
        self.arrays["dD"].store(self.arrays["dD"].load() + sum_D.value)

    def write_sums(self, name: str, row: Index, steps: Index) -> None:
        """Sum da or dΔ over the lanes and write it."""
        kernel, lanes, terms = self.kernel, self.kernel.lanes, self.arrays[name]
        sums = self.arrays["leaving"]  # no longer needed
        with kernel.loop(0, CHUNK, lanes) as first:
            sums.store(lane_sums([terms.load((first + t) * lanes) for t in range(lanes)]), first)
        with kernel.loop(0, steps) as t:
            output = (row + t) * kernel.parameter("groups") + self.task.group
            kernel.array(name).copy_element(output, sums, t)

    def write_dD(self) -> None:
        """Write the sequence's part of dD, (S, H)."""
        kernel, sums = self.kernel, self.arrays["dD"]
        sums.store(lane_sums([sums.load()]))
        output = self.task.sequence * kernel.parameter("groups") + self.task.group
        kernel.array("dD").copy_element(output, sums, 0)

    def _since_start(self, i: Index) -> Vector:
        return self.arrays["since_start"].load(i * self.kernel.lanes)
