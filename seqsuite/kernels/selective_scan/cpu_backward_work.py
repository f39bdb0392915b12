"""What the steps of the backward kernel share: a task, its scratch memory, and rows of gradients."""

from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Array, Index, Kernel
from seqsuite.kernels.llvm.tasks import Scratch, Task
from seqsuite.kernels.selective_scan.cpu_layout import CHUNK, Options

# States that go through a chunk together. Their decays and values over a chunk, and the sums of dB and dC,
# stay in the first-level cache from one block of channels to the next.
STATES_PER_TILE = 4


def states_per_tile(options: Options) -> int:
    """Return how many states go through a chunk together."""
    return min(STATES_PER_TILE, options.d_state)


def padded_states(options: Options) -> int:
    """Return the number of states in tiles that are all full."""
    tile = states_per_tile(options)
    return -(-options.d_state // tile) * tile


def backward_scratch(options: Options, lanes: int, writes_y: bool) -> Scratch:
    """Return what a thread keeps of its channels and of a chunk; :class:`Work` has the layouts."""
    states, rows, tile = options.d_state * lanes, CHUNK * lanes, states_per_tile(options)
    by_state = dict.fromkeys(("A", "carry", "sum_A", *options.constant), states)
    constant_sums = {f"sum_{name}": states for name in options.constant}
    row_sums = {f"sum_{name}": CHUNK * padded_states(options) * lanes for name in options.varying}
    of_gate = ("y", "dz_by_y", *(("silu",) if writes_y else ())) if options.z_dtype else ()
    by_row = dict.fromkeys(("delta", "slope", "delta_u", "g", "s", "w", *of_gate), rows)
    by_channel = dict.fromkeys(("sum_D", "sum_bias"), lanes)
    shared = {"decay": CHUNK * tile * lanes, "h": (CHUNK + 1) * tile * lanes}
    return Scratch(by_state | constant_sums | by_row | by_channel, shared | row_sums)


@dataclass(frozen=True)
class Work:
    """A task and its scratch, by layout:

    - [block][n][lane]: ``A`` (times log2 e), ``carry`` (a_{t+1} dh_{t+1}), ``sum_A``; ``B``, ``C``, ``sum_B``
      and ``sum_C`` where they are constant
    - [block][t][lane]: ``delta``, ``slope`` (of Δ by the raw step size), ``delta_u``, ``g``, ``s``, ``w``
      (Σ_n w_t A log2 e); with a gate ``y`` (without the skip) and ``dz_by_y`` (dy silu'(z)), and to write y
      ``silu`` (of z)
    - [block][lane]: ``sum_D``, ``sum_bias``
    - [t][n][lane] for the tile of states at work: ``decay``, ``h`` (from h_{t-1} of the first position on)
    - [tile][t][n][lane]: ``sum_B``, ``sum_C`` where they are not
    """

    options: Options
    kernel: Kernel
    task: Task
    A: Array
    carry: Array
    sum_A: Array
    sum_B: Array
    sum_C: Array
    delta: Array
    slope: Array
    delta_u: Array
    g: Array
    s: Array
    w: Array
    sum_D: Array
    sum_bias: Array
    decay: Array
    h: Array
    y: Array | None = None
    dz_by_y: Array | None = None
    silu: Array | None = None
    B: Array | None = None
    C: Array | None = None

    def position(self, block: Index, t: Index) -> Index:
        """Return where a position of a block is in arrays [block][t][lane]."""
        return (block * CHUNK + t) * self.kernel.lanes

    def total(self, name: str) -> Array:
        """Return the sums for the gradient of "A", "B" or "C"."""
        return {"A": self.sum_A, "B": self.sum_B, "C": self.sum_C}[name]

    def total_position(self, t: Index, n: Index) -> Index:
        """Return where the gradient of state n at position t is in ``sum_B`` and ``sum_C``."""
        tile = states_per_tile(self.options)
        return ((n // tile * CHUNK + t) * tile + n % tile) * self.kernel.lanes

    def first_state(self) -> Index:
        """Return where the sequence begins in arrays (S, D, N)."""
        return self.task.sequence * self.kernel.parameter("d_model") * self.options.d_state

    def output(self, name: str, dtype: str, row: Index) -> Array:
        """Return a row of y, dy or a gradient (B, L, D); that of z may lie in a wider tensor."""
        stride = self.kernel.parameter("dz_stride" if name == "dz" else "d_model")
        return self.kernel.array(name, dtype)[row * stride]
