"""How the CPU kernels divide a scan into tasks and chunks, and where they keep what they are working on."""

from collections.abc import Callable
from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Mask, Vector

# Positions of a sequence that are worked on together. Only the state before each chunk is kept for the
# backward.
CHUNK = 32

# Blocks of ``lanes`` channels in a task: few enough that what a thread works on stays in its second-level
# cache. The more there are, the longer are the runs of memory that it reads at a time.
MAX_BLOCKS_PER_TASK = 32

GEOMETRY = (
    "sequences",
    "d_model",
    "groups",
    "parts",
    "blocks_per_group",
    "sequence_offsets",
    "chunk_offsets",
    "scratch",
    "scratch_size",
)


@dataclass(frozen=True)
class Options:
    """What a kernel is specialised for. Dtypes are named as PyTorch names them, without the prefix.

    Attributes:
        dtype: of the state, A, B, C and the biases: "float32" or "float64".
        u_dtype, delta_dtype, z_dtype: of the inputs.
        d_state: N.
        ragged: whether the channels of a group are no multiple of the lanes.
        has_skip: whether there is a D.
        has_bias: whether there is a delta_bias.
        delta_softplus: whether Δ is a softplus.
    """

    dtype: str
    u_dtype: str
    delta_dtype: str
    z_dtype: str | None
    d_state: int
    ragged: bool
    has_skip: bool
    has_bias: bool
    delta_softplus: bool

    @property
    def inputs(self) -> dict[str, str]:
        """Names and dtypes of the inputs (B, L, D) that are given."""
        dtypes = {"u": self.u_dtype, "delta": self.delta_dtype}
        return dtypes | ({"z": self.z_dtype} if self.z_dtype else {})


@dataclass(frozen=True)
class Scratch:
    """Memory of one thread: ``per_block`` arrays once for each block of a task, ``shared`` ones once."""

    per_block: dict[str, int]
    shared: dict[str, int]

    def size(self, blocks: int) -> int:
        """Return how many elements a task of ``blocks`` blocks needs."""
        return blocks * sum(self.per_block.values()) + sum(self.shared.values())

    def arrays(self, memory: Array, blocks: Index) -> dict[str, Array]:
        """Divide ``memory`` into the arrays by name."""
        arrays: dict[str, Array] = {}
        for name, size in self.shared.items():
            arrays[name] = memory
            memory = memory[size]
        for name, size in self.per_block.items():
            arrays[name] = memory
            memory = memory[blocks * size]
        return arrays


@dataclass(frozen=True)
class Task:
    """One sequence and ``blocks`` blocks of channels, all of one group.

    Attributes:
        sequence, group, part: which sequence, group of channels and part of the group.
        blocks: number of blocks.
        first_block: number of the first block, among the blocks of all groups.
        first_channel: its first channel.
        channels_left: channels of the group from there on.
        first_row, last_row: rows of (B·L, D) tensors that the sequence takes, the last not included.
        first_chunk, last_chunk: numbers of its chunks, among those of all sequences.
    """

    kernel: Kernel
    ragged: bool
    sequence: Index
    group: Index
    part: Index
    blocks: Index
    first_block: Index
    first_channel: Index
    channels_left: Index
    first_row: Index
    last_row: Index
    first_chunk: Index
    last_chunk: Index

    def channel(self, block: Index) -> Index:
        """Return the first channel of the task's ``block``."""
        return self.first_channel + block * self.kernel.lanes

    def channels(self, block: Index) -> Index:
        """Return how many channels the block has: as many as lanes, or fewer at a group's end."""
        return (self.channels_left - block * self.kernel.lanes).minimum(self.kernel.lanes)

    def mask(self, block: Index) -> Mask | None:
        """Return the lanes of the block that are channels, ``None`` where every lane is one."""
        return self.kernel.first_lanes(self.channels(block)) if self.ragged else None

    def rows(self, chunk: Index) -> tuple[Index, Index]:
        """Return the first row of the chunk and the number of its positions."""
        row = self.first_row + (chunk - self.first_chunk) * CHUNK
        return row, (self.last_row - row).minimum(CHUNK)


