"""How kernels that walk along sequences are cut into tasks and chunks, and where tasks keep their work.

The inputs are rows of ``d_model`` channels, sequence after sequence. A *block* is as many neighbouring
channels as a vector has lanes, a *task* is one sequence and some blocks of one group of channels, and a
*chunk* is some number of positions of a sequence, which a task works on together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from seqsuite.kernels.llvm.builder import Array, Index, Kernel, Mask

# Blocks of ``lanes`` channels in a task: few enough that what a thread works on stays in its second-level
# cache. The more there are, the longer are the runs of memory that it reads at a time.
MAX_BLOCKS_PER_TASK = 32

# The parameters of every such kernel; ``run.Division`` fills them.
DIVISION = (
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


# A load may wait for an earlier store whose address has the same last 12 bits ("4K aliasing" in Intel's
# optimization manual). Arrays that a loop walks through side by side must not start at the same place of a
# page, so each starts 13 cache lines further on than the one before: multiples of 13 stay apart, modulo the
# 64 lines of a page. For float64, it is twice as many.
PAGE_ELEMENTS, STAGGER_ELEMENTS = 1024, 13 * 16


@dataclass(frozen=True)
class Scratch:
    """Memory of one thread: ``per_block`` arrays once for each block of a task, ``shared`` ones once."""

    per_block: dict[str, int]
    shared: dict[str, int]

    def size(self, blocks: int) -> int:
        """Return how many elements a task of ``blocks`` blocks needs."""
        sizes = [*self.shared.values(), *(blocks * size for size in self.per_block.values())]
        return sum(_staggered(size) for size in sizes)

    def arrays(self, memory: Array, blocks: Index) -> dict[str, Array]:
        """Divide ``memory`` into the arrays by name."""
        arrays: dict[str, Array] = {}
        for name, size in self.shared.items():
            arrays[name] = memory
            memory = memory[_staggered(size)]
        for name, size in self.per_block.items():
            arrays[name] = memory
            memory = memory[_staggered(blocks * size)]
        return arrays


Size = TypeVar("Size", int, Index)


def _staggered(size: Size) -> Size:
    """Return how far after an array of ``size`` elements the next one starts."""
    pages: Size = (size + (PAGE_ELEMENTS - 1)) // PAGE_ELEMENTS
    return pages * PAGE_ELEMENTS + STAGGER_ELEMENTS


@dataclass(frozen=True)
class Task:
    """One sequence and ``blocks`` blocks of channels, all of one group.

    Attributes:
        chunk_size: positions in a chunk; the last of a sequence may have fewer.
        ragged: whether the channels of a group are no multiple of the lanes.
        sequence, group, part: which sequence, group of channels and part of the group.
        blocks: number of blocks.
        first_block: number of the first block, among the blocks of all groups.
        first_channel: its first channel.
        channels_left: channels of the group from there on.
        first_row, last_row: rows of (B·L, D) tensors that the sequence takes, the last not included.
        first_chunk, last_chunk: numbers of its chunks, among those of all sequences.
    """

    kernel: Kernel
    chunk_size: int
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
        row = self.first_row + (chunk - self.first_chunk) * self.chunk_size
        return row, (self.last_row - row).minimum(self.chunk_size)

    def load_columns(self, block: Index, source: Array, destination: Array, count: int) -> None:
        """Transpose a block of a (D, count) array into ``destination`` [n][lane], 0 where no channel is."""
        lanes, first = self.kernel.lanes, self.channel(block) * count
        if self.ragged:
            fill_zeros(destination, count)
        with self.kernel.loop(0, self.channels(block)) as lane, self.kernel.loop(0, count) as n:
            destination.copy_element(n * lanes + lane, source, first + lane * count + n)

    def store_columns(self, block: Index, source: Array, destination: Array, count: int) -> None:
        """Transpose one block [n][lane] back into a (D, count) array."""
        lanes, first = self.kernel.lanes, self.channel(block) * count
        with self.kernel.loop(0, self.channels(block)) as lane, self.kernel.loop(0, count) as n:
            destination.copy_element(first + lane * count + n, source, n * lanes + lane)


def locate(kernel: Kernel, number: Index, chunk_size: int, ragged: bool) -> Task:
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
        chunk_size=chunk_size,
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


def thread_scratch(kernel: Kernel) -> Array:
    """Return the memory of this thread; to be called once, before the tasks."""
    return kernel.array("scratch")[kernel.thread_number() * kernel.parameter("scratch_size")]


def fill_zeros(destination: Array, vectors: Index | int) -> None:
    """Write zeros into the first ``vectors`` vectors of an array."""
    kernel = destination.kernel
    with kernel.loop(0, vectors) as i:
        destination.store(kernel.vector(0.0), i * kernel.lanes)


def for_each_tile(kernel: Kernel, count: int, width: int, body: Callable[[Index, int], None]) -> None:
    """Call ``body(first, number)`` for tiles of ``width`` of ``count`` things and for the rest."""
    full = count - count % width
    if full:
        with kernel.loop(0, full, width) as first:
            body(first, width)
    if full < count:
        body(kernel.index(full), count - full)
