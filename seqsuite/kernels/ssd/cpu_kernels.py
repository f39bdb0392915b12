"""The kernels of Mamba-2's scan: a recurrence whose decay all channels and states of a head share.

With u = Δ x and the logarithm a = Δ A of the decay, forward and backward are::

    h_t = exp(a_t) h_{t-1} + u_t B_tᵀ         y_t  = h_t C_t
    dh_t = dy_t C_tᵀ + exp(a_{t+1}) dh_{t+1}  du_t = dh_t B_t
    dB_t = dh_tᵀ u_t,  dC_t = h_tᵀ dy_t       da_t = exp(a_t) Σ dh_t ∘ h_{t-1}

where h is (P, N) for each head. A vector holds neighbouring channels of one head, and a task is one sequence
and one head. The exponential is taken once a head and position, which leaves three operations a state: so few
that the recurrence is faster here than the matrix products that GPUs need. The backward goes through chunks
from the last to the first and computes each again from the state kept before it, a few states at a time.
"""

from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Variable, Vector
from seqsuite.kernels.llvm.functions import LOG2_E, exp2, fma, lane_sums
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import (
    CHUNK,
    DIVISION,
    Scratch,
    Task,
    fill_zeros,
    for_each_tile,
    locate,
    task_count,
    thread_scratch,
)

INPUTS = ("bc_groups", "u", "u_stride", "a", "B", "B_stride", "C", "C_stride")
FORWARD_PARAMETERS = (*DIVISION, *INPUTS, "initial_state", "y", "final_state", "checkpoints")
BACKWARD_PARAMETERS = (
    *(*DIVISION, "rows", *INPUTS, "checkpoints", "dy", "dfinal_state"),
    *("du", "da", "dB", "dC", "dinitial_state"),
)

# States whose values over a chunk fit the first-level cache beside the sums of dB and dC.
STATES_PER_TILE = 4


@dataclass(frozen=True)
class Options:
    """What a kernel is specialised for.

    Attributes:
        dtype: of everything, "float32" or "float64".
        d_state: N.
        ragged: whether the channels of a head are no multiple of the lanes.
    """

    dtype: str
    d_state: int
    ragged: bool


def forward_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps: states of a head, and u, y and the decays of a chunk."""
    rows = CHUNK * lanes
    return Scratch({"state": options.d_state * lanes, "u": rows, "y": rows}, {"decay": rows})


def backward_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps; see :class:`_Backward`."""
    rows, tile = CHUNK * lanes, min(STATES_PER_TILE, options.d_state) * lanes
    by_block = {"carry": options.d_state * lanes} | dict.fromkeys(("u", "g", "s"), rows)
    sums = {"sum_B": CHUNK * tile, "sum_C": CHUNK * tile}
    return Scratch(by_block, {"decay": rows, "w": rows, "h": (CHUNK + 1) * tile} | sums)


def build_forward(options: Options, save: bool, target: Target) -> Kernel:
    """Describe the forward kernel. With ``save`` it keeps the state before each chunk in ``checkpoints``."""
    kernel = Kernel("ssd_forward", options.dtype, target, FORWARD_PARAMETERS)
    scratch = thread_scratch(kernel)
    with kernel.tasks(task_count(kernel)) as number:
        task = locate(kernel, number, options.ragged)
        scan = _Forward(
            options, kernel, task, **forward_scratch(options, kernel.lanes).arrays(scratch, task.blocks)
        )
        scan.load_states(kernel.array("initial_state"), scan.state)
        with kernel.loop(task.first_chunk, task.last_chunk) as chunk:
            row, steps = task.rows(chunk)
            scan.read_decays(row, steps)
            scan.read_rows("u", scan.u, row, steps)
            with kernel.loop(0, task.blocks) as block:
                scan.run_block(block, chunk, row, steps, save)
            scan.write_rows("y", scan.y, row, steps)
        scan.store_states(scan.state, kernel.array("final_state"))
    return kernel


def build_backward(options: Options, target: Target) -> Kernel:
    """Describe the backward kernel."""
    kernel = Kernel("ssd_backward", options.dtype, target, BACKWARD_PARAMETERS)
    scratch = thread_scratch(kernel)
    with kernel.tasks(task_count(kernel)) as number:
        task = locate(kernel, number, options.ragged)
        scan = _Backward(
            options, kernel, task, **backward_scratch(options, kernel.lanes).arrays(scratch, task.blocks)
        )
        scan.load_states(kernel.array("dfinal_state"), scan.carry)
        with kernel.reverse_loop(task.first_chunk, task.last_chunk) as chunk:
            row, steps = task.rows(chunk)
            scan.read_decays(row, steps)
            scan.read_rows("u", scan.u, row, steps)
            scan.read_rows("dy", scan.g, row, steps)
            scan.run_chunk(chunk, row, steps)
            scan.write_rows("du", scan.s, row, steps)
            scan.write_da(row, steps)
        scan.store_states(scan.carry, kernel.array("dinitial_state"))
    return kernel


