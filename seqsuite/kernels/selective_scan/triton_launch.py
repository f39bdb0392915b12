"""From tensors to launches of the Triton kernels: how the work is cut, and memory for the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
import triton
from torch import Tensor

from seqsuite.kernels.gpu.launch import Runtime
from seqsuite.kernels.gpu.plan import Given, Piece, Plan, PlannedLaunch, Plans, Result, Workspace, looks
from seqsuite.kernels.gpu.segments import cut, longest, row_offsets
from seqsuite.kernels.gpu.triton_sums import COLUMNS, PARTS, WARPS, sum_programs
from seqsuite.kernels.selective_scan.inputs import Inputs
from seqsuite.kernels.selective_scan.triton_backward import gradient_kernel, segment_adjoint_kernel
from seqsuite.kernels.selective_scan.triton_device import combine_kernel
from seqsuite.kernels.selective_scan.triton_forward import output_kernel, segment_state_kernel
from seqsuite.kernels.selective_scan.triton_sums import BLOCKS_AHEAD, NUMBERS, sum_kernel
from seqsuite.kernels.strides import with_row_stride

# What the kernels read of the inputs, and of those what they find at any stride between rows.
TENSORS = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state")
VIEWS = ("u", "delta", "B", "C", "z")
BACKWARD_TENSORS = (*TENSORS, "dy", "dfinal_state", "checkpoints")

FORWARD_PLANS, BACKWARD_PLANS = Plans(), Plans()

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
        return Blocks._of_sizes(*inputs.A.shape, inputs.groups, warp_size)

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
    runtime = runtime or Runtime.of(inputs.u.device)
    offsets, tensors = _row_offsets(inputs), _tensors(inputs)
    key = (runtime, save, inputs.delta_softplus, offsets, looks(tensors))
    y, final_state, checkpoints = FORWARD_PLANS.find(
        key, lambda: _plan_forward(inputs, save, offsets, runtime)
    ).run(tensors)
    return y, final_state, checkpoints


def run_backward(
    dy: Tensor,
    dfinal_state: Tensor | None,
    checkpoints: Tensor,
    inputs: Inputs,
    runtime: Runtime | None = None,
) -> dict[str, Tensor]:
    """Return the gradients of the inputs that are given, named ``du``, ``ddelta`` and so on."""
    runtime = runtime or Runtime.of(inputs.u.device)
    offsets, tensors = _row_offsets(inputs), (*_tensors(inputs), dy, dfinal_state, checkpoints)
    key = (runtime, inputs.delta_softplus, offsets, looks(tensors))
    gradients = BACKWARD_PLANS.find(
        key,
        lambda: _plan_backward(inputs, dict(zip(BACKWARD_TENSORS, tensors, strict=True)), offsets, runtime),
    ).run(tensors)
    return dict(zip((f"d{name}" for name in inputs.differentiable()), gradients, strict=True))


def _tensors(inputs: Inputs) -> tuple[Tensor | None, ...]:
    """Return the inputs named in TENSORS."""
    u, delta, A, B, C, D, z, delta_bias, _, initial_state, _ = inputs
    return u, delta, A, B, C, D, z, delta_bias, initial_state


def _plan_forward(inputs: Inputs, save: bool, offsets: Sequence[int], runtime: Runtime) -> Plan:
    A = inputs.A
    blocks = Blocks.of(inputs, runtime.warp_size)
    segments = _segments(offsets, blocks, FORWARD_ENOUGH, A.device)
    constants = _constants(inputs, segments, blocks)
    workspace, programs, launches = Workspace(A.dtype), len(segments) * blocks.count, []
    state, elapsed = _segment_states(workspace, segments, A)
    ends: dict[str, Any] = {"states": state}
    if segments.cut:
        alone = constants | {"state": state, "elapsed": elapsed, "STEPS": SEGMENT_STEPS}
        chain = {"initial": Given("initial_state"), "final": Given("final_state"), "REVERSE": False}
        launches = [
            PlannedLaunch(segment_state_kernel, programs, alone),
            _combine(segments, blocks, alone | chain),
        ]
        ends["final_state"] = None
    ends["checkpoints"] = Given("checkpoints") if save else None
    launches.append(PlannedLaunch(output_kernel, programs, constants | ends | {"CHUNK": CHUNK}))
    results = {
        "y": Result("u"),
        "final_state": Result("A", (len(segments.offsets) - 1, *A.shape)),
        "checkpoints": Result("A", checkpoint_shape(inputs) if save else (0,)),
    }
    copied = _copied(dict(zip(TENSORS, _tensors(inputs), strict=True)))
    return Plan(runtime, TENSORS, results, launches, workspace=workspace, copied=copied)


def _plan_backward(
    inputs: Inputs, tensors: dict[str, Tensor | None], offsets: Sequence[int], runtime: Runtime
) -> Plan:
    A = inputs.A
    d_model, d_state = A.shape
    blocks = Blocks.of(inputs, runtime.warp_size)
    segments = _segments(offsets, blocks, BACKWARD_ENOUGH, A.device)
    constants = _constants(inputs, segments, blocks)
    rows, items = inputs.u.shape[0] * inputs.u.shape[1], len(segments) * blocks.count
    programs = min(items, PROGRAMS_PER_MULTIPROCESSOR * runtime.multiprocessors)
    workspace, launches = Workspace(A.dtype), []
    leaving = None if inputs.initial_state is None else Given("dinitial_state")
    ends: dict[str, Any] = {"entering": Given("dfinal_state"), "dinitial_state": leaving}
    if segments.cut:
        adjoint, elapsed = _segment_states(workspace, segments, A)
        alone = constants | {"adjoint": adjoint, "state": adjoint, "elapsed": elapsed, "STEPS": SEGMENT_STEPS}
        chain = {"initial": Given("dfinal_state"), "final": leaving, "REVERSE": True}
        launches = [
            PlannedLaunch(segment_adjoint_kernel, items, alone),
            _combine(segments, blocks, alone | chain),
        ]
        ends = {"entering": adjoint, "dinitial_state": None}
    projection = (blocks.per_group, inputs.groups, d_state, rows)
    kept = 3 + CHUNK // BACKWARD_STEPS + BACKWARD_STEPS - 1
    parts = {
        "part_sums": workspace.piece(len(segments), d_state + 2, d_model),
        "part_dB": workspace.piece(*projection),
        "part_dC": workspace.piece(*projection),
    }
    options = {
        "scratch": workspace.piece(programs, kept, d_state, blocks.channels),
        "rows": rows,
        "items": items,
        "READ": RECOMPUTE_STEPS,
        "TOGETHER": _states_together(d_state, runtime.architecture),
        "STEPS": BACKWARD_STEPS,
        "CHUNK": CHUNK,
    }
    absent = {f"d{name}": None for name in ("D", "z", "delta_bias") if getattr(inputs, name) is None}
    launches += [
        PlannedLaunch(gradient_kernel, programs, constants | parts | ends | options | absent),
        _sum(inputs, segments, blocks, parts | absent),
    ]
    results = {f"d{name}": Result(name) for name in inputs.differentiable()}
    copied = _copied(tensors)
    return Plan(runtime, BACKWARD_TENSORS, results, launches, workspace=workspace, copied=copied)


def _sum(inputs: Inputs, segments: Segments, blocks: Blocks, arguments: dict[str, Any]) -> PlannedLaunch:
    """Return the launch that sums up what programs leave of gradients that sum over rows or channels."""
    rows, (d_model, d_state) = inputs.u.shape[0] * inputs.u.shape[1], inputs.A.shape
    together = NUMBERS // blocks.options["STATES"]
    projections = -(-rows // together) * inputs.groups
    options = blocks.options | {
        "rows": rows,
        "segments_count": len(segments),
        "blocks": blocks.per_group,
        "projections": projections,
        "ROWS": together,
        "AHEAD": BLOCKS_AHEAD,
        "PARTS": PARTS,
        "COLUMNS": COLUMNS,
    }
    programs = projections + sum_programs(d_state + 2, d_model)
    return PlannedLaunch(sum_kernel, programs, arguments | options, WARPS)


def _states_together(d_state: int, architecture: int | str) -> int:
    """Return how many states the gradient kernel treats at once, where registers suffice for more than one.

    The order of no sum depends on it.
    """
    return 2 if d_state % 2 == 0 and isinstance(architecture, int) and architecture >= 90 else 1


def _combine(segments: Segments, blocks: Blocks, arguments: dict[str, Any]) -> PlannedLaunch:
    programs = (len(segments.offsets) - 1) * blocks.count * blocks.options["N"]
    chain = {"segment_offsets": segments.offsets, "AHEAD": COMBINE_AHEAD}
    return PlannedLaunch(combine_kernel, programs, arguments | chain)


def _constants(inputs: Inputs, segments: Segments, blocks: Blocks) -> dict[str, Any]:
    """Return the kernels' arguments that follow from the inputs, but for these."""
    views = {name: getattr(inputs, name) for name in VIEWS}
    strides = {f"{name}_stride": 0 if t is None else with_row_stride(t)[1] for name, t in views.items()}
    return {
        **strides,
        "segments": segments.table,
        "SOFTPLUS": inputs.delta_softplus,
        "CUT": segments.cut,
        **blocks.options,
    }


