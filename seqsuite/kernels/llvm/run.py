"""From tensors to a run of a kernel that walks along sequences: division, threads, scratch memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from seqsuite.kernels.checks import sequence_offsets
from seqsuite.kernels.llvm.jit import CompiledKernel
from seqsuite.kernels.llvm.tasks import MAX_BLOCKS_PER_TASK
from seqsuite.kernels.llvm.threads import launch

Argument = Tensor | int | None

CACHE_LINE_BYTES = 64


@dataclass(frozen=True)
class Division:
    """How (B, L, D) tensors are cut into sequences, groups and blocks; see :mod:`~.tasks`.

    Attributes:
        sequences: number of sequences, B or the number of packed ones.
        rows: B · L.
        d_model: D.
        groups: number of groups of channels.
        lanes: channels in a block.
        chunk_size: positions in a chunk.
        chunks: number of chunks, at most.
    """

    sequences: int
    rows: int
    d_model: int
    groups: int
    lanes: int
    chunk_size: int
    chunks: int

    @staticmethod
    def of(shape: torch.Size, packed: int | None, groups: int, lanes: int, chunk_size: int) -> "Division":
        """Return the division of (B, L, D) tensors, for vectors of ``lanes`` numbers.

        ``packed`` is the number of packed sequences, ``None`` where each row of the batch is one.
        """
        batch, seqlen, d_model = shape
        if packed is None:
            sequences, chunks = batch, batch * -(-seqlen // chunk_size)
        else:
            sequences = packed
            # At most: each sequence may end in a chunk that is not full.
            chunks = seqlen // chunk_size + sequences
        return Division(sequences, batch * seqlen, d_model, groups, lanes, chunk_size, chunks)

    @property
    def blocks_per_group(self) -> int:
        """Number of blocks of ``lanes`` channels in a group, the last perhaps not full."""
        return -(-self.d_model // self.groups // self.lanes)

    @property
    def ragged(self) -> bool:
        """Whether the channels of a group are no multiple of the lanes."""
        return self.d_model // self.groups % self.lanes != 0

    def blocks_per_task(self, parts: int) -> int:
        """Return how many blocks a task has at most, where ``parts`` tasks share a group."""
        return -(-self.blocks_per_group // parts)

    def parts_for_cache(self) -> int:
        """Return how many tasks must share a group of channels so that each stays in its cache."""
        return -(-self.blocks_per_group // MAX_BLOCKS_PER_TASK)

    def parts_for_threads(self, threads: int) -> int:
        """Return how many tasks share a group of channels: as many as occupy the threads evenly."""
        parts = self.parts_for_cache()
        while (tasks := self.sequences * self.groups * parts) % threads and tasks < 4 * threads:
            parts += 1
        return min(parts, self.blocks_per_group)

    def run(
        self,
        kernel: CompiledKernel,
        parameters: Sequence[str],
        arguments: Mapping[str, Argument],
        *,
        scratch_size: int,
        parts: int,
        threads: int,
        cu_seqlens: Tensor | None,
        like: Tensor,
    ) -> None:
        """Run a kernel.

        Args:
            kernel: What to run.
            parameters: Names of its parameters, in order.
            arguments: Tensors and numbers by name; a parameter without one is 0.
            scratch_size: Elements of scratch memory that a thread needs.
            parts: Number of tasks that share a group of channels.
            threads: Number of threads, if there are as many tasks.
            cu_seqlens: Offsets of packed sequences.
            like: A tensor of the kernel's dtype.

        Raises:
            ValueError: ``cu_seqlens`` does not rise from 0 to L.
        """
        threads = min(threads, self.sequences * self.groups * parts)
        line = CACHE_LINE_BYTES // like.itemsize  # no two threads write to one
        size = -(-scratch_size // line) * line
        scratch = like.new_empty((threads * size,))
        rows, chunks = self._offsets(cu_seqlens)
        values: dict[str, Argument] = {
            "sequences": self.sequences,
            "rows": self.rows,
            "d_model": self.d_model,
            "groups": self.groups,
            "parts": parts,
            "blocks_per_group": self.blocks_per_group,
            "sequence_offsets": rows,
            "chunk_offsets": chunks,
            "scratch": scratch,
            "scratch_size": size,
            **arguments,
        }
        launch(kernel.address, machine_words(values, parameters), threads)

    def _offsets(self, cu_seqlens: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the first row and the first chunk of each sequence, and at the end the numbers of both."""
        if cu_seqlens is None:
            return _equal_offsets(self.sequences, self.rows // max(self.sequences, 1), self.chunk_size)
        rows = sequence_offsets(cu_seqlens, self.rows)
        chunks = [0]
        for start, end in pairwise(rows):
            chunks.append(chunks[-1] + -(-(end - start) // self.chunk_size))
        return torch.tensor(rows), torch.tensor(chunks)


def packed_sequences(cu_seqlens: Tensor | None) -> int | None:
    """Return how many sequences are packed, ``None`` if none is."""
    return None if cu_seqlens is None else cu_seqlens.shape[0] - 1


def machine_words(arguments: Mapping[str, Argument], parameters: Sequence[str]) -> list[int]:
    """Return a kernel's arguments in its order: addresses of tensors, numbers, 0 for what is not given."""
    values = map(arguments.get, parameters)
    return [value.data_ptr() if isinstance(value, Tensor) else value or 0 for value in values]


def worthwhile_threads(work: int, work_per_thread: int) -> int:
    """Return the number of threads that are worth their start for so much work, at most PyTorch's."""
    return min(torch.get_num_threads(), max(1, work // work_per_thread))


@cache
def dtype_name(dtype: torch.dtype) -> str:
    """Return PyTorch's name of a dtype, without the prefix."""
    return str(dtype).removeprefix("torch.")


@lru_cache(maxsize=256)
def _equal_offsets(sequences: int, seqlen: int, chunk_size: int) -> tuple[Tensor, Tensor]:
    """Return the offsets in rows and in chunks of sequences of one length."""
    numbers = torch.arange(sequences + 1)
    return numbers * seqlen, numbers * -(-seqlen // chunk_size)
