"""What the scan's kernels are specialised for, their scratch memory, and how they read their inputs."""

from collections.abc import Callable
from typing import NamedTuple

from seqsuite.kernels.llvm.builder import Array, Index, Mask, Vector
from seqsuite.kernels.llvm.tasks import Scratch, Task

# Positions that are worked on together. Only the state before each such chunk is kept for the backward. With
# shorter chunks that takes more memory; with longer ones the backward leaves the first-level cache.
CHUNK = 24

# B_t or C_t by the number of a state within a tile.
Projection = Callable[[int], Vector]


class Step(NamedTuple):
    """What one position brings to a tile of states of one block: B_t, C_t, Δ_t and Δ_t u_t."""

    B: Projection
    C: Projection
    delta: Vector
    delta_u: Vector


class Options(NamedTuple):
    """What a kernel is specialised for. Dtypes are named as PyTorch names them, without the prefix.

    Attributes:
        dtype: of the state, A, B, C and the biases: "float32" or "float64".
        u_dtype, delta_dtype, z_dtype: of the inputs.
        complex: whether A, B, C and the states are complex: each number two neighbouring ones in memory.
        d_state: N, or 2 N if they are complex.
        constant: which of "B" and "C" are constants (D, N) of each channel.
        ragged: whether the channels of a group are no multiple of the lanes.
        has_skip: whether there is a D.
        has_bias: whether there is a delta_bias.
        delta_softplus: whether Δ is a softplus.
    """

    dtype: str
    u_dtype: str
    delta_dtype: str
    z_dtype: str | None
    complex: bool
    d_state: int
    constant: tuple[str, ...]
    ragged: bool
    has_skip: bool
    has_bias: bool
    delta_softplus: bool

    @property
    def inputs(self) -> dict[str, str]:
        """Names and dtypes of the inputs (B, L, D) that are given."""
        dtypes = {"u": self.u_dtype, "delta": self.delta_dtype}
        return dtypes | ({"z": self.z_dtype} if self.z_dtype else {})

    @property
    def varying(self) -> list[str]:
        """Which of B and C are not constant."""
        return [name for name in ("B", "C") if name not in self.constant]


def forward_scratch(options: Options, lanes: int) -> Scratch:
    """Return what a thread keeps: A and the states of its channels, and Δ, Δu and y of a chunk."""
    states, rows = options.d_state * lanes, CHUNK * lanes
    by_state = dict.fromkeys(("A", "state", *options.constant), states)
    return Scratch(by_state | dict.fromkeys(("delta", "delta_u", "y"), rows), {})


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


def projection(
    task: Task, options: Options, name: str, row: Index, first: Index, constants: Array | None
) -> Projection:
    """Return a function that gives B_t or C_t of the state ``first + n`` for channels of a block.

    Where it is constant, ``constants`` are the block's, from the state ``first`` on, [n][lane].
    """
    kernel = task.kernel
    if constants is not None:
        return lambda n: constants.load(n * kernel.lanes)
    values = kernel.array(name)[row * kernel.parameter(f"{name}_stride") + task.group * options.d_state]
    return values[first].broadcast
