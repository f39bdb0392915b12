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

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Variable
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

# Of this many states of this many blocks of channels the backward keeps the gradients in registers, and the
# values over a chunk in the first-level cache. The more blocks, the fewer terms of dB and dC go to memory.
STATES_PER_TILE = 2
BLOCKS_PER_TILE = 4


@dataclass(frozen=True)
class Options:
    """What a kernel is specialised for.

    Attributes:
        dtype: of everything, "float32" or "float64".
        width: P.
        d_state: N.
        ragged: whether the channels of a head are no multiple of the lanes.
    """

    dtype: str
    width: int
    d_state: int
    ragged: bool


def forward_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps: states of a head, and u, y and the decays of a chunk."""
    rows = CHUNK * lanes
    return Scratch({"state": options.d_state * lanes, "u": rows, "y": rows}, {"decay": rows})


def backward_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps; see :class:`_Backward`."""
    rows, states = CHUNK * lanes, options.d_state * lanes
    by_block = {"carry": states} | dict.fromkeys(("u", "g", "s"), rows)
    tile = {"h": (CHUNK + 1) * STATES_PER_TILE * BLOCKS_PER_TILE * lanes}
    return Scratch(
        by_block, {"decay": rows, "w": rows, "sum_B": CHUNK * states, "sum_C": CHUNK * states} | tile
    )


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
    - [t][n][lane]: ``sum_B`` and ``sum_C``
    - [t][block][n][lane] for the tile at work: ``h`` (from h_{t-1} of the first position on)
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
        kernel, d_state = self.kernel, self.options.d_state
        blocks = -(-self.options.width // kernel.lanes)
        several = blocks > BLOCKS_PER_TILE
        if several:
            fill_zeros(self.sum_B, CHUNK * d_state)
            fill_zeros(self.sum_C, CHUNK * d_state)
        fill_zeros(self.s, blocks * CHUNK)
        fill_zeros(self.w, CHUNK)

        def run_blocks(block: Index, block_count: int) -> None:
            def run_tile(first: Index, count: int) -> None:
                tile = _Tile(block, block_count, first, count)
                self._recompute_states(tile, chunk, row, steps)
                self._run_states_back(tile, row, steps, several)

            for_each_tile(kernel, d_state, STATES_PER_TILE, run_tile)

        for_each_tile(kernel, blocks, BLOCKS_PER_TILE, run_blocks)
        self._write_projections(row, steps)

    def _recompute_states(self, tile: "_Tile", chunk: Index, row: Index, steps: Index) -> None:
        kernel, lanes = self.kernel, self.kernel.lanes
        saved = [self._checkpoint(chunk, block)[tile.first * lanes] for block in tile.blocks]
        h = [[Variable(kernel, s.load(n * lanes)) for n in range(tile.count)] for s in saved]
        for b, n in tile.members:
            self.h.store(h[b][n].value, tile.position(0, b, n) * lanes)
        with kernel.loop(0, steps) as t:
            B = self._projection("B", row + t)[tile.first]
            decay = self.decay.load(t * lanes)
            u = [self.u.load(self._position(block, t)) for block in tile.blocks]
            for b, n in tile.members:
                h[b][n].value = fma(decay, h[b][n].value, u[b] * B.broadcast(n))
                self.h.store(h[b][n].value, tile.position(t + 1, b, n) * lanes)

    def _run_states_back(self, tile: "_Tile", row: Index, steps: Index, add: bool) -> None:
        """Run back over a chunk; ``add`` to the sums that other blocks have contributed to."""
        kernel, lanes, d_state = self.kernel, self.kernel.lanes, self.options.d_state
        kept = [self.carry[(block * d_state + tile.first) * lanes] for block in tile.blocks]
        carry = [[Variable(kernel, k.load(n * lanes)) for n in range(tile.count)] for k in kept]
        with kernel.reverse_loop(0, steps) as t:
            B, C = (self._projection(name, row + t)[tile.first] for name in ("B", "C"))
            here = [self._position(block, t) for block in tile.blocks]
            g, u, s = ([array.load(i) for i in here] for array in (self.g, self.u, self.s))
            decay, w = self.decay.load(t * lanes), self.w.load(t * lanes)
            for n in range(tile.count):
                sums = (t * d_state + tile.first + n) * lanes
                zero = kernel.vector(0.0)
                sum_B, sum_C = (x.load(sums) if add else zero for x in (self.sum_B, self.sum_C))
                for b in range(len(here)):
                    dh = fma(C.broadcast(n), g[b], carry[b][n].value)
                    sum_C = fma(g[b], self.h.load(tile.position(t + 1, b, n) * lanes), sum_C)
                    sum_B = fma(dh, u[b], sum_B)
                    s[b] = fma(dh, B.broadcast(n), s[b])
                    carry[b][n].value = dh * decay
                    w = fma(carry[b][n].value, self.h.load(tile.position(t, b, n) * lanes), w)
                self.sum_B.store(sum_B, sums)
                self.sum_C.store(sum_C, sums)
            for i, value in zip(here, s, strict=True):
                self.s.store(value, i)
            self.w.store(w, t * lanes)
        for b, n in tile.members:
            kept[b].store(carry[b][n].value, n * lanes)

    def _write_projections(self, row: Index, steps: Index) -> None:
        """Sum dB and dC of a chunk over the lanes and write the head's part of them, (H / G, B·L, G, N)."""
        kernel, lanes, N = self.kernel, self.kernel.lanes, self.options.d_state
        bc_groups = kernel.parameter("bc_groups")
        part = self.task.group % (kernel.parameter("groups") // bc_groups)

        def write_states(t: Index, first: Index, count: int) -> None:
            part_row = part * kernel.parameter("rows") + row + t
            output = (part_row * bc_groups + self._bc_group()) * N + first
            mask = None if count == lanes else kernel.first_lanes(kernel.index(count))
            for name, terms in (("dB", self.sum_B), ("dC", self.sum_C)):
                here = terms[(t * N + first) * lanes]
                sums = lane_sums([here.load(n * lanes) for n in range(count)])
                kernel.array(name).store(sums, output, mask)

        with kernel.loop(0, steps) as t:
            for_each_tile(kernel, N, lanes, lambda first, count: write_states(t, first, count))

    def write_da(self, row: Index, steps: Index) -> None:
        """Sum da over the lanes and write it."""
        kernel = self.kernel
        first = kernel.first_lanes(kernel.index(1))
        with kernel.loop(0, steps) as t:
            output = (row + t) * kernel.parameter("groups") + self.task.group
            kernel.array("da").store(lane_sums([self.w.load(t * kernel.lanes)]), output, first)


class _Tile:
    """Some states of some blocks, from state ``first`` and the first of ``blocks`` on."""

    def __init__(self, block: Index, block_count: int, first: Index, count: int) -> None:
        self.blocks = [block + b for b in range(block_count)]
        self.first, self.count = first, count
        self.members = [(b, n) for b in range(block_count) for n in range(count)]

    def position(self, t: Index | int, b: int, n: int) -> Index | int:
        """Return the number of a vector of [t][block][n]."""
        return t * len(self.members) + (b * self.count + n)
