"""The forward kernel: h_t = exp(Δ_t A) h_{t-1} + Δ_t u_t B_t and y_t = (C_t · h_t + D u_t) silu(z_t).

A vector holds one number of each of ``lanes`` neighbouring channels, so no sum over lanes is ever needed. A
chunk of rows is read once for Δ and Δu, then each block of channels runs through the chunk with its states in
registers, and then the rows are gated and written.
"""

from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Variable, Vector
from seqsuite.kernels.llvm.functions import LOG2_E, exp2, exp_minus_abs, fma, sigmoid, softplus
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import (
    DIVISION,
    Task,
    fill_zeros,
    for_each_tile,
    locate,
    task_count,
    thread_scratch,
)
from seqsuite.kernels.selective_scan.cpu_layout import (
    CHUNK,
    Options,
    Step,
    forward_scratch,
    load_input,
    prefetch_inputs,
    projection,
)

PARAMETERS = (
    *DIVISION,
    *("u", "u_stride", "delta", "delta_stride", "A", "B", "B_stride", "C", "C_stride"),
    *("D", "z", "z_stride", "delta_bias", "initial_state", "y", "final_state", "checkpoints"),
)


def build_forward(
    scan_class: type["Forward"], options: Options, has_initial_state: bool, save: bool, target: Target
) -> Kernel:
    """Describe the kernel. With ``save`` it keeps the state before each chunk in ``checkpoints``.

    ``scan_class`` takes the steps: :class:`Forward`, or the kind of it in ``cpu_complex``.
    """
    kernel = Kernel("selective_scan_forward", options.dtype, target, PARAMETERS)
    scratch = thread_scratch(kernel)
    with kernel.tasks(task_count(kernel)) as number:
        task = locate(kernel, number, CHUNK, options.ragged)
        arrays = forward_scratch(options, kernel.lanes).arrays(scratch, task.blocks)
        scan = scan_class(options, save, kernel, task, **arrays)
        scan.load_parameters(has_initial_state)
        with kernel.loop(task.first_chunk, task.last_chunk) as chunk:
            row, steps = task.rows(chunk)
            scan.read_rows(row, steps)
            with kernel.loop(0, task.blocks) as block:
                scan.run_block(block, chunk, row, steps)
            scan.write_rows(row, steps)
        scan.store_final_state()
    return kernel


def step_size(options: Options, raw: Vector, bias: Vector | None) -> tuple[Vector, Vector | None]:
    """Return Δ and, where it is a softplus, its derivative by the raw step size."""
    if bias is not None:
        raw = raw + bias
    if not options.delta_softplus:
        return raw, None
    # An error of Δ turns a complex state, which may keep it over many turns, while a real one decays.
    e = exp_minus_abs(raw, more_degrees=1 if options.complex else 0)
    return softplus(raw, e), sigmoid(raw, e)


def checkpoint(kernel: Kernel, task: Task, options: Options, chunk: Index, block: Index) -> Array:
    """Return where the states [n][lane] of a block before a chunk are kept."""
    blocks = kernel.parameter("groups") * kernel.parameter("blocks_per_group")
    position = (chunk * blocks + task.first_block + block) * options.d_state * kernel.lanes
    return kernel.array("checkpoints")[position]


