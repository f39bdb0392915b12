"""The backward kernel's work on states: forth through a chunk, and back with their gradients."""

from dataclasses import dataclass
from typing import NamedTuple

from seqsuite.kernels.llvm.builder import Array, Index, Variable, Vector
from seqsuite.kernels.llvm.functions import exp2, fma, lane_sums
from seqsuite.kernels.llvm.tasks import fill_zeros, for_each_tile
from seqsuite.kernels.selective_scan.cpu_backward_work import Work, padded_states, states_per_tile
from seqsuite.kernels.selective_scan.cpu_forward import checkpoint, load_constants, load_decay_rates
from seqsuite.kernels.selective_scan.cpu_layout import (
    CHUNK,
    Projection,
    Step,
    prefetch_inputs,
    projection,
)


class Walk(NamedTuple):
    """A tile of states of one block, and the chunk to walk through.

    Attributes:
        chunk, row, steps: the chunk's number, its first row and its length.
        block: number of the block.
        first, n_states: which states.
        is_first: whether no tile has added to the chunk's sums over states.
    """

    chunk: Index
    row: Index
    steps: Index
    block: Index
    first: Index
    n_states: int
    is_first: bool


@dataclass(frozen=True)
class Tile:
    """States of one block on their way through a chunk.

    Attributes:
        first: number of the first state.
        offset: where it is in arrays [block][n][lane].
        A: times log2 e; imaginary parts as they are.
        state: h_t on the way forth, a_{t+1} dh_{t+1} on the way back.
        sums: of the gradients of A and of the constants among B and C, by name. Summed by chunks: over a long
            sequence, adding each small term to the whole sum would lose digits.
    """

    first: Index
    offset: Index
    A: list[Vector]
    state: list[Variable]
    sums: dict[str, list[Variable]]