@dataclass(frozen=True)
class _Scan:
    """What both directions share."""

    options: Options
    kernel: Kernel
    task: Task

    decay: Array

    def load_states(self, source: Array, destination: Array) -> None:
        """Fetch the head's states from (S, H, P, N) into [block][n][lane]."""
        states = self.options.d_state * self.kernel.lanes
        with self.kernel.loop(0, self.task.blocks) as block:
            source_of_sequence = source[self._first_state()]
            self.task.load_columns(
                block, source_of_sequence, destination[block * states], self.options.d_state
            )

    def store_states(self, source: Array, destination: Array) -> None:
        """Write them back."""
        states = self.options.d_state * self.kernel.lanes
        with self.kernel.loop(0, self.task.blocks) as block:
            of_sequence = destination[self._first_state()]
            self.task.store_columns(block, source[block * states], of_sequence, self.options.d_state)

    def read_decays(self, row: Index, steps: Index) -> None:
        """Compute exp(a) for a chunk, in every lane."""
        kernel = self.kernel
        a = kernel.array("a")
        with kernel.loop(0, steps) as t:
            exponent = a.broadcast((row + t) * kernel.parameter("groups") + self.task.group)
            self.decay.store(exp2(exponent * LOG2_E), t * kernel.lanes)

    def read_rows(self, name: str, destination: Array, row: Index, steps: Index) -> None:
        """Copy a chunk of u or dy, whose rows are far apart, to [block][t][lane]."""
        kernel, task = self.kernel, self.task
        source, stride = kernel.array(name), kernel.parameter("u_stride" if name == "u" else "d_model")
        with kernel.loop(0, steps) as t, kernel.loop(0, task.blocks) as block:
            value = source.load((row + t) * stride + task.channel(block), task.mask(block))
            destination.store(value, self._position(block, t))

    def write_rows(self, name: str, source: Array, row: Index, steps: Index) -> None:
        """Write a chunk of y or du."""
        kernel, task = self.kernel, self.task
        output, stride = kernel.array(name), kernel.parameter("d_model")
        with kernel.loop(0, steps) as t, kernel.loop(0, task.blocks) as block:
            value = source.load(self._position(block, t))
            output.store(value, (row + t) * stride + task.channel(block), task.mask(block))

    def _checkpoint(self, chunk: Index, block: Index) -> Array:
        """Return where the states [n][lane] of a block before a chunk are kept."""
        kernel = self.kernel
        blocks = kernel.parameter("groups") * kernel.parameter("blocks_per_group")
        position = (chunk * blocks + self.task.first_block + block) * self.options.d_state * kernel.lanes
        return kernel.array("checkpoints")[position]

    def _projection(self, name: str, row: Index) -> Array:
        """Return B_t or C_t of the head's group."""
        return self.kernel.array(name)[
            row * self.kernel.parameter(f"{name}_stride") + self._bc_group() * self.options.d_state
        ]

    def _bc_group(self) -> Index:
        kernel = self.kernel
        return self.task.group * kernel.parameter("bc_groups") // kernel.parameter("groups")

    def _first_state(self) -> Index:
        return self.task.sequence * self.kernel.parameter("d_model") * self.options.d_state

    def _position(self, block: Index, t: Index) -> Index:
        return (block * CHUNK + t) * self.kernel.lanes


