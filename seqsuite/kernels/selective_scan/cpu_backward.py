"""The backward kernel: chunks from the last to the first, each recomputed from the state kept before it.

With g_t the gradient of y_t before the gate, dh_t that of the state and a_t = exp(Δ_t A)::

    dh_t = C_t g_t + a_{t+1} dh_{t+1}        dC_t = Σ_d g_t h_t        dB_t = Σ_d dh_t Δ_t u_t
    s_t  = Σ_n dh_t B_t                      w_t  = dh_t a_t h_{t-1}   dA   = Σ_t w_t Δ_t
    du_t = Δ_t s_t + D g_t                   dΔ_t = u_t s_t + Σ_n w_t A
    dz_t = dy_t y_t silu'(z_t)               dD   = Σ_t g_t u_t

Vectors hold neighbouring channels, as in the forward. Only dB and dC sum over channels: their terms are
collected by lane over all blocks of a task and summed over the lanes once a chunk; tasks write parts, to be
added afterwards. Where B or C is a constant of each channel, its gradient is summed over time instead, as dA.
"""

import math
from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Mask, Variable, Vector
from seqsuite.kernels.llvm.functions import exp2, exp_minus_abs, fma, lane_sums, sigmoid
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import (
    CHUNK,
    DIVISION,
    Task,
    fill_zeros,
    for_each_tile,
    locate,
    task_count,
    thread_scratch,
)
from seqsuite.kernels.selective_scan.cpu_forward import (
    checkpoint,
    load_constants,
    load_decay_rates,
    step_size,
)
from seqsuite.kernels.selective_scan.cpu_layout import (
    Options,
    Step,
    backward_scratch,
    load_input,
    padded_states,
    prefetch_inputs,
    projection,
    states_per_tile,
)

PARAMETERS = (
    *DIVISION,
    *("rows", "u", "u_stride", "delta", "delta_stride", "A", "B", "B_stride", "C", "C_stride"),
    *("D", "z", "z_stride", "delta_bias", "checkpoints", "dy", "dfinal_state"),
    *("du", "ddelta", "dA", "dB", "dC", "dD", "dz", "dz_stride", "ddelta_bias", "dinitial_state", "y"),
)


def build_backward(
    scan_class: type["Backward"],
    options: Options,
    has_initial_state: bool,
    has_dfinal_state: bool,
    writes_y: bool,
    target: Target,
) -> Kernel:
    """Describe the kernel. With ``writes_y`` it writes the gated output of the forward once more.

    ``scan_class`` takes the steps: :class:`Backward`, or the kind of it in ``cpu_complex``.
    """
    kernel = Kernel("selective_scan_backward", options.dtype, target, PARAMETERS)
    scratch = thread_scratch(kernel)
    with kernel.tasks(task_count(kernel)) as number:
        task = locate(kernel, number, options.ragged)
        arrays = backward_scratch(options, kernel.lanes).arrays(scratch, task.blocks)
        scan = scan_class(options, kernel, task, **arrays)
        scan.load_parameters(has_dfinal_state)
        with kernel.reverse_loop(task.first_chunk, task.last_chunk) as chunk:
            row, steps = task.rows(chunk)
            scan.read_rows(row, steps)
            scan.run_states(chunk, row, steps)
            scan.write_rows(row, steps, writes_y)
            scan.write_projections(row, steps)
        scan.store_parameter_gradients(has_initial_state)
    return kernel


@dataclass(frozen=True)
class Tile:
    """States of one block on their way back through a chunk.

    Attributes:
        first: number of the first state.
        offset: where it is in arrays [block][n][lane].
        A: times log2 e; imaginary parts as they are.
        carry: a_{t+1} dh_{t+1}.
        sums: of the gradients of A and of the constants among B and C, by name. Summed by chunks: over a long
            sequence, adding each small term to the whole sum would lose digits.
    """

    first: Index
    offset: Index
    A: list[Vector]
    carry: list[Variable]
    sums: dict[str, list[Variable]]


