"""The inside of a Mamba block: the projections of Δ, B and C, the selective scan's step, and the gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from seqsuite.kernels.llvm.builder import Array, Index, Mask, Vector
from seqsuite.kernels.llvm.functions import LOG2_E, exp2, exp_minus_abs, fma, lane_sums, softplus
from seqsuite.kernels.llvm.tasks import for_each_tile
from seqsuite.kernels.mamba_decoder.cpu_steps import lanes_mask, multiply, silu
from seqsuite.kernels.mamba_decoder.weights import MambaSizes
from seqsuite.kernels.mamba_inner import ScanWeights


@dataclass(frozen=True)
class MambaInside:
    """See :class:`~seqsuite.kernels.mamba_decoder.cpu_kernel.Inside`."""

    tensors: ClassVar[tuple[str, ...]] = ScanWeights._fields
    sizes: MambaSizes

    def scratch(self) -> dict[str, int]:
        """Return room for δ, B and C, for Δ of each channel, and for Δ u."""
        sizes = self.sizes
        return {
            "controls": sizes.dt_rank + 2 * sizes.d_state,
            "delta": sizes.d_inner,
            "delta_u": sizes.d_inner,
        }

    def run(self, block: Mapping[str, Array], work: Mapping[str, Array], state: Array) -> None:
        """Advance the states (D, N) and write the gated outputs."""
        u, controls, sizes = work["u"], work["controls"], self.sizes
        width = sizes.dt_rank + 2 * sizes.d_state

        def write_delta(result: Vector, row: Index, mask: Mask | None) -> None:
            raw = result + block["dt_bias"].load(row, mask)
            delta = softplus(raw, exp_minus_abs(raw))
            work["delta"].store(delta, row, mask)
            work["delta_u"].store(delta * u.load(row, mask), row, mask)

        def update_channels(first: Index, count: int) -> None:
            self._update_channels(block, work, state, first, count)

        multiply(block["x_proj"], width, u, sizes.d_inner, controls.store)
        multiply(block["dt_proj"], sizes.d_inner, controls, sizes.dt_rank, write_delta)
        for_each_tile(u.kernel, sizes.d_inner, u.kernel.lanes, update_channels)

    def _update_channels(
        self, block: Mapping[str, Array], work: Mapping[str, Array], state: Array, first: Index, count: int
    ) -> None:
        """Go on with ``count`` channels. A vector holds states of one channel."""
        kernel, d_state, rank = state.kernel, self.sizes.d_state, self.sizes.dt_rank
        sums = []
        for channel in (first + i for i in range(count)):
            rate = work["delta"].broadcast(channel) * LOG2_E
            delta_u = work["delta_u"].broadcast(channel)
            total = kernel.vector(0.0)
            for n in range(0, d_state, kernel.lanes):
                mask = lanes_mask(kernel, min(d_state - n, kernel.lanes))
                here = channel * d_state + n
                B, C = (work["controls"].load(start + n, mask) for start in (rank, rank + d_state))
                decay = exp2(rate * block["A"].load(here, mask))
                h = fma(decay, state.load(here, mask), delta_u * B)
                state.store(h, here, mask)
                total = fma(h, C, total)
            sums.append(total)
        mask = lanes_mask(kernel, count)
        y = fma(block["D"].load(first, mask), work["u"].load(first, mask), lane_sums(sums))
        work["y"].store(y * silu(work["gate"].load(first, mask)), first, mask)