@dataclass(frozen=True)
class _Forward(_Scan):
    """The forward of one task; ``state`` is [block][n][lane], ``u`` and ``y`` are [block][t][lane]."""

    state: Array
    u: Array
    y: Array

    def run_block(self, block: Index, chunk: Index, row: Index, steps: Index, save: bool) -> None:
        """Run the recurrence of one block of channels through a chunk."""
        kernel, lanes = self.kernel, self.kernel.lanes
        fill_zeros(self.y[self._position(block, kernel.index(0))], CHUNK)

        def run_tile(first: Index, count: int) -> None:
            state = self.state[(block * self.options.d_state + first) * lanes]
            h = [Variable(kernel, state.load(n * lanes)) for n in range(count)]
            if save:
                saved = self._checkpoint(chunk, block)[first * lanes]
                for n in range(count):
                    saved.store(h[n].value, n * lanes)
            with kernel.loop(0, steps) as t:
                B, C = (self._projection(name, row + t)[first] for name in ("B", "C"))
                here = self._position(block, t)
                decay, u, y = self.decay.load(t * lanes), self.u.load(here), self.y.load(here)
                for n in range(count):
                    h[n].value = fma(decay, h[n].value, u * B.broadcast(n))
                    y = fma(h[n].value, C.broadcast(n), y)
                self.y.store(y, here)
            for n in range(count):
                state.store(h[n].value, n * lanes)

        for_each_tile(kernel, self.options.d_state, kernel.target.vector_registers // 2, run_tile)


@dataclass(frozen=True)
class _Backward(_Scan):
    """The backward of one task.

    Its scratch, by layout:

    - [block][n][lane]: ``carry`` (exp(a_{t+1}) dh_{t+1})
    - [block][t][lane]: ``u``, ``g`` (dy), ``s`` (du)
    - [t][lane]: ``decay``, ``w`` (da by lane, to be summed)
    - [t][n][lane] for the tile of states at work: ``h`` (from h_{t-1} of the first position on), ``sum_B``
      and ``sum_C``
    """

    carry: Array
    u: Array
    g: Array
    s: Array
    w: Array
    h: Array
    sum_B: Array
    sum_C: Array

    def run_chunk(self, chunk: Index, row: Index, steps: Index) -> None:
        """Run all states of a chunk forward once more and their gradients back."""
        kernel, blocks = self.kernel, self.task.blocks
        fill_zeros(self.s, blocks * CHUNK)
        fill_zeros(self.w, CHUNK)

        def run_tile(first: Index, count: int) -> None:
            fill_zeros(self.sum_B, CHUNK * count)
            fill_zeros(self.sum_C, CHUNK * count)
            with kernel.loop(0, blocks) as block:
                self._recompute_states(block, chunk, row, steps, first, count)
                self._run_states_back(block, row, steps, first, count)
            self._write_projections(row, steps, first, count)

        for_each_tile(kernel, self.options.d_state, min(STATES_PER_TILE, self.options.d_state), run_tile)

    def _recompute_states(
        self, block: Index, chunk: Index, row: Index, steps: Index, first: Index, count: int
    ) -> None:
        kernel, lanes = self.kernel, self.kernel.lanes
        saved = self._checkpoint(chunk, block)[first * lanes]
        h = [Variable(kernel, saved.load(n * lanes)) for n in range(count)]
        for n in range(count):
            self.h.store(h[n].value, n * lanes)
        with kernel.loop(0, steps) as t:
            B = self._projection("B", row + t)[first]
            decay, u = self.decay.load(t * lanes), self.u.load(self._position(block, t))
            for n in range(count):
                h[n].value = fma(decay, h[n].value, u * B.broadcast(n))
                self.h.store(h[n].value, ((t + 1) * count + n) * lanes)

    def _run_states_back(self, block: Index, row: Index, steps: Index, first: Index, count: int) -> None:
        kernel, lanes = self.kernel, self.kernel.lanes
        kept = self.carry[(block * self.options.d_state + first) * lanes]
        carry = [Variable(kernel, kept.load(n * lanes)) for n in range(count)]
        with kernel.reverse_loop(0, steps) as t:
            B, C = (self._projection(name, row + t)[first] for name in ("B", "C"))
            here, decay = self._position(block, t), self.decay.load(t * lanes)
            g, u, s = (array.load(here) for array in (self.g, self.u, self.s))
            w = self.w.load(t * lanes)
            for n in range(count):
                before, after = (t * count + n) * lanes, ((t + 1) * count + n) * lanes
                dh = fma(C.broadcast(n), g, carry[n].value)
                _add_product(self.sum_C, before, g, self.h.load(after))
                _add_product(self.sum_B, before, dh, u)
                s = fma(dh, B.broadcast(n), s)
                carry[n].value = dh * decay
                w = fma(carry[n].value, self.h.load(before), w)
            self.s.store(s, here)
            self.w.store(w, t * lanes)
        for n in range(count):
            kept.store(carry[n].value, n * lanes)

    def _write_projections(self, row: Index, steps: Index, first: Index, count: int) -> None:
        """Sum dB and dC of a tile over the lanes and write the head's part of them, (H / G, B·L, G, N)."""
        kernel, lanes, N = self.kernel, self.kernel.lanes, self.options.d_state
        bc_groups = kernel.parameter("bc_groups")
        part = self.task.group % (kernel.parameter("groups") // bc_groups)
        mask = None if count == lanes else kernel.first_lanes(kernel.index(count))
        with kernel.loop(0, steps) as t:
            part_row = part * kernel.parameter("rows") + row + t
            output = (part_row * bc_groups + self._bc_group()) * N + first
            for name, terms in (("dB", self.sum_B), ("dC", self.sum_C)):
                here = terms[t * count * lanes]
                sums = lane_sums([here.load(n * lanes) for n in range(count)])
                kernel.array(name).store(sums, output, mask)

    def write_da(self, row: Index, steps: Index) -> None:
        """Sum da over the lanes and write it."""
        kernel = self.kernel
        first = kernel.first_lanes(kernel.index(1))
        with kernel.loop(0, steps) as t:
            output = (row + t) * kernel.parameter("groups") + self.task.group
            kernel.array("da").store(lane_sums([self.w.load(t * kernel.lanes)]), output, first)


def _add_product(total: Array, index: Index, a: Vector, b: Vector) -> None:
    total.store(fma(a, b, total.load(index)), index)
