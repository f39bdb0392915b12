"""From tensors to launches of the Triton kernels: how the work is cut, and memory for the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
import triton
from torch import Tensor

from seqsuite.kernels.gpu.launch import Runtime
from seqsuite.kernels.gpu.segments import cut, longest, row_offsets
from seqsuite.kernels.selective_scan.inputs import Inputs
from seqsuite.kernels.selective_scan.triton_backward import gradient_kernel, segment_adjoint_kernel
from seqsuite.kernels.selective_scan.triton_device import combine_kernel
from seqsuite.kernels.selective_scan.triton_forward import output_kernel, segment_state_kernel
from seqsuite.kernels.strides import with_row_stride

# Sequences are cut into segments until there are so many programs, each one warp: a few times what a large
# GPU runs at once, so that the last do not run alone. Cutting costs a second pass over the sequences. It does
# not pay where they give as many programs as FORWARD_ENOUGH or BACKWARD_ENOUGH uncut. All this follows the
# shapes and not the device, so that the same input gives the same bits on any one. Chosen on an H100.
PROGRAMS = 4096
FORWARD_ENOUGH = 640
BACKWARD_ENOUGH = 1024

# Rows between two states that the forward keeps for the backward. Segments are whole chunks.
CHUNK = 64

# Rows whose loads are under way together, in passes over a segment and in recomputing a chunk.
SEGMENT_STEPS = 4
RECOMPUTE_STEPS = 2

# Segments whose states are read at once when they are chained.
COMBINE_AHEAD = 8

# Rows that the gradient kernel goes back at once: as many as a thread's decays and states fit its registers.
BACKWARD_STEPS = 8

# Programs of the gradient kernel that a multiprocessor holds at once, at 255 registers a thread.
PROGRAMS_PER_MULTIPROCESSOR = 8

# States that a thread holds: 16 of two channels.
STATES_PER_THREAD = 32


@dataclass(frozen=True)
class Segments:
    """Sequences cut into segments of rows.

    Attributes:
        table: first row, number of rows, and index of the first checkpoint of each segment (segments, 3).
        offsets: first segment of each sequence, and their number (S + 1,).
        cut: whether any sequence has more than one.
    """

    table: Tensor
    offsets: Tensor
    cut: bool

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True)
class Blocks:
    """Channels cut into blocks: two a thread, less where states are many or a group is narrow.

    Attributes:
        channels: number of channels in a block.
        per_group: number of blocks in a group, the last perhaps not full.
        count: number of blocks.
        options: what the kernels are specialised to.
    """

    channels: int
    per_group: int
    count: int
    options: dict[str, Any]

    @staticmethod
    def of(inputs: Inputs, warp_size: int) -> "Blocks":
        """Return the blocks of these inputs."""
        return Blocks._of_sizes(*inputs.A.shape, inputs.B.shape[2], warp_size)

    @staticmethod
    @cache
    def _of_sizes(d_model: int, d_state: int, groups: int, warp_size: int) -> "Blocks":
        states, width = triton.next_power_of_2(d_state), d_model // groups
        channels = min(2 * warp_size, warp_size * STATES_PER_THREAD // states, triton.next_power_of_2(width))
        channels = max(channels, 16)
        per_group = -(-width // channels)
        options = {
            "D_MODEL": d_model,
            "GROUPS": groups,
            "N": d_state,
            "STATES": states,
            "CHANNELS": channels,
        }
        return Blocks(channels, per_group, groups * per_group, options)


def checkpoint_shape(inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of what a forward keeps for the backward: the states before each chunk, in slots.

    Each sequence may end in a chunk that is not full, so that there are slots enough for any offsets.
    """
    batch, seqlen, _ = inputs.u.shape
    sequences = batch if inputs.cu_seqlens is None else len(inputs.cu_seqlens) - 1
    return (batch * seqlen // CHUNK + sequences, *inputs.A.shape[::-1])


def run_forward(inputs: Inputs, save: bool, runtime: Runtime | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return y (B, L, D), the final states (S, D, N) and, with ``save``, the states before each chunk."""
    A = inputs.A
    runtime = runtime or Runtime.of(A.device)
    blocks = Blocks.of(inputs, runtime.warp_size)
    segments = _segments(inputs, blocks, FORWARD_ENOUGH)
    y = inputs.u.new_empty(inputs.u.shape)
    checkpoints = A.new_empty(checkpoint_shape(inputs) if save else (0,))
    final_state = A.new_empty((len(segments.offsets) - 1, *A.shape[::-1]))
    entering = _by_state(inputs.initial_state)
    arguments = _arguments(inputs, segments, blocks)
    if segments.cut:
        state, elapsed = _empty_segment_states(segments, A)
        outputs = {"state": state, "elapsed": elapsed, "STEPS": SEGMENT_STEPS}
        runtime.launch_with(segment_state_kernel, len(segments) * blocks.count, arguments | outputs)
        chain = {"initial": entering, "state": state, "elapsed": elapsed, "final": final_state}
        _combine(runtime, segments, blocks, arguments | chain | {"REVERSE": False})
        entering = state
    outputs = {
        "entering": entering,
        "y": y,
        "checkpoints": checkpoints if save else None,
        "final_state": None if segments.cut else final_state,
        "CHUNK": CHUNK,
    }
    runtime.launch_with(output_kernel, len(segments) * blocks.count, arguments | outputs)
    return y, final_state.transpose(1, 2).contiguous(), checkpoints


def run_backward(
    dy: Tensor,
    dfinal_state: Tensor | None,
    checkpoints: Tensor,
    inputs: Inputs,
    runtime: Runtime | None = None,
) -> dict[str, Tensor]:
    """Return the gradients of the inputs that are given, named ``du``, ``ddelta`` and so on."""
    A = inputs.A
    runtime = runtime or Runtime.of(A.device)
    blocks = Blocks.of(inputs, runtime.warp_size)
    segments = _segments(inputs, blocks, BACKWARD_ENOUGH)
    items = len(segments) * blocks.count
    programs = min(items, PROGRAMS_PER_MULTIPROCESSOR * runtime.multiprocessors)
    entering = _by_state(dfinal_state)
    leaving = None
    if inputs.initial_state is not None:
        leaving = A.new_empty((len(segments.offsets) - 1, *A.shape[::-1]))
    arguments = _arguments(inputs, segments, blocks) | {"dy": dy.contiguous()}
    if segments.cut:
        adjoint, elapsed = _empty_segment_states(segments, A)
        outputs = {"adjoint": adjoint, "elapsed": elapsed, "STEPS": SEGMENT_STEPS}
        runtime.launch_with(segment_adjoint_kernel, items, arguments | outputs)
        chain = {"initial": entering, "state": adjoint, "elapsed": elapsed, "final": leaving}
        _combine(runtime, segments, blocks, arguments | chain | {"REVERSE": True})
        entering = adjoint
    parts = _empty_gradients(inputs, segments, blocks)
    kept = 2 + CHUNK // BACKWARD_STEPS + BACKWARD_STEPS - 1
    outputs = parts | {
        "checkpoints": checkpoints,
        "entering": entering,
        "dinitial_state": None if segments.cut else leaving,
        "scratch": A.new_empty(programs, kept, A.shape[1], blocks.channels),
        "rows": inputs.u.shape[0] * inputs.u.shape[1],
        "items": items,
        "READ": RECOMPUTE_STEPS,
        "TOGETHER": _states_together(A.shape[1], runtime.architecture),
        "STEPS": BACKWARD_STEPS,
        "CHUNK": CHUNK,
    }
    runtime.launch_with(gradient_kernel, programs, arguments | outputs)
    gradients = _sum_parts(inputs, parts)
    if leaving is not None:
        gradients["dinitial_state"] = leaving.transpose(1, 2).contiguous()
    return gradients


def _states_together(d_state: int, architecture: int | str) -> int:
    """Return how many states the gradient kernel treats at once, where registers suffice for more than one.

    The order of no sum depends on it.
    """
    return 2 if d_state % 2 == 0 and isinstance(architecture, int) and architecture >= 90 else 1


def _empty_gradients(inputs: Inputs, segments: Segments, blocks: Blocks) -> dict[str, Tensor | None]:
    """Return memory for the gradients by rows, and for the parts of those that sum over rows or channels."""
    A, shape = inputs.A, inputs.u.shape
    d_model, d_state = A.shape
    projection = (blocks.per_group, inputs.B.shape[2], d_state, shape[0] * shape[1])
    return {
        "du": inputs.u.new_empty(shape),
        "ddelta": inputs.delta.new_empty(shape),
        "dz": None if inputs.z is None else inputs.z.new_empty(shape),
        "dA": A.new_empty(len(segments), d_state, d_model),
        "dB": A.new_empty(projection),
        "dC": A.new_empty(projection),
        "dD": None if inputs.D is None else A.new_empty(len(segments), d_model),
        "ddelta_bias": None if inputs.delta_bias is None else A.new_empty(len(segments), d_model),
    }


def _sum_parts(inputs: Inputs, parts: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Return the gradients, from what the programs left of each."""
    gradients = {name: part for name, part in parts.items() if part is not None}
    for name in gradients.keys() & {"dA", "dB", "dC", "dD", "ddelta_bias"}:
        part = gradients[name]
        gradients[name] = part[0] if len(part) == 1 else part.sum(0)
    gradients["dA"] = gradients["dA"].t().contiguous()
    for name in ("dB", "dC"):
        gradients[name] = gradients[name].permute(2, 0, 1).reshape(inputs.B.shape)
    return gradients


def _combine(runtime: Runtime, segments: Segments, blocks: Blocks, arguments: dict[str, Any]) -> None:
    programs = (len(segments.offsets) - 1) * blocks.count * blocks.options["N"]
    chain = {"segment_offsets": segments.offsets, "AHEAD": COMBINE_AHEAD}
    runtime.launch_with(combine_kernel, programs, arguments | chain)


def _arguments(inputs: Inputs, segments: Segments, blocks: Blocks) -> dict[str, Any]:
    """Return the kernels' arguments that come from the inputs, by name."""
    arguments: dict[str, Any] = dict.fromkeys(Inputs._fields)
    for name, tensor in inputs.differentiable().items():
        if name in ("u", "delta", "z"):
            arguments[name], arguments[f"{name}_stride"] = with_row_stride(tensor)
        else:
            arguments[name] = tensor.contiguous()
    return {
        "z_stride": 0,
        **arguments,
        "A": inputs.A.t().contiguous(),
        "segments": segments.table,
        "SOFTPLUS": inputs.delta_softplus,
        **blocks.options,
    }


def _segments(inputs: Inputs, blocks: Blocks, enough: int) -> Segments:
    """Cut the sequences into segments for PROGRAMS programs, unless ``enough`` work side by side uncut."""
    batch, seqlen, _ = inputs.u.shape
    offsets = row_offsets(batch, seqlen, inputs.cu_seqlens)
    return _cut(offsets, _segment_length(offsets, blocks.count, enough, PROGRAMS, CHUNK), inputs.u.device)


@lru_cache(maxsize=64)
def _segment_length(offsets: Sequence[int], blocks: int, enough: int, programs: int, chunk: int) -> int:
    """Return how many rows a segment has, whole chunks of them."""
    most, work = longest(offsets), offsets[-1] * blocks
    length = max(-(-work // (programs * chunk)), 1) * chunk
    # Two halves side by side would take as much time as the whole, because each is gone through twice.
    if most * enough <= work or most <= 2 * length:
        length = -(-most // chunk) * chunk or chunk
    return length


@lru_cache(maxsize=64)
def _cut(offsets: Sequence[int], length: int, device: torch.device) -> Segments:
    """Cut sequences at these offsets into segments of ``length`` rows, the last of each perhaps shorter."""
    segments = cut(offsets, length)
    # Each sequence may end in a chunk that is not full: its checkpoints start one later for each before it.
    before = torch.tensor(list(offsets[:-1]), dtype=torch.int64, device="cpu")
    checkpoint = before[segments.sequence] // CHUNK + segments.sequence + segments.position // CHUNK
    table = torch.stack([segments.first, segments.rows, checkpoint], dim=1)
    pieces = len(table) > len(before)
    return Segments(table.to(device), segments.offsets.to(device), pieces)


def _empty_segment_states(segments: Segments, A: Tensor) -> tuple[Tensor, Tensor]:
    """Return memory for a state and a ΣΔ of each segment."""
    d_model, d_state = A.shape
    return A.new_empty(len(segments), d_state, d_model), A.new_empty(len(segments), d_model)


def _by_state(state: Tensor | None) -> Tensor | None:
    """Return states (S, D, N) as (S, N, D)."""
    return None if state is None else state.transpose(1, 2).contiguous()
