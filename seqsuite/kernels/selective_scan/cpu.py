"""The CPU backend: fused forward and backward kernels behind two PyTorch operators.

``seqsuite::selective_scan_forward`` and ``..._backward`` work under autograd, ``torch.compile`` and
``torch.export``. The state (B, L, D, N) is never in memory: the forward keeps the states between chunks, 1/16 of it,
and the backward recomputes the rest chunk by chunk. Tasks are cut by shape alone and their parts added in a fixed
order, so that the same input gives the same bits whatever the number of threads.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from seqsuite.kernels.llvm.jit import CompiledKernel, compile_kernel
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.llvm.threads import launch
from seqsuite.kernels.selective_scan import cpu_backward, cpu_forward
from seqsuite.kernels.selective_scan.arguments import sequence_offsets
from seqsuite.kernels.selective_scan.cpu_layout import (
    CHUNK,
    MAX_BLOCKS_PER_TASK,
    Options,
    Scratch,
)
from seqsuite.kernels.selective_scan.reference import state_dtype

# Below this many state updates a second thread takes longer to wake than it saves.
UPDATES_PER_THREAD = 1 << 16

# The backward is cut into as many tasks at least, channels allowing: for few threads more would only cost.
MIN_BACKWARD_TASKS = 4

FORWARD = "seqsuite::selective_scan_forward"
BACKWARD = "seqsuite::selective_scan_backward"
INPUTS = (
    "Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias, "
    "bool delta_softplus, Tensor? initial_state, Tensor? cu_seqlens"
)


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
        """Return the number of tasks that share a group of channels: what occupies the threads evenly."""
        parts, threads = self._parts_for_cache(), self.threads
        while (tasks := self.sequences * self.groups * parts) % threads and tasks < 4 * threads:
            parts += 1
        return min(parts, self.blocks_per_group)

    def backward_parts(self) -> int:
        """Return the same for the backward, from the shape alone: each part is a term of the sums in dB and dC."""
        for_cores = -(-MIN_BACKWARD_TASKS // (self.sequences * self.groups))
        return min(max(self._parts_for_cache(), for_cores), self.blocks_per_group)

    def _parts_for_cache(self) -> int:
        return -(-self.blocks_per_group // MAX_BLOCKS_PER_TASK)


def _geometry(u: Tensor, A: Tensor, B: Tensor, cu_seqlens: Tensor | None) -> Geometry:
    batch, seqlen, d_model = u.shape
    if cu_seqlens is None:
        sequences, chunks = batch, batch * -(-seqlen // CHUNK)
    else:
        sequences = len(cu_seqlens) - 1
        chunks = (
            seqlen // CHUNK + sequences
        )  # an upper bound: each sequence may end in a chunk that is not full
    lanes = host_target().vector_bytes // A.element_size()
    return Geometry(sequences, batch * seqlen, d_model, A.shape[1], B.shape[2], A.dtype, lanes, chunks)


@lru_cache(maxsize=256)
def _equal_offsets(batch: int, seqlen: int) -> tuple[Tensor, Tensor]:
    """Return the offsets (B + 1,) of rows and of chunks for sequences of one length."""
    numbers = torch.arange(batch + 1)
    return numbers * seqlen, numbers * -(-seqlen // CHUNK)


def _offsets(u: Tensor, cu_seqlens: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the first row and the first chunk of each sequence, and their numbers at the end."""
    if cu_seqlens is None:
        return _equal_offsets(u.shape[0], u.shape[1])
    rows = sequence_offsets(cu_seqlens, u.shape[1])
    chunks = [0]
    for start, end in pairwise(rows):
        chunks.append(chunks[-1] + -(-(end - start) // CHUNK))
    return torch.tensor(rows), torch.tensor(chunks)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _rows(tensor: Tensor) -> tuple[Tensor, int]:
    """Return (B, L, ...) such that one stride leads from each of its B·L rows to the next, and that stride."""
    inner = tensor[0, 0].is_contiguous()
    if not (inner and tensor.stride(0) == tensor.shape[1] * tensor.stride(1)):
        tensor = tensor.contiguous()
    return tensor, tensor.stride(1)


def _options(
    geometry: Geometry,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Options:
    return Options(
        dtype=_name(A.dtype),
        u_dtype=_name(u.dtype),
        delta_dtype=_name(delta.dtype),
        z_dtype=None if z is None else _name(z.dtype),
        d_state=A.shape[1],
        ragged=geometry.d_model // geometry.groups % geometry.lanes != 0,
        has_skip=D is not None,
        has_bias=delta_bias is not None,
        delta_softplus=delta_softplus,
    )


@cache
def _forward_kernel(options: Options, has_initial_state: bool, save: bool) -> CompiledKernel:
    return compile_kernel(cpu_forward.build_forward(options, has_initial_state, save, host_target()))


@cache
def _backward_kernel(options: Options, has_initial_state: bool, has_dfinal_state: bool) -> CompiledKernel:
    return compile_kernel(
        cpu_backward.build_backward(options, has_initial_state, has_dfinal_state, host_target())
    )


def _run(
    kernel: CompiledKernel,
    parameters: tuple[str, ...],
    geometry: Geometry,
    parts: int,
    scratch_layout: Scratch,
    arguments: dict[str, Tensor | int | None],
) -> None:
    """Launch a kernel with the geometry's parameters, its own, and scratch memory for each thread."""
    threads = min(geometry.threads, geometry.sequences * geometry.groups * parts)
    # whole cache lines, so that no two threads write to one
    line = 64 // geometry.dtype.itemsize
    size = -(-scratch_layout.size(-(-geometry.blocks_per_group // parts)) // line) * line
    scratch = torch.empty(size * threads, dtype=geometry.dtype)
    values: dict[str, Tensor | int | None] = {
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
    launch(kernel.address, [_machine_word(values[name]) for name in parameters], threads)


def _machine_word(value: Tensor | int | None) -> int:
    if isinstance(value, Tensor):
        return value.data_ptr()
    return value or 0


def _inputs(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    offsets: tuple[Tensor, Tensor],
) -> dict[str, Tensor | int | None]:
    """Return the kernels' parameters that come from the inputs; tensors are kept alive by being in it."""
    values: dict[str, Tensor | int | None] = {
        "A": A.contiguous(),
        "D": None if D is None else D.contiguous(),
        "delta_bias": None if delta_bias is None else delta_bias.contiguous(),
        "sequence_offsets": offsets[0],
        "chunk_offsets": offsets[1],
    }
    for name, tensor in (("u", u), ("delta", delta), ("B", B), ("C", C), ("z", z)):
        if tensor is not None:
            values[name], values[f"{name}_stride"] = _rows(tensor)
        else:
            values[name] = values[f"{name}_stride"] = None
    return values


def _forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    geometry = _geometry(u, A, B, cu_seqlens)
    options = _options(geometry, u, delta, A, D, z, delta_bias, delta_softplus)
    y, final_state, checkpoints = _empty_outputs(geometry, u, A, save)
    arguments = _inputs(u, delta, A, B, C, D, z, delta_bias, _offsets(u, cu_seqlens))
    arguments |= {"y": y, "final_state": final_state, "checkpoints": checkpoints}
    arguments["initial_state"] = None if initial_state is None else initial_state.contiguous()
    kernel = _forward_kernel(options, initial_state is not None, save)
    scratch = cpu_forward.forward_scratch(options, geometry.lanes)
    _run(kernel, cpu_forward.PARAMETERS, geometry, geometry.forward_parts(), scratch, arguments)
    return y, final_state, checkpoints


def _forward_fake(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_outputs(_geometry(u, A, B, cu_seqlens), u, A, save)


def _empty_outputs(geometry: Geometry, u: Tensor, A: Tensor, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    y = u.new_empty(u.shape)
    final_state = A.new_empty((geometry.sequences, *A.shape))
    return y, final_state, A.new_empty(geometry.checkpoint_shape if save else (0,))


def _backward(
    dy: Tensor,
    dfinal_state: Tensor | None,
    checkpoints: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> list[Tensor]:
    geometry = _geometry(u, A, B, cu_seqlens)
    options = _options(geometry, u, delta, A, D, z, delta_bias, delta_softplus)
    parts = geometry.backward_parts()
    has_initial_state = initial_state is not None
    by_sequence = A.new_empty((geometry.sequences, *A.shape))
    outputs = {
        "du": u.new_empty(u.shape),
        "ddelta": delta.new_empty(delta.shape),
        "dA": by_sequence,
        "dB": B.new_empty((parts, *B.shape)),
        "dC": C.new_empty((parts, *C.shape)),
        "dD": A.new_empty(by_sequence.shape[:2] if D is not None else (0, 0)),
        "dz": u.new_empty(0) if z is None else z.new_empty(z.shape),
        "ddelta_bias": A.new_empty(by_sequence.shape[:2] if delta_bias is not None else (0, 0)),
        "dinitial_state": A.new_empty(by_sequence.shape if has_initial_state else (0,)),
    }
    arguments = _inputs(u, delta, A, B, C, D, z, delta_bias, _offsets(u, cu_seqlens)) | outputs
    arguments |= {"dy": dy.contiguous(), "checkpoints": checkpoints}
    arguments["dfinal_state"] = None if dfinal_state is None else dfinal_state.contiguous()
    kernel = _backward_kernel(options, has_initial_state, dfinal_state is not None)
    scratch = cpu_backward.backward_scratch(options, geometry.lanes)
    _run(kernel, cpu_backward.PARAMETERS, geometry, parts, scratch, arguments)
    for name in ("dA", "dB", "dC", "dD", "ddelta_bias"):
        terms = outputs[name]
        outputs[name] = terms[0] if len(terms) == 1 else terms.sum(0)
    return list(outputs.values())


def _backward_fake(
    dy: Tensor,
    dfinal_state: Tensor | None,
    checkpoints: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> list[Tensor]:
    inputs = (u, delta, A, B, C, D, z, delta_bias, initial_state)
    return [u.new_empty(0) if tensor is None else tensor.new_empty(tensor.shape) for tensor in inputs]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, delta_softplus, initial_state, cu_seqlens, _ = inputs
    ctx.save_for_backward(*tensors, initial_state, cu_seqlens, output[2])
    ctx.delta_softplus = delta_softplus
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, dy: Tensor | None, dfinal_state: Tensor | None, _: None) -> tuple[Any, ...]:
    *tensors, initial_state, cu_seqlens, checkpoints = ctx.saved_tensors
    if dy is None:
        dy = torch.zeros_like(tensors[0])
    gradients = torch.ops.seqsuite.selective_scan_backward(
        dy, dfinal_state, checkpoints, *tensors, ctx.delta_softplus, initial_state, cu_seqlens
    )
    *of_tensors, of_initial_state = (
        gradient if needed else None
        for gradient, needed in zip(
            gradients, (*ctx.needs_input_grad[:8], ctx.needs_input_grad[9]), strict=True
        )
    )
    return *of_tensors, None, of_initial_state, None, None


torch.library.define(FORWARD, f"({INPUTS}, bool save) -> (Tensor, Tensor, Tensor)")
torch.library.define(BACKWARD, f"(Tensor dy, Tensor? dfinal_state, Tensor checkpoints, {INPUTS}) -> Tensor[]")
torch.library.impl(FORWARD, "CPU", _forward)
torch.library.impl(BACKWARD, "CPU", _backward)
torch.library.register_fake(FORWARD, _forward_fake)
torch.library.register_fake(BACKWARD, _backward_fake)
torch.library.register_autograd(FORWARD, _differentiate, setup_context=_setup_context)


def selective_scan_cpu(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Scan by the fused kernels; takes and returns what ``selective_scan_reference`` does, for a real ``A``."""
    dtype = state_dtype(u, A)
    # float32 beside bfloat16 is read as it is; what would lose digits or mix with float64 is converted.
    delta, z = (t if t is None or _readable(t, dtype) else t.to(dtype) for t in (delta, z))
    A, B, C, D, delta_bias, initial_state = (
        t if t is None else t.to(dtype) for t in (A, B, C, D, delta_bias, initial_state)
    )
    inputs = (u, delta, A, B, C, D, z, delta_bias, initial_state)
    save = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    y, final_state, _ = torch.ops.seqsuite.selective_scan_forward(
        *inputs[:-1], delta_softplus, initial_state, cu_seqlens, save
    )
    return y, final_state


def _readable(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether a kernel that computes in ``dtype`` can read the tensor."""
    return tensor.dtype == dtype or (dtype == torch.float32 and tensor.dtype.itemsize == 2)
