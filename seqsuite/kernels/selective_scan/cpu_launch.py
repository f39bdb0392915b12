"""From tensors to a run of the CPU kernels: sizes, tasks, threads, and memory for the results."""

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from seqsuite.kernels.llvm.jit import CompiledKernel, compile_kernel
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.llvm.threads import launch
from seqsuite.kernels.selective_scan import cpu_backward, cpu_forward
from seqsuite.kernels.selective_scan.arguments import sequence_offsets
from seqsuite.kernels.selective_scan.cpu_layout import CHUNK, MAX_BLOCKS_PER_TASK, Options, Scratch
from seqsuite.kernels.selective_scan.inputs import GRADIENT_OF, Inputs, with_row_stride

# Below this many state updates a second thread takes longer to wake than it saves.
UPDATES_PER_THREAD = 1 << 16

# The backward is cut into as many tasks at least, where each has two blocks of channels: more would keep more
# threads busy, but every part of a group writes a dB and a dC of its own, (B, L, N) each.
MIN_BACKWARD_TASKS = 4

Argument = Tensor | int | None


@dataclass(frozen=True)
class Geometry:
    """The sizes of a scan and how it is cut into tasks; see :class:`~.cpu_layout.Task`."""

    sequences: int
    rows: int
    d_model: int
    d_state: int
    groups: int
    dtype: torch.dtype
    lanes: int
    chunks: int

    @staticmethod
    def of(inputs: Inputs) -> "Geometry":
        """Return the sizes of these inputs."""
        batch, seqlen, d_model = inputs.u.shape
        A = inputs.A
        if inputs.cu_seqlens is None:
            sequences, chunks = batch, batch * -(-seqlen // CHUNK)
        else:
            sequences = len(inputs.cu_seqlens) - 1
            chunks = seqlen // CHUNK + sequences  # at most: each sequence may end in a chunk that is not full
        lanes = host_target().vector_bytes // A.dtype.itemsize
        return Geometry(
            sequences, batch * seqlen, d_model, A.shape[1], inputs.B.shape[2], A.dtype, lanes, chunks
        )

    @property
    def blocks_per_group(self) -> int:
        """Number of blocks of ``lanes`` channels in a group, the last perhaps not full."""
        return -(-self.d_model // self.groups // self.lanes)

    @property
    def checkpoint_shape(self) -> tuple[int, ...]:
        """Shape of the states kept before each chunk."""
        return (self.chunks, self.groups * self.blocks_per_group, self.d_state, self.lanes)

    @property
    def threads(self) -> int:
        """Number of threads that are worth their start."""
        updates = self.rows * self.d_model * self.d_state
        return min(torch.get_num_threads(), 1 + updates // UPDATES_PER_THREAD)

    def forward_parts(self) -> int:
        """Return the number of tasks that share a group of channels: as many as occupy the threads evenly.

        No task adds to what another one writes, so that any number gives the same bits.
        """
        parts, threads = self._parts_for_cache(), self.threads
        while (tasks := self.sequences * self.groups * parts) % threads and tasks < 4 * threads:
            parts += 1
        return min(parts, self.blocks_per_group)

    def backward_parts(self) -> int:
        """Return the same for the backward, by shape alone: each part is a term of the sums in dB and dC."""
        for_cores = -(-MIN_BACKWARD_TASKS // (self.sequences * self.groups))
        return max(self._parts_for_cache(), min(for_cores, self.blocks_per_group // 2), 1)

    def _parts_for_cache(self) -> int:
        return -(-self.blocks_per_group // MAX_BLOCKS_PER_TASK)


def checkpoint_shape(inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of what a forward keeps for the backward."""
    return Geometry.of(inputs).checkpoint_shape


def run_forward(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return y (B, L, D), the final states (S, D, N) and, with ``save``, the states before each chunk."""
    geometry = Geometry.of(inputs)
    has_initial_state = inputs.initial_state is not None
    y = _empty(inputs.u.shape, inputs.u.dtype)
    final_state = _empty((geometry.sequences, *inputs.A.shape), geometry.dtype)
    checkpoints = _empty(geometry.checkpoint_shape if save else (0,), geometry.dtype)
    arguments = _kernel_inputs(inputs) | {"y": y, "final_state": final_state, "checkpoints": checkpoints}
    options = _options(inputs, geometry)
    _run(
        forward_kernel(options, has_initial_state, save),
        cpu_forward.PARAMETERS,
        geometry,
        geometry.forward_parts(),
        cpu_forward.forward_scratch(options, geometry.lanes),
        arguments,
    )
    return y, final_state, checkpoints


def run_backward(
    dy: Tensor, dfinal_state: Tensor | None, checkpoints: Tensor, inputs: Inputs
) -> dict[str, Tensor]:
    """Return the gradients of the inputs that are given, by the names in :data:`GRADIENT_OF`."""
    geometry = Geometry.of(inputs)
    parts = geometry.backward_parts()
    gradients = {}
    for name, tensor in inputs.differentiable().items():
        if name in ("B", "C"):
            shape: tuple[int, ...] = (parts, *tensor.shape)
        elif name in ("A", "D", "delta_bias"):
            shape = (geometry.sequences, *tensor.shape)
        else:
            shape = tensor.shape
        gradients[GRADIENT_OF[name]] = _empty(shape, tensor.dtype)
    arguments = _kernel_inputs(inputs) | gradients
    arguments["dy"], arguments["checkpoints"] = dy.contiguous(), checkpoints
    arguments["dfinal_state"] = None if dfinal_state is None else dfinal_state.contiguous()
    options = _options(inputs, geometry)
    _run(
        backward_kernel(options, inputs.initial_state is not None, dfinal_state is not None),
        cpu_backward.PARAMETERS,
        geometry,
        parts,
        cpu_backward.backward_scratch(options, geometry.lanes),
        arguments,
    )
    for name in ("dA", "dB", "dC", "dD", "ddelta_bias"):
        if name in gradients:
            terms = gradients[name]
            gradients[name] = terms[0] if len(terms) == 1 else terms.sum(0)
    return gradients


@cache
def forward_kernel(options: Options, has_initial_state: bool, save: bool) -> CompiledKernel:
    """Return the forward kernel for these options, compiled when it is first asked for."""
    return compile_kernel(cpu_forward.build_forward(options, has_initial_state, save, host_target()))


@cache
def backward_kernel(options: Options, has_initial_state: bool, has_dfinal_state: bool) -> CompiledKernel:
    """Return the backward kernel likewise."""
    return compile_kernel(
        cpu_backward.build_backward(options, has_initial_state, has_dfinal_state, host_target())
    )


def _run(
    kernel: CompiledKernel,
    parameters: tuple[str, ...],
    geometry: Geometry,
    parts: int,
    scratch_layout: Scratch,
    arguments: dict[str, Argument],
) -> None:
    """Launch a kernel with the geometry's parameters, its own, and scratch memory for each thread."""
    threads = min(geometry.threads, geometry.sequences * geometry.groups * parts)
    cache_line = 64 // geometry.dtype.itemsize  # no two threads write to one
    size = -(-scratch_layout.size(-(-geometry.blocks_per_group // parts)) // cache_line) * cache_line
    scratch = _empty((threads, size), geometry.dtype)
    values: dict[str, Argument] = {
        "sequences": geometry.sequences,
        "rows": geometry.rows,
        "d_model": geometry.d_model,
        "groups": geometry.groups,
        "parts": parts,
        "blocks_per_group": geometry.blocks_per_group,
        "scratch": scratch,
        "scratch_size": size,
        **arguments,
    }
    launch(kernel.address, [_machine_word(values.get(name)) for name in parameters], threads)


def _machine_word(value: Argument) -> int:
    if isinstance(value, Tensor):
        return value.data_ptr()
    return value or 0


def _kernel_inputs(inputs: Inputs) -> dict[str, Argument]:
    """Return the kernels' parameters that come from the inputs; tensors are kept alive by being in it."""
    rows, chunks = _offsets(inputs)
    values: dict[str, Argument] = {"sequence_offsets": rows, "chunk_offsets": chunks}
    for name, tensor in inputs.differentiable().items():
        if name in ("u", "delta", "B", "C", "z"):
            values[name], values[f"{name}_stride"] = with_row_stride(tensor)
        else:
            values[name] = tensor.contiguous()
    return values


def _options(inputs: Inputs, geometry: Geometry) -> Options:
    return Options(
        dtype=_name(geometry.dtype),
        u_dtype=_name(inputs.u.dtype),
        delta_dtype=_name(inputs.delta.dtype),
        z_dtype=None if inputs.z is None else _name(inputs.z.dtype),
        d_state=geometry.d_state,
        ragged=geometry.d_model // geometry.groups % geometry.lanes != 0,
        has_skip=inputs.D is not None,
        has_bias=inputs.delta_bias is not None,
        delta_softplus=inputs.delta_softplus,
    )


def _offsets(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Return the first row and the first chunk of each sequence, and at the end the numbers of both."""
    batch, seqlen, _ = inputs.u.shape
    if inputs.cu_seqlens is None:
        return _equal_offsets(batch, seqlen)
    rows = sequence_offsets(inputs.cu_seqlens, seqlen)
    chunks = [0]
    for start, end in pairwise(rows):
        chunks.append(chunks[-1] + -(-(end - start) // CHUNK))
    return torch.tensor(rows), torch.tensor(chunks)


@lru_cache(maxsize=256)
def _equal_offsets(batch: int, seqlen: int) -> tuple[Tensor, Tensor]:
    """Return the same for sequences of one length."""
    numbers = torch.arange(batch + 1)
    return numbers * seqlen, numbers * -(-seqlen // CHUNK)


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="cpu")


@cache
def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
