"""The inside of a Mamba-2 block: the step of SSD, the gate, and the gated norm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from seqsuite.kernels.llvm.builder import Array, Index, Mask, Variable, Vector
from seqsuite.kernels.llvm.functions import LOG2_E, exp2, exp_minus_abs, fma, lane_sums, softplus
from seqsuite.kernels.llvm.tasks import for_each_tile
from seqsuite.kernels.mamba_decoder.cpu_steps import for_each_vector, lanes_mask, normalise, silu
from seqsuite.kernels.mamba_decoder.weights import Mamba2Sizes


@dataclass(frozen=True)
class Mamba2Inside:
    """See :class:`~seqsuite.kernels.mamba_decoder.cpu_kernel.Inside`."""

    tensors: ClassVar[tuple[str, ...]] = ("A", "D", "dt_bias", "gated_norm", "gated_norm_eps")
    sizes: Mamba2Sizes

    def scratch(self) -> dict[str, int]:
        """Return room for Δ and the decay of each head."""
        return {"delta": self.sizes.n_heads, "decay": self.sizes.n_heads}

    def run(self, block: Mapping[str, Array], work: Mapping[str, Array], state: Array) -> None:
        """Advance the states (H, D / H, N) and write the outputs, gated and normalised."""
        kernel, sizes, y = state.kernel, self.sizes, work["y"]
        head_dim, group_width = sizes.d_inner // sizes.n_heads, sizes.d_inner // sizes.norm_groups
        self._discretise(block, work)
        with kernel.loop(0, sizes.n_heads) as head:

            def update_channels(first: Index, count: int) -> None:
                self._update_channels(block, work, state, head, head * head_dim + first, count)

            for_each_tile(kernel, head_dim, kernel.lanes, update_channels)
        with kernel.loop(0, sizes.norm_groups) as group:
            gated, weight = y[group * group_width], block["gated_norm"][group * group_width]
            normalise(gated, group_width, weight, block["gated_norm_eps"], gated)

    def _discretise(self, block: Mapping[str, Array], work: Mapping[str, Array]) -> None:
        """Write Δ = softplus(dt + dt_bias) and exp(Δ A) of each head."""
        dt = work["projected"][self.sizes.convolved.stop]

        def discretise_heads(head: Index, mask: Mask | None) -> None:
            raw = dt.load(head, mask) + block["dt_bias"].load(head, mask)
            delta = softplus(raw, exp_minus_abs(raw))
            work["delta"].store(delta, head, mask)
            work["decay"].store(exp2(delta * LOG2_E * block["A"].load(head, mask)), head, mask)

        for_each_vector(dt.kernel, self.sizes.n_heads, discretise_heads)

    def _update_channels(
        self,
        block: Mapping[str, Array],
        work: Mapping[str, Array],
        state: Array,
        head: Index,
        first: Index,
        count: int,
    ) -> None:
        """Go on with ``count`` channels of a head, one after the other, so that memory is read in order."""
        kernel, sizes, u = state.kernel, self.sizes, work["u"]
        group = head // (sizes.n_heads // sizes.n_groups)
        B = u[group * sizes.d_state + sizes.d_inner]
        C = B[sizes.n_groups * sizes.d_state]
        decay, delta = work["decay"].broadcast(head), work["delta"].broadcast(head)
        sums = [
            self._update_channel(state[channel * sizes.d_state], decay, u.broadcast(channel) * delta, B, C)
            for channel in (first + i for i in range(count))
        ]
        mask = lanes_mask(kernel, count)
        y = fma(block["D"].broadcast(head), u.load(first, mask), lane_sums(sums))
        work["y"].store(y * silu(work["gate"].load(first, mask)), first, mask)

    def _update_channel(self, state: Array, decay: Vector, delta_u: Vector, B: Array, C: Array) -> Vector:
        """Advance the states (N,) of a channel; return a vector whose lanes add up to its output."""
        total = Variable(state.kernel, state.kernel.vector(0.0))

        def update(n: Index, mask: Mask | None) -> None:
            h = fma(decay, state.load(n, mask), delta_u * B.load(n, mask))
            state.store(h, n, mask)
            total.value = fma(h, C.load(n, mask), total.value)

        for_each_vector(state.kernel, self.sizes.d_state, update)
        return total.value