@dataclass(frozen=True)
class Backward:
    """The steps of one task.

    Its scratch, by layout:

    - [block][n][lane]: ``A`` (times log2 e), ``carry`` (a_{t+1} dh_{t+1}), ``sum_A``; ``B``, ``C``, ``sum_B``
      and ``sum_C`` where they are constant
    - [block][t][lane]: ``delta``, ``slope`` (of Δ by the raw step size), ``delta_u``, ``g``, ``s``, ``w``
      (Σ_n w_t A log2 e), ``y``
    - [block][lane]: ``sum_D``, ``sum_bias``
    - [t][n][lane] for the tile of states at work: ``decay``, ``h`` (from h_{t-1} of the first position on)
    - [tile][t][n][lane]: ``sum_B``, ``sum_C`` where they are not
    """

    options: Options
    kernel: Kernel
    task: Task
    A: Array
    carry: Array
    sum_A: Array
    delta: Array
    slope: Array
    delta_u: Array
    g: Array
    s: Array
    w: Array
    y: Array
    sum_D: Array
    sum_bias: Array
    decay: Array
    h: Array
    sum_B: Array
    sum_C: Array
    B: Array | None = None
    C: Array | None = None

    def load_parameters(self, has_dfinal_state: bool) -> None:
        """Fetch A, start the carry from the final state's gradient and the sums from zero."""
        kernel, N, blocks = self.kernel, self.options.d_state, self.task.blocks
        states = N * kernel.lanes
        with kernel.loop(0, blocks) as block:
            load_decay_rates(self.task, block, self.A[block * states], self.options)
            load_constants(self.task, block, {"B": self.B, "C": self.C}, N)
            if has_dfinal_state:
                source = kernel.array("dfinal_state")[self._first_state()]
                self.task.load_columns(block, source, self.carry[block * states], N)
            else:
                fill_zeros(self.carry[block * states], N)
        fill_zeros(self.sum_A, blocks * N)
        for name in self.options.constant:
            fill_zeros(self._sum(name), blocks * N)
        fill_zeros(self.sum_D, blocks)
        fill_zeros(self.sum_bias, blocks)

    def read_rows(self, row: Index, steps: Index) -> None:
        """Recompute Δ, Δu and D u for a chunk, and g from dy."""
        kernel, options, task = self.kernel, self.options, self.task
        for name in self._varying():
            fill_zeros(self._sum(name), CHUNK * padded_states(options))
        with kernel.loop(0, steps) as t, kernel.loop(0, task.blocks) as block:
            channel, mask, here = task.channel(block), task.mask(block), self._position(block, t)
            u = load_input(task, options, "u", row + t, channel, mask)
            raw = load_input(task, options, "delta", row + t, channel, mask)
            bias = kernel.array("delta_bias").load(channel, mask) if options.has_bias else None
            prefetch_inputs(task, options, row + t - CHUNK, channel)
            self._prefetch_gradients(row + t, channel)
            delta, slope = step_size(options, raw, bias)
            if slope is not None:
                self.slope.store(slope, here)
            g = self._dy(row + t, channel, mask)
            if options.z_dtype is not None:
                z = load_input(task, options, "z", row + t, channel, mask)
                g = g * (z * sigmoid(z, exp_minus_abs(z)))
                skip = kernel.array("D").load(channel, mask) * u if options.has_skip else kernel.vector(0.0)
                self.y.store(skip, here)
            self.delta.store(delta, here)
            self.delta_u.store(delta * u, here)
            self.g.store(g, here)
            self.s.store(kernel.vector(0.0), here)
            self.w.store(kernel.vector(0.0), here)

    def _prefetch_gradients(self, row: Index, channel: Index) -> None:
        """Ask for the next row of dy to read and for this row of what will be written."""
        self._output("dy", self.options.u_dtype, row - CHUNK).prefetch(channel)
        for name, dtype in self.options.inputs.items():
            self._output(f"d{name}", dtype, row).prefetch(channel, write=True)

    def run_states(self, chunk: Index, row: Index, steps: Index) -> None:
        """Run the states of all blocks forward through a chunk, and their gradients back.

        Tile by tile, and not block by block: a tile's part of ``sum_B`` and ``sum_C`` then stays in the
        first-level cache from one block to the next.
        """

        def run_tile(first: Index, count: int) -> None:
            with self.kernel.loop(0, self.task.blocks) as block:
                self._recompute_states(block, chunk, row, steps, first, count)
                self._run_states_back(block, row, steps, first, count)

        for_each_tile(self.kernel, self.options.d_state, states_per_tile(self.options), run_tile)

    def _recompute_states(
        self, block: Index, chunk: Index, row: Index, steps: Index, first: Index, count: int
    ) -> None:
        kernel, lanes, gated = self.kernel, self.kernel.lanes, self.options.z_dtype is not None
        saved = checkpoint(kernel, self.task, self.options, chunk, block)[first * lanes]
        A = [self.A.load((block * self.options.d_state + first + n) * lanes) for n in range(count)]
        h = [Variable(kernel, saved.load(n * lanes)) for n in range(count)]
        for n in range(count):
            self.h.store(h[n].value, n * lanes)
        offset = (block * self.options.d_state + first) * lanes
        with kernel.loop(0, steps) as t:
            here = self._position(block, t)
            step = self._step(row + t, here, first, offset)
            y = self._advance(t, h, A, step, self.y.load(here) if gated else None)
            if y is not None:
                self.y.store(y, here)

    def _advance(
        self, t: Index, h: list[Variable], A: list[Vector], step: Step, y: Vector | None
    ) -> Vector | None:
        """Move a tile one position on, keep its states and decays, and return y with what they add."""
        count, lanes = len(h), self.kernel.lanes
        for n in range(count):
            decay = exp2(step.delta * A[n])
            h[n].value = fma(decay, h[n].value, step.delta_u * step.B(n))
            self.decay.store(decay, (t * count + n) * lanes)
            self.h.store(h[n].value, ((t + 1) * count + n) * lanes)
            if y is not None:
                y = fma(h[n].value, step.C(n), y)
        return y

    def _run_states_back(self, block: Index, row: Index, steps: Index, first: Index, count: int) -> None:
        kernel, lanes = self.kernel, self.kernel.lanes
        offset = (block * self.options.d_state + first) * lanes
        tile = Tile(
            first,
            offset,
            A=[self.A.load(offset + n * lanes) for n in range(count)],
            carry=[Variable(kernel, self.carry.load(offset + n * lanes)) for n in range(count)],
            sums={
                name: [Variable(kernel, kernel.vector(0.0)) for _ in range(count)]
                for name in ("A", *self.options.constant)
            },
        )
        with kernel.reverse_loop(0, steps) as t:
            here = self._position(block, t)
            step, g = self._step(row + t, here, first, offset), self.g.load(here)
            s, w_A = self._go_back(tile, t, step, g, self.s.load(here), self.w.load(here))
            self.s.store(s, here)
            self.w.store(w_A, here)
        for n in range(count):
            self.carry.store(tile.carry[n].value, offset + n * lanes)
            for name, terms in tile.sums.items():
                total = self._sum(name)
                total.store(total.load(offset + n * lanes) + terms[n].value, offset + n * lanes)

    def _go_back(
        self, tile: Tile, t: Index, step: Step, g: Vector, s: Vector, w_A: Vector
    ) -> tuple[Vector, Vector]:
        """Move the gradients of a tile one position back; return s_t and Σ_n w_t A with what they add."""
        count, lanes, carry = len(tile.carry), self.kernel.lanes, tile.carry
        for n in range(count):
            before, after = (t * count + n) * lanes, ((t + 1) * count + n) * lanes
            dh = fma(step.C(n), g, carry[n].value)
            self._add_term(tile, "C", t, n, g, self.h.load(after))
            self._add_term(tile, "B", t, n, dh, step.delta_u)
            s = fma(dh, step.B(n), s)
            carry[n].value = dh * self.decay.load(before)
            w = carry[n].value * self.h.load(before)
            self._add_term(tile, "A", t, n, w, step.delta)
            w_A = fma(w, tile.A[n], w_A)
        return s, w_A

    def _add_term(self, tile: Tile, name: str, t: Index, n: int, a: Vector, b: Vector) -> None:
        """Add a b to the gradient of A, B or C at a state of the tile."""
        if name in tile.sums:
            tile.sums[name][n].value = fma(a, b, tile.sums[name][n].value)
        else:
            total = self._sum(name)[self._sum_position(t, tile.first)]
            here = n * self.kernel.lanes
            total.store(fma(a, b, total.load(here)), here)

    def write_rows(self, row: Index, steps: Index, writes_y: bool) -> None:
        """Write du, ddelta and dz of a chunk, and add to the gradients of D and the bias."""
        kernel, options, task = self.kernel, self.options, self.task
        with kernel.loop(0, task.blocks) as block:
            channel, mask = task.channel(block), task.mask(block)
            dD, ddelta_bias = (Variable(kernel, kernel.vector(0.0)) for _ in range(2))
            with kernel.loop(0, steps) as t:
                here = self._position(block, t)
                u = load_input(task, options, "u", row + t, channel, mask)
                g, s = self.g.load(here), self.s.load(here)
                du = self.delta.load(here) * s
                if options.has_skip:
                    du = fma(g, kernel.array("D").load(channel, mask), du)
                    dD.value = fma(g, u, dD.value)
                ddelta = fma(u, s, self.w.load(here) * math.log(2))
                if options.delta_softplus:
                    ddelta = ddelta * self.slope.load(here)
                ddelta_bias.value = ddelta_bias.value + ddelta
                self._output("du", options.u_dtype, row + t).store(du, channel, mask)
                self._output("ddelta", options.delta_dtype, row + t).store(ddelta, channel, mask)
                if options.z_dtype is not None:
                    z = load_input(task, options, "z", row + t, channel, mask)
                    gate = sigmoid(z, exp_minus_abs(z))
                    slope = gate * fma(z, 1.0 - gate, 1.0)
                    y = self.y.load(here)
                    dz = self._dy(row + t, channel, mask) * y * slope
                    self._output("dz", options.z_dtype, row + t).store(dz, channel, mask)
                    if writes_y:
                        self._output("y", options.u_dtype, row + t).store(y * (z * gate), channel, mask)
            for total, part in ((self.sum_D, dD), (self.sum_bias, ddelta_bias)):
                total.store(total.load(block * kernel.lanes) + part.value, block * kernel.lanes)

    def write_projections(self, row: Index, steps: Index) -> None:
        """Sum dB and dC of a chunk over the lanes and write this task's part of them, (parts, B·L, G, N).

        Those of constants have other sums.
        """
        kernel, lanes, N = self.kernel, self.kernel.lanes, self.options.d_state
        groups = kernel.parameter("groups")

        def write_states(t: Index, first: Index, count: int) -> None:
            part_row = self.task.part * kernel.parameter("rows") + row + t
            output = (part_row * groups + self.task.group) * N + first
            mask = None if count == lanes else kernel.first_lanes(kernel.index(count))
            for name in self._varying():
                total = self._sum(name)
                sums = lane_sums([total.load(self._sum_position(t, first + n)) for n in range(count)])
                kernel.array(f"d{name}").store(sums, output, mask)

        with kernel.loop(0, steps) as t:
            for_each_tile(kernel, N, lanes, lambda first, count: write_states(t, first, count))

    def store_parameter_gradients(self, has_initial_state: bool) -> None:
        """Write this sequence's part of dA (S, D, N), dD and ddelta_bias (S, D), and dinitial_state.

        Of dB and dC too, where B and C are constants (D, N).
        """
        kernel, N, task = self.kernel, self.options.d_state, self.task
        states = N * kernel.lanes
        with kernel.loop(0, task.blocks) as block:
            for name in ("A", *self.options.constant):
                output = kernel.array(f"d{name}")[self._first_state()]
                task.store_columns(block, self._sum(name)[block * states], output, N)
            if has_initial_state:
                output = kernel.array("dinitial_state")[self._first_state()]
                task.store_columns(block, self.carry[block * states], output, N)
            channel = task.sequence * kernel.parameter("d_model") + task.channel(block)
            for name, total, present in (
                ("dD", self.sum_D, self.options.has_skip),
                ("ddelta_bias", self.sum_bias, self.options.has_bias),
            ):
                if present:
                    output = kernel.array(name)
                    output.store(total.load(block * kernel.lanes), channel, task.mask(block))

    def _step(self, row: Index, here: Index, first: Index, offset: Index) -> Step:
        """Return what a position brings to the states from ``first`` on, at ``offset`` among constants."""
        B, C = (
            projection(self.task, self.options, name, row, first, None if array is None else array[offset])
            for name, array in (("B", self.B), ("C", self.C))
        )
        return Step(B, C, self.delta.load(here), self.delta_u.load(here))

    def _sum(self, name: str) -> Array:
        """Return the memory for the gradient of A, B or C."""
        return {"A": self.sum_A, "B": self.sum_B, "C": self.sum_C}[name]

    def _sum_position(self, t: Index, n: Index) -> Index:
        """Return where the gradient of state n at position t is in ``sum_B`` and ``sum_C``."""
        tile = states_per_tile(self.options)
        return ((n // tile * CHUNK + t) * tile + n % tile) * self.kernel.lanes

    def _varying(self) -> list[str]:
        """Return which of B and C are not constant."""
        return [name for name in ("B", "C") if name not in self.options.constant]

    def _first_state(self) -> Index:
        return self.task.sequence * self.kernel.parameter("d_model") * self.options.d_state

    def _position(self, block: Index, t: Index) -> Index:
        return (block * CHUNK + t) * self.kernel.lanes

    def _dy(self, row: Index, channel: Index, mask: Mask | None) -> Vector:
        return self._output("dy", self.options.u_dtype, row).load(channel, mask)

    def _output(self, name: str, dtype: str, row: Index) -> Array:
        """Return a row of y, dy or a gradient (B, L, D); that of z may lie in a wider tensor."""
        kernel = self.kernel
        stride = kernel.parameter("dz_stride" if name == "dz" else "d_model")
        return kernel.array(name, dtype)[row * stride]
