"""From the scan's tensors to a run of its kernels: options, and memory for the results."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor

from seqsuite.kernels.llvm.jit import CompiledKernel, compile_kernel
from seqsuite.kernels.llvm.memory import new_empty
from seqsuite.kernels.llvm.run import Argument, Division, dtype_name, packed_sequences, worthwhile_threads
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.selective_scan import cpu_backward, cpu_forward
from seqsuite.kernels.selective_scan.cpu_backward_states import BackwardStates
from seqsuite.kernels.selective_scan.cpu_backward_work import backward_scratch
from seqsuite.kernels.selective_scan.cpu_complex import ComplexBackwardStates, ComplexForward
from seqsuite.kernels.selective_scan.cpu_layout import CHUNK, Options, forward_scratch
from seqsuite.kernels.selective_scan.inputs import Inputs
from seqsuite.kernels.strides import with_row_stride

# State updates below which a second thread takes longer to wake than it saves; the backward's cost more.
FORWARD_UPDATES_PER_THREAD = 1 << 18
BACKWARD_UPDATES_PER_THREAD = 1 << 16

# The backward is cut into as many tasks at least, where each has two blocks of channels: more would keep more
# threads busy, but every part of a group writes a dB and a dC of its own, (B, L, N) each.
MIN_BACKWARD_TASKS = 4


@dataclass(frozen=True)
class Geometry(Division):
    """The sizes of a scan.

    Attributes:
        complex: whether the states are complex.
        d_state: N, or 2 N if they are complex.
        dtype: in which the kernels compute, a real one.
    """

    complex: bool
    d_state: int
    dtype: torch.dtype

    @staticmethod
    def of_scan(inputs: Inputs) -> "Geometry":
        """Return the sizes of these inputs."""
        return Geometry.of_key(*Geometry.key(inputs))

    @staticmethod
    def key(inputs: Inputs) -> tuple[torch.Size, int | None, int, int, torch.dtype]:
        """Return what the sizes follow from: (B, L, D), number of packed sequences, G, N, and A's dtype."""
        A, packed = inputs.A, packed_sequences(inputs.cu_seqlens)
        return inputs.u.shape, packed, inputs.groups, A.shape[1], A.dtype

    @staticmethod
    def of_key(
        shape: torch.Size, packed: int | None, groups: int, d_state: int, dtype: torch.dtype
    ) -> "Geometry":
        """Return the sizes that follow from :meth:`key`."""
        real = dtype.to_real()
        lanes = host_target().vector_bytes // real.itemsize
        division = Division.of(shape, packed, groups, lanes, CHUNK)
        numbers = 2 * d_state if dtype.is_complex else d_state
        return Geometry(**vars(division), complex=dtype.is_complex, d_state=numbers, dtype=real)

    @property
    def checkpoint_shape(self) -> tuple[int, ...]:
        """Shape of the states kept before each chunk."""
        return (self.chunks, self.groups * self.blocks_per_group, self.d_state, self.lanes)

    @property
    def updates(self) -> int:
        """Number of state updates."""
        return self.rows * self.d_model * self.d_state

    def backward_parts(self) -> int:
        """Return how many tasks share a group in the backward, by shape alone.

        Each part is a term of the sums in dB and dC. In the forward no task adds to what another one writes,
        so that there any number gives the same bits.
        """
        for_cores = -(-MIN_BACKWARD_TASKS // (self.sequences * self.groups))
        return max(self.parts_for_cache(), min(for_cores, self.blocks_per_group // 2), 1)


# What a fake tensor's sizes are made of cannot be a key, so only runs look there.
_known_geometry = lru_cache(maxsize=256)(Geometry.of_key)


def checkpoint_shape(inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of what a forward keeps for the backward."""
    return Geometry.of_scan(inputs).checkpoint_shape


def run_forward(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return y (B, L, D), the final states (S, D, N) and, with ``save``, the states before each chunk."""
    geometry = _known_geometry(*Geometry.key(inputs))
    u, A = inputs.u, inputs.A
    y = new_empty(u, u.shape)
    final_state = A.new_empty((geometry.sequences, *A.shape))
    checkpoints = new_empty(A, geometry.checkpoint_shape if save else (0,), geometry.dtype)
    options = _options(inputs, geometry)
    threads = worthwhile_threads(geometry.updates, FORWARD_UPDATES_PER_THREAD)
    parts = geometry.parts_for_threads(threads)
    geometry.run(
        forward_kernel(options, inputs.initial_state is not None, save),
        cpu_forward.PARAMETERS,
        _kernel_inputs(inputs.differentiable())
        | {"y": y, "final_state": final_state, "checkpoints": checkpoints},
        scratch_size=_forward_scratch_size(options, geometry.lanes, geometry.blocks_per_task(parts)),
        parts=parts,
        threads=threads,
        cu_seqlens=inputs.cu_seqlens,
        like=checkpoints,
    )
    return y, final_state, checkpoints


def run_backward(
    dy: Tensor,
    dfinal_state: Tensor | None,
    checkpoints: Tensor,
    inputs: Inputs,
    into: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the gradients of the inputs that are given, in their order, named ``du``, ``ddelta`` and so on.

    Args:
        dy: Gradient of y (B, L, D).
        dfinal_state: Gradient of the final states (S, D, N).
        checkpoints: The states that :func:`run_forward` has kept.
        inputs: Its inputs.
        into: Tensors (B, L, D) to write results to: ``dz``, its rows in one stride; ``ddelta``, which may be
            delta itself; and ``y``, the forward's y once more, of a scan with a gate, which may be ``dy``.
            Each place is read before it is written.
    """
    geometry = _known_geometry(*Geometry.key(inputs))
    parts = geometry.backward_parts()
    blocks = geometry.blocks_per_task(parts)
    into = into or {}
    given, gradients = inputs.differentiable(), {}
    terms = _terms(inputs, geometry.sequences, parts)
    for name, tensor in given.items():
        n_terms = terms.get(name, 1)
        shape = tensor.shape if n_terms == 1 else (n_terms, *tensor.shape)
        gradients[f"d{name}"] = into[f"d{name}"] if f"d{name}" in into else new_empty(tensor, shape)
    arguments: dict[str, Argument] = {
        **_kernel_inputs(given),
        **gradients,
        "dz_stride": gradients["dz"].stride(1) if inputs.z is not None else None,
        "dy": dy.contiguous(),
        "checkpoints": checkpoints,
        "dfinal_state": None if dfinal_state is None else _in_reals(dfinal_state).contiguous(),
        "y": into.get("y"),
    }
    options = _options(inputs, geometry)
    geometry.run(
        backward_kernel(options, inputs.initial_state is not None, dfinal_state is not None, "y" in into),
        cpu_backward.PARAMETERS,
        arguments,
        scratch_size=_backward_scratch_size(options, geometry.lanes, blocks, "y" in into),
        parts=parts,
        threads=worthwhile_threads(geometry.updates, BACKWARD_UPDATES_PER_THREAD),
        cu_seqlens=inputs.cu_seqlens,
        like=checkpoints,
    )
    for name, n_terms in terms.items():
        if n_terms != 1 and name in given:
            gradients[f"d{name}"] = gradients[f"d{name}"].sum(0)
    return gradients


def _terms(inputs: Inputs, sequences: int, parts: int) -> dict[str, int]:
    """Return of how many terms a gradient is the sum: one of each sequence, or of each part of a group."""
    terms = dict.fromkeys(("A", "D", "delta_bias"), sequences)
    for name, projection in (("B", inputs.B), ("C", inputs.C)):
        terms[name] = sequences if projection.dim() == 2 else parts
    return terms


@lru_cache(maxsize=256)
def _forward_scratch_size(options: Options, lanes: int, blocks: int) -> int:
    return forward_scratch(options, lanes).size(blocks)


@lru_cache(maxsize=256)
def _backward_scratch_size(options: Options, lanes: int, blocks: int, writes_y: bool) -> int:
    return backward_scratch(options, lanes, writes_y).size(blocks)


@cache
def forward_kernel(options: Options, has_initial_state: bool, save: bool) -> CompiledKernel:
    """Return the forward kernel for these options, compiled when it is first asked for."""
    scan_class = ComplexForward if options.complex else cpu_forward.Forward
    kernel = cpu_forward.build_forward(scan_class, options, has_initial_state, save, host_target())
    return compile_kernel(kernel)


@cache
def backward_kernel(
    options: Options, has_initial_state: bool, has_dfinal_state: bool, writes_y: bool
) -> CompiledKernel:
    """Return the backward kernel likewise."""
    states_class = ComplexBackwardStates if options.complex else BackwardStates
    kernel = cpu_backward.build_backward(
        states_class, options, has_initial_state, has_dfinal_state, writes_y, host_target()
    )
    return compile_kernel(kernel)


def _kernel_inputs(given: Mapping[str, Tensor]) -> dict[str, Argument]:
    """Return the kernels' parameters that come from the inputs; tensors are kept alive by being in it."""
    values: dict[str, Argument] = {}
    for name, tensor in given.items():
        tensor = _in_reals(tensor)
        if name in ("u", "delta", "B", "C", "z") and tensor.dim() > 2:
            values[name], values[f"{name}_stride"] = with_row_stride(tensor)
        else:
            values[name] = tensor.contiguous()
    return values


def _in_reals(tensor: Tensor) -> Tensor:
    """Return a complex tensor (…, N) as a real one (…, 2 N), real and imaginary parts in turn."""
    return torch.view_as_real(tensor.resolve_conj()).flatten(-2) if tensor.is_complex() else tensor


def _options(inputs: Inputs, geometry: Geometry) -> Options:
    return Options(
        dtype=dtype_name(geometry.dtype),
        u_dtype=dtype_name(inputs.u.dtype),
        delta_dtype=dtype_name(inputs.delta.dtype),
        z_dtype=None if inputs.z is None else dtype_name(inputs.z.dtype),
        complex=geometry.complex,
        d_state=geometry.d_state,
        constant=tuple(name for name in ("B", "C") if getattr(inputs, name).dim() == 2),
        ragged=geometry.ragged,
        has_skip=inputs.D is not None,
        has_bias=inputs.delta_bias is not None,
        delta_softplus=inputs.delta_softplus,
    )
