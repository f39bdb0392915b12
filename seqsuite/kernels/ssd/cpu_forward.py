"""The forward kernel of Mamba-2's scan; the letters are those of :mod:`~.cpu_chunks`.

With S_ij = L_ij C_i · B_j for j ≤ i, a chunk gives its outputs and the state h' after it::

    y_i = r_i h C_i + Σ_j S_ij u_j + D x_i    h' = r_Q h + Σ_j e_j u_j B_jᵀ

Outputs are computed as (P, Q), with positions in the lanes, for which rows of states suffice: in the tensors,
too, states are (P, N). No position takes terms from later ones, so that NaN does not reach the past.
"""

from seqsuite.kernels.llvm.builder import Index, Kernel, Variable
from seqsuite.kernels.llvm.functions import fma, where
from seqsuite.kernels.llvm.products import Tile, for_each_product_tile, store_transposed
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import DIVISION, Scratch, locate, task_count, thread_scratch
from seqsuite.kernels.ssd.cpu_chunks import CHUNK, INPUTS, ChunkScan, Options, whole_vectors

PARAMETERS = (*DIVISION, *INPUTS, "initial_state", "y", "final_state", "checkpoints")


def forward_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps; see :class:`_Forward`."""
    P, N = whole_vectors(options.width, lanes), whole_vectors(options.d_state, lanes)
    by_position = dict.fromkeys(("u", "fed", "y"), CHUNK * P) | dict.fromkeys(("B", "C"), CHUNK * N)
    transposed = {"y_T": P * CHUNK, "C_T": N * CHUNK, "S_T": CHUNK * CHUNK}
    decays = {"factor": CHUNK * lanes, "decay_T": (1 + CHUNK) * CHUNK}
    return Scratch({}, by_position | transposed | decays | {"state": P * N})


def build_forward(options: Options, save: bool, target: Target) -> Kernel:
    """Describe the kernel. With ``save`` it keeps the state before each chunk in ``checkpoints``."""
    kernel = Kernel("ssd_forward", options.dtype, target, PARAMETERS)
    scratch = thread_scratch(kernel)
    with kernel.tasks(task_count(kernel)) as number:
        task = locate(kernel, number, CHUNK, ragged=False)
        arrays = forward_scratch(options, kernel.lanes).arrays(scratch, task.blocks)
        scan = _Forward(options, kernel, task, arrays)
        scan.load_states("initial_state", scan.states("state"))
        with kernel.loop(task.first_chunk, task.last_chunk) as chunk:
            row, steps = task.rows(chunk)
            if save:
                scan.copy_states(scan.states("state"), scan.checkpoint(chunk))
            scan.read_factors(row, steps)
            scan.read_inputs(row, steps)
            scan.read_projection("B", row, steps)
            scan.read_projection("C", row, steps)
            scan.run_chunk()
            scan.write_outputs(row, steps)
        scan.store_states(scan.states("state"), "final_state")
    return kernel


class _Forward(ChunkScan):
    """The forward of one task.

    Its scratch: ``u``, ``B``, ``C`` and ``y`` are rows of positions, ``fed`` is e_j u_j, ``state`` (P, N).
    ``C_T`` (N, Q), ``y_T`` (P, Q) and ``S_T`` (j, i) have positions i in the lanes, and so has ``decay_T``,
    whose row 0 is r_i and whose row 1 + j is L_ij.
    """

    def run_chunk(self) -> None:
        """Compute ``y``, and ``state`` after the chunk."""
        self._compute_decays()
        self._compute_scores()
        self._compute_outputs()
        self._advance_state()

    def write_outputs(self, row: Index, steps: Index) -> None:
        """Write ``y``, with the skip."""
        with self.kernel.loop(0, steps) as t:
            for first in range(0, self.options.width, self.kernel.lanes):
                y = self.channels("y").load(t, first)
                if self.options.skip:
                    y = fma(self.skip(), self.input(row + t, first), y)
                self.store_output(y, "y", row + t, first)

    def _compute_decays(self) -> None:
        """From the last row to the first: each is the next, decayed once more, and begins with 1."""
        kernel, decay = self.kernel, self.positions("decay_T")
        columns = range(0, CHUNK, kernel.lanes)
        to = {column: Variable(kernel, kernel.vector(0.0)) for column in columns}
        with kernel.reverse_loop(0, CHUNK) as j:
            for column in columns:
                row = where(kernel.only_lane(j - column), kernel.vector(1.0), to[column].value)
                decay.store(row, j + 1, column)
                to[column].value = self.decayed(row, j)
        for column in columns:
            decay.store(to[column].value, 0, column)

    def _compute_scores(self) -> None:
        kernel, lanes = self.kernel, self.kernel.lanes
        B, C_T, S_T, decay = self.states("B"), *map(self.positions, ("C_T", "S_T", "decay_T"))
        store_transposed(kernel, self.states("C"), CHUNK, self.N, C_T)

        def compute(tile: Tile) -> None:
            tile.add(B, C_T, 0, self.options.d_state)
            tile.update(lambda product, j, i: product * decay.load(j + 1, i))
            tile.store(S_T)

        for first in range(0, CHUNK, lanes):
            for_each_product_tile(kernel, range(first, first + lanes), range(first, CHUNK), compute)

    def _compute_outputs(self) -> None:
        kernel, lanes = self.kernel, self.kernel.lanes
        state, u = self.states("state"), self.channels("u")
        C_T, S_T, y_T, decay = map(self.positions, ("C_T", "S_T", "y_T", "decay_T"))
        for first in range(0, CHUNK, lanes):

            def compute(tile: Tile, first: int = first) -> None:
                tile.add(state, C_T, 0, self.options.d_state)
                tile.update(lambda product, _, i: product * decay.load(0, i))
                tile.add(u.T, S_T, 0, first)
                tile.add(u.T, S_T, first, first + lanes, lambda j: kernel.lanes_from(j - first))
                tile.store(y_T)

            for_each_product_tile(kernel, range(self.options.width), range(first, first + lanes), compute)
        store_transposed(kernel, y_T, self.P, CHUNK, self.channels("y"))

    def _advance_state(self) -> None:
        kernel, state, B, fed = self.kernel, self.states("state"), self.states("B"), self.channels("fed")
        decay = self.positions("decay_T")
        self.scale_rows(self.channels("u"), lambda j: decay.broadcast(j + 1, CHUNK - 1), fed)
        through = decay.broadcast(0, CHUNK - 1)

        def compute(tile: Tile) -> None:
            tile.add(fed.T, B, 0, CHUNK)
            tile.update(lambda added, p, n: fma(through, state.load(p, n), added))
            tile.store(state)

        for_each_product_tile(kernel, range(self.options.width), range(self.N), compute)
