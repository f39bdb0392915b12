"""The backward kernel: chunks from the last to the first, each recomputed from the state kept before it.

With g_t the gradient of y_t before the gate, dh_t that of the state and a_t = exp(Δ_t A)::

    dh_t = C_t g_t + a_{t+1} dh_{t+1}        dC_t = Σ_d g_t h_t        dB_t = Σ_d dh_t Δ_t u_t
    s_t  = Σ_n dh_t B_t                      w_t  = dh_t a_t h_{t-1}   dA   = Σ_t w_t Δ_t
    du_t = Δ_t s_t + D g_t                   dΔ_t = u_t s_t + Σ_n w_t A
    dz_t = dy_t y_t silu'(z_t)               dD   = Σ_t g_t u_t

Vectors hold neighbouring channels, as in the forward. Only dB and dC sum over channels: their terms are
collected by lane over all blocks of a task and summed over the lanes once a chunk; tasks write parts, to be
added afterwards. Where B or C is a constant of each channel, its gradient is summed over time instead, as dA.
"""

from seqsuite.kernels.llvm.builder import Kernel
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.llvm.tasks import DIVISION, locate, task_count, thread_scratch
from seqsuite.kernels.selective_scan.cpu_backward_rows import BackwardRows
from seqsuite.kernels.selective_scan.cpu_backward_states import BackwardStates
from seqsuite.kernels.selective_scan.cpu_backward_work import Work, backward_scratch
from seqsuite.kernels.selective_scan.cpu_layout import CHUNK, Options

PARAMETERS = (
    *DIVISION,
    *("rows", "u", "u_stride", "delta", "delta_stride", "A", "B", "B_stride", "C", "C_stride"),
    *("D", "z", "z_stride", "delta_bias", "checkpoints", "dy", "dfinal_state"),
    *("du", "ddelta", "dA", "dB", "dC", "dD", "dz", "dz_stride", "ddelta_bias", "dinitial_state", "y"),
)


def build_backward(
    states_class: type[BackwardStates],
    options: Options,
    has_initial_state: bool,
    has_dfinal_state: bool,
    writes_y: bool,
    target: Target,
) -> Kernel:
    """Describe the kernel. With ``writes_y`` it writes the gated output of the forward once more.

    ``states_class`` runs the states: :class:`BackwardStates`, or the kind of it in ``cpu_complex``.
    """
    kernel = Kernel("selective_scan_backward", options.dtype, target, PARAMETERS)
    scratch = thread_scratch(kernel)
    with kernel.tasks(task_count(kernel)) as number:
        task = locate(kernel, number, CHUNK, options.ragged)
        arrays = backward_scratch(options, kernel.lanes, writes_y).arrays(scratch, task.blocks)
        work = Work(options, kernel, task, **arrays)
        rows, states = BackwardRows(work), states_class(work)
        rows.start_sums()
        states.start(has_dfinal_state)
        with kernel.reverse_loop(task.first_chunk, task.last_chunk) as chunk:
            row, steps = task.rows(chunk)
            rows.read(row, steps)
            states.run(chunk, row, steps)
            rows.write(row, steps)
            states.write_projections(row, steps)
        rows.store_sums()
        states.store_sums(has_initial_state)
    return kernel