def _copied(tensors: dict[str, Tensor | None]) -> list[str]:
    """Return the names of those that the kernels cannot read where they lie."""

    def readable(name: str, tensor: Tensor) -> bool:
        return with_row_stride(tensor)[0] is tensor if name in VIEWS else tensor.is_contiguous()

    return [name for name, tensor in tensors.items() if tensor is not None and not readable(name, tensor)]


def _segment_states(workspace: Workspace, segments: Segments, A: Tensor) -> tuple[Piece, Piece]:
    """Reserve memory for a state and a ΣΔ of each segment."""
    d_model, d_state = A.shape
    return workspace.piece(len(segments), d_state, d_model), workspace.piece(len(segments), d_model)


def _row_offsets(inputs: Inputs) -> Sequence[int]:
    batch, seqlen, _ = inputs.u.shape
    return row_offsets(batch, seqlen, inputs.cu_seqlens)


def _segments(offsets: Sequence[int], blocks: Blocks, enough: int, device: torch.device) -> Segments:
    """Cut the sequences into segments for PROGRAMS programs, unless ``enough`` work side by side uncut."""
    return cut_segments(offsets, _segment_length(offsets, blocks.count, enough, PROGRAMS, CHUNK), device)


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
def cut_segments(offsets: Sequence[int], length: int, device: torch.device) -> Segments:
    """Cut sequences at these offsets into segments of ``length`` rows, the last of each perhaps shorter."""
    segments = cut(offsets, length)
    # Each sequence may end in a chunk that is not full: its checkpoints start one later for each before it.
    before = torch.tensor(list(offsets[:-1]), dtype=torch.int64, device="cpu")
    checkpoint = before[segments.sequence] // CHUNK + segments.sequence + segments.position // CHUNK
    table = torch.stack([segments.first, segments.rows, checkpoint], dim=1)
    pieces = len(table) > len(before)
    return Segments(table.to(device), segments.offsets.to(device), pieces)