@dataclass(frozen=True)
class Forward:
    """The steps of one task; the arrays are its scratch, [block][n][lane] or [block][t][lane]."""

    options: Options
    save: bool
    kernel: Kernel
    task: Task
    A: Array
    state: Array
    delta: Array
    delta_u: Array
    y: Array
    B: Array | None = None
    C: Array | None = None

    def load_parameters(self, has_initial_state: bool) -> None:
        """Fetch A, times log2(e) so that exp(Δ A) = exp2(Δ A'), constant B and C, and the initial state."""
        kernel, N = self.kernel, self.options.d_state
        states = N * kernel.lanes
        first_state = self.task.sequence * kernel.parameter("d_model") * N
        with kernel.loop(0, self.task.blocks) as block:
            load_decay_rates(self.task, block, self.A[block * states], self.options)
            load_constants(self.task, block, {"B": self.B, "C": self.C}, N)
            if has_initial_state:
                source = kernel.array("initial_state")[first_state]
                self.task.load_columns(block, source, self.state[block * states], N)
            else:
                fill_zeros(self.state[block * states], N)

    def read_rows(self, row: Index, steps: Index) -> None:
        """Compute Δ, Δu and D u for a chunk."""
        kernel, options, task = self.kernel, self.options, self.task
        with kernel.loop(0, steps) as t, kernel.loop(0, task.blocks) as block:
            channel, mask, here = task.channel(block), task.mask(block), self._position(block, t)
            u = load_input(task, options, "u", row + t, channel, mask)
            raw = load_input(task, options, "delta", row + t, channel, mask)
            bias = kernel.array("delta_bias").load(channel, mask) if options.has_bias else None
            delta, _ = step_size(options, raw, bias)
            skip = kernel.array("D").load(channel, mask) * u if options.has_skip else kernel.vector(0.0)
            self.delta.store(delta, here)
            self.delta_u.store(delta * u, here)
            self.y.store(skip, here)

    def run_block(self, block: Index, chunk: Index, row: Index, steps: Index) -> None:
        """Run the recurrence of one block of channels through a chunk."""
        kernel, N = self.kernel, self.options.d_state
        tile = min(kernel.target.vector_registers // 2, N)
        self._run_states(block, chunk, row, steps, kernel.index(0), tile, True)

        def run_tile(first: Index, count: int) -> None:
            self._run_states(block, chunk, row, steps, first + tile, count, False)

        for_each_tile(kernel, N - tile, tile, run_tile)

    def _run_states(
        self, block: Index, chunk: Index, row: Index, steps: Index, first: Index, count: int, is_first: bool
    ) -> None:
        kernel, lanes = self.kernel, self.kernel.lanes
        offset = (block * self.options.d_state + first) * lanes
        A, state = self.A[offset], self.state[offset]
        h = [Variable(kernel, state.load(n * lanes)) for n in range(count)]
        if self.save:
            saved = checkpoint(kernel, self.task, self.options, chunk, block)[first * lanes]
            for n in range(count):
                saved.store(h[n].value, n * lanes)
        with kernel.loop(0, steps) as t:
            B, C = (
                projection(
                    self.task, self.options, name, row + t, first, None if array is None else array[offset]
                )
                for name, array in (("B", self.B), ("C", self.C))
            )
            here = self._position(block, t)
            if is_first:
                self._prefetch(row + t, self.task.channel(block))
            step = Step(B, C, self.delta.load(here), self.delta_u.load(here))
            self.y.store(self._advance(h, A, step, self.y.load(here)), here)
        for n in range(count):
            state.store(h[n].value, n * lanes)

    def _prefetch(self, row: Index, channel: Index) -> None:
        """Ask for what the next chunk reads of a row, and for what this one will write."""
        prefetch_inputs(self.task, self.options, row + CHUNK, channel)
        output = self.kernel.array("y", self.options.u_dtype)
        output.prefetch(row * self.kernel.parameter("d_model") + channel, write=True)

    def _advance(self, h: list[Variable], A: Array, step: Step, y: Vector) -> Vector:
        """Move a tile of states one position on and return y with what they add to it."""
        for n in range(len(h)):
            decay = exp2(step.delta * A.load(n * self.kernel.lanes))
            h[n].value = fma(decay, h[n].value, step.delta_u * step.B(n))
            y = fma(h[n].value, step.C(n), y)
        return y

    def write_rows(self, row: Index, steps: Index) -> None:
        """Gate y and write it."""
        kernel, options, task = self.kernel, self.options, self.task
        output = kernel.array("y", options.u_dtype)
        with kernel.loop(0, steps) as t, kernel.loop(0, task.blocks) as block:
            channel, mask = task.channel(block), task.mask(block)
            y = self.y.load(self._position(block, t))
            if options.z_dtype is not None:
                z = load_input(task, options, "z", row + t, channel, mask)
                y = y * (z * sigmoid(z, exp_minus_abs(z)))
            output.store(y, (row + t) * kernel.parameter("d_model") + channel, mask)

    def store_final_state(self) -> None:
        """Write the state after the last position."""
        kernel, N = self.kernel, self.options.d_state
        first_state = self.task.sequence * kernel.parameter("d_model") * N
        with kernel.loop(0, self.task.blocks) as block:
            source = self.state[block * N * kernel.lanes]
            self.task.store_columns(block, source, kernel.array("final_state")[first_state], N)

    def _position(self, block: Index, t: Index) -> Index:
        return (block * CHUNK + t) * self.kernel.lanes


def load_constants(task: Task, block: Index, arrays: dict[str, Array | None], d_state: int) -> None:
    """Fetch one block of those of B and C that are constant, [n][lane]."""
    for name, array in arrays.items():
        if array is not None:
            source = task.kernel.array(name)
            task.load_columns(block, source, array[block * d_state * task.kernel.lanes], d_state)


def load_decay_rates(task: Task, block: Index, destination: Array, options: Options) -> None:
    """Fetch A log2(e) of one block, [n][lane]; imaginary parts, which turn but do not decay, as they are."""
    kernel = task.kernel
    task.load_columns(block, kernel.array("A"), destination, options.d_state)
    with kernel.loop(0, options.d_state, 2 if options.complex else 1) as n:
        destination.store(destination.load(n * kernel.lanes) * LOG2_E, n * kernel.lanes)