def locate(kernel: Kernel, number: Index, ragged: bool) -> Task:
    """Return what task ``number`` is about."""
    groups, parts = kernel.parameter("groups"), kernel.parameter("parts")
    d_model, blocks_per_group = kernel.parameter("d_model"), kernel.parameter("blocks_per_group")
    sequence = number // (groups * parts)
    group, part = number // parts % groups, number % parts
    start, stop = (p * blocks_per_group // parts for p in (part, part + 1))
    width = d_model // groups
    offsets = kernel.array("sequence_offsets", "int64")[sequence]
    chunks = kernel.array("chunk_offsets", "int64")[sequence]
    return Task(
        kernel=kernel,
        ragged=ragged,
        sequence=sequence,
        group=group,
        part=part,
        blocks=stop - start,
        first_block=group * blocks_per_group + start,
        first_channel=group * width + start * kernel.lanes,
        channels_left=width - start * kernel.lanes,
        first_row=offsets.integer(0),
        last_row=offsets.integer(1),
        first_chunk=chunks.integer(0),
        last_chunk=chunks.integer(1),
    )


def task_count(kernel: Kernel) -> Index:
    """Return the number of tasks."""
    return kernel.parameter("sequences") * kernel.parameter("groups") * kernel.parameter("parts")


def load_input(
    task: Task, options: Options, name: str, row: Index, channel: Index, mask: Mask | None
) -> Vector:
    """Read channels of one row of ``u``, ``delta`` or ``z``."""
    kernel = task.kernel
    array = kernel.array(name, options.inputs[name])
    return array.load(row * kernel.parameter(f"{name}_stride") + channel, mask)


def prefetch_inputs(task: Task, options: Options, row: Index, channel: Index) -> None:
    """Ask for a row of the inputs ahead of its use: the processor does not foresee rows so far apart."""
    kernel = task.kernel
    for name, dtype in options.inputs.items():
        kernel.array(name, dtype).prefetch(row * kernel.parameter(f"{name}_stride") + channel)


def projection(task: Task, options: Options, name: str, row: Index) -> Array:
    """Return B_t or C_t of the task's group."""
    kernel = task.kernel
    return kernel.array(name)[row * kernel.parameter(f"{name}_stride") + task.group * options.d_state]


def load_states(task: Task, block: Index, source: Array, destination: Array, d_state: int) -> None:
    """Transpose a block of a (D, N) array into ``destination`` [n][lane], 0 in lanes that are no channel."""
    lanes, first = task.kernel.lanes, task.channel(block) * d_state
    if task.ragged:
        fill_zeros(destination, d_state)
    with task.kernel.loop(0, task.channels(block)) as lane, task.kernel.loop(0, d_state) as n:
        destination.copy_element(n * lanes + lane, source, first + lane * d_state + n)


def store_states(task: Task, block: Index, source: Array, destination: Array, d_state: int) -> None:
    """Transpose one block [n][lane] back into a (D, N) array."""
    lanes, first = task.kernel.lanes, task.channel(block) * d_state
    with task.kernel.loop(0, task.channels(block)) as lane, task.kernel.loop(0, d_state) as n:
        destination.copy_element(first + lane * d_state + n, source, n * lanes + lane)


def fill_zeros(destination: Array, vectors: Index | int) -> None:
    """Write zeros into the first ``vectors`` vectors of an array."""
    kernel = destination.kernel
    with kernel.loop(0, vectors) as i:
        destination.store(kernel.vector(0.0), i * kernel.lanes)


def for_each_tile(kernel: Kernel, d_state: int, width: int, body: Callable[[Index, int], None]) -> None:
    """Call ``body(first state, number of states)`` for tiles of ``width`` states and for the rest."""
    full = d_state - d_state % width
    if full:
        with kernel.loop(0, full, width) as n:
            body(n, width)
    if full < d_state:
        body(kernel.index(full), d_state - full)