@dataclass(frozen=True)
class BackwardStates:
    """The work of one task on states, and on the gradients of A, B and C."""

    work: Work

    def start(self, has_dfinal_state: bool) -> None:
        """Fetch A, start the carry from the final state's gradient and the sums from zero."""
        work, kernel, options, task = self.work, self.work.kernel, self.work.options, self.work.task
        N, states = options.d_state, options.d_state * kernel.lanes
        with kernel.loop(0, task.blocks) as block:
            load_decay_rates(task, block, work.A[block * states], options)
            load_constants(task, block, {"B": work.B, "C": work.C}, N)
            if has_dfinal_state:
                source = kernel.array("dfinal_state")[work.first_state()]
                task.load_columns(block, source, work.carry[block * states], N)
            else:
                fill_zeros(work.carry[block * states], N)
        for name in ("A", *options.constant):
            fill_zeros(work.total(name), task.blocks * N)
        for name in options.varying:
            fill_zeros(work.total(name), CHUNK * padded_states(options))

    def run(self, chunk: Index, row: Index, steps: Index) -> None:
        """Run the states of all blocks forth through a chunk, and their gradients back.

        Tile by tile, and not block by block: a tile's part of ``sum_B`` and ``sum_C`` then stays in the
        first-level cache from one block to the next.
        """
        kernel, N, tile = self.work.kernel, self.work.options.d_state, states_per_tile(self.work.options)

        def run_tile(first: Index, count: int, is_first: bool) -> None:
            with kernel.loop(0, self.work.task.blocks) as block:
                walk = Walk(chunk, row, steps, block, first, count, is_first)
                self._prefetch_inputs(walk)
                self._run_forth(walk)
                self._run_back(walk)

        run_tile(kernel.index(0), tile, True)
        for_each_tile(kernel, N - tile, tile, lambda first, count: run_tile(first + tile, count, False))

    def _prefetch_inputs(self, walk: Walk) -> None:
        """Ask for a tile's share of what the next chunk reads: for all of it at once, a core would wait."""
        work, kernel, N = self.work, self.work.kernel, self.work.options.d_state
        channel, first_row = work.task.channel(walk.block), walk.row - CHUNK
        with kernel.loop(walk.first * CHUNK // N, (walk.first + walk.n_states) * CHUNK // N) as t:
            prefetch_inputs(work.task, work.options, first_row + t, channel)
            work.output("dy", work.options.u_dtype, first_row + t).prefetch(channel)

    def _prefetch_gradients(self, row: Index, channel: Index) -> None:
        """Ask for a row that will be written, beside the work of the first tile."""
        for name, dtype in self.work.options.inputs.items():
            self.work.output(f"d{name}", dtype, row).prefetch(channel)

    def _run_forth(self, walk: Walk) -> None:
        """Recompute the states, and collect y and the gradient of C."""
        work, kernel, lanes = self.work, self.work.kernel, self.work.kernel.lanes
        saved = checkpoint(kernel, work.task, work.options, walk.chunk, walk.block)[walk.first * lanes]
        tile = self._tile(walk, [saved.load(n * lanes) for n in range(walk.n_states)], ("C",))
        for n in range(walk.n_states):
            work.h.store(tile.state[n].value, n * lanes)
        with kernel.loop(0, walk.steps) as t:
            here = work.position(walk.block, t)
            y = None
            if work.y is not None:
                y = kernel.vector(0.0) if walk.is_first else work.y.load(here)
            y = self._advance(tile, t, self._step(walk.row + t, here, tile), work.g.load(here), y)
            if work.y is not None and y is not None:
                work.y.store(y, here)
        self._keep_sums(tile)

    def _advance(self, tile: Tile, t: Index, step: Step, g: Vector, y: Vector | None) -> Vector | None:
        """Move a tile one position on, keep its states and decays, and return y with what they add."""
        count, lanes, h = len(tile.state), self.work.kernel.lanes, tile.state
        for n in range(count):
            decay = exp2(step.delta * tile.A[n])
            h[n].value = fma(decay, h[n].value, step.delta_u * step.B(n))
            self.work.decay.store(decay, (t * count + n) * lanes)
            self.work.h.store(h[n].value, ((t + 1) * count + n) * lanes)
            self._add_term(tile, "C", t, n, g, h[n].value)
            if y is not None:
                y = fma(h[n].value, step.C(n), y)
        return y

    def _run_back(self, walk: Walk) -> None:
        """Run the gradients of the states back, and collect s, w and the gradients of A and B."""
        work, kernel, lanes = self.work, self.work.kernel, self.work.kernel.lanes
        carry = work.carry[(walk.block * work.options.d_state + walk.first) * lanes]
        tile = self._tile(walk, [carry.load(n * lanes) for n in range(walk.n_states)], ("A", "B"))
        with kernel.reverse_loop(0, walk.steps) as t:
            here = work.position(walk.block, t)
            if walk.is_first:
                self._prefetch_gradients(walk.row + t, work.task.channel(walk.block))
            step, g = self._step(walk.row + t, here, tile), work.g.load(here)
            s, w_A = (kernel.vector(0.0) if walk.is_first else sums.load(here) for sums in (work.s, work.w))
            s, w_A = self._go_back(tile, t, step, g, s, w_A)
            work.s.store(s, here)
            work.w.store(w_A, here)
        for n in range(walk.n_states):
            carry.store(tile.state[n].value, n * lanes)
        self._keep_sums(tile)

    def _go_back(
        self, tile: Tile, t: Index, step: Step, g: Vector, s: Vector, w_A: Vector
    ) -> tuple[Vector, Vector]:
        """Move the gradients of a tile one position back; return s_t and Σ_n w_t A with what they add."""
        count, lanes, carry = len(tile.state), self.work.kernel.lanes, tile.state
        for n in range(count):
            here = (t * count + n) * lanes
            dh = fma(step.C(n), g, carry[n].value)
            self._add_term(tile, "B", t, n, dh, step.delta_u)
            s = fma(dh, step.B(n), s)
            carry[n].value = dh * self.work.decay.load(here)
            w = carry[n].value * self.work.h.load(here)
            self._add_term(tile, "A", t, n, w, step.delta)
            w_A = fma(w, tile.A[n], w_A)
        return s, w_A

    def _tile(self, walk: Walk, state: list[Vector], sums: tuple[str, ...]) -> Tile:
        """Return the tile of a walk, with those of ``sums`` that are not by position."""
        work, kernel, lanes = self.work, self.work.kernel, self.work.kernel.lanes
        offset = (walk.block * work.options.d_state + walk.first) * lanes
        return Tile(
            walk.first,
            offset,
            A=[work.A.load(offset + n * lanes) for n in range(walk.n_states)],
            state=[Variable(kernel, vector) for vector in state],
            sums={
                name: [Variable(kernel, kernel.vector(0.0)) for _ in range(walk.n_states)]
                for name in sums
                if name not in work.options.varying
            },
        )

    def _step(self, row: Index, here: Index, tile: Tile) -> Step:
        """Return what a position brings to a tile."""
        work = self.work

        def read(name: str, constants: Array | None) -> Projection:
            values = None if constants is None else constants[tile.offset]
            return projection(work.task, work.options, name, row, tile.first, values)

        return Step(read("B", work.B), read("C", work.C), work.delta.load(here), work.delta_u.load(here))

    def _add_term(self, tile: Tile, name: str, t: Index, n: int, a: Vector, b: Vector) -> None:
        """Add a b to the gradient of A, B or C at a state of the tile."""
        if name in tile.sums:
            tile.sums[name][n].value = fma(a, b, tile.sums[name][n].value)
        else:
            total = self.work.total(name)[self.work.total_position(t, tile.first)]
            here = n * self.work.kernel.lanes
            total.store(fma(a, b, total.load(here)), here)

    def _keep_sums(self, tile: Tile) -> None:
        """Add what a tile has summed over a chunk to the sums of the task."""
        for name, terms in tile.sums.items():
            total = self.work.total(name)[tile.offset]
            for n, term in enumerate(terms):
                here = n * self.work.kernel.lanes
                total.store(total.load(here) + term.value, here)

    def write_projections(self, row: Index, steps: Index) -> None:
        """Sum dB and dC of a chunk over the lanes, and start them from zero for the next.

        What is written is this task's part of them, (parts, B·L, G, N). Those of constants have other sums.
        """
        work, kernel, lanes = self.work, self.work.kernel, self.work.kernel.lanes
        N, groups = work.options.d_state, kernel.parameter("groups")

        def write_states(t: Index, first: Index, count: int) -> None:
            part_row = work.task.part * kernel.parameter("rows") + row + t
            output = (part_row * groups + work.task.group) * N + first
            mask = None if count == lanes else kernel.first_lanes(kernel.index(count))
            for name in work.options.varying:
                total = work.total(name)
                places = [work.total_position(t, first + n) for n in range(count)]
                kernel.array(f"d{name}").store(
                    lane_sums([total.load(place) for place in places]), output, mask
                )
                for place in places:
                    total.store(kernel.vector(0.0), place)

        with kernel.loop(0, steps) as t:
            for_each_tile(kernel, N, lanes, lambda first, count: write_states(t, first, count))

    def store_sums(self, has_initial_state: bool) -> None:
        """Write this sequence's part of dA (S, D, N), of dB and dC of constants, and dinitial_state."""
        work, kernel, task, N = self.work, self.work.kernel, self.work.task, self.work.options.d_state
        states = N * kernel.lanes
        sources = {f"d{name}": work.total(name) for name in ("A", *work.options.constant)}
        if has_initial_state:
            sources["dinitial_state"] = work.carry
        with kernel.loop(0, task.blocks) as block:
            for name, source in sources.items():
                task.store_columns(block, source[block * states], kernel.array(name)[work.first_state()], N)
