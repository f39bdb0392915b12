"""What the scan's kernels do otherwise where A is complex: one step of the recurrence, forth and back.

In memory a complex number is two real ones, its real and its imaginary part. The kernels hold them as two
vectors, one after the other, so that to all that only moves, keeps or sums numbers N complex states are 2 N
real ones. The gradient of a complex number z is that of its parts, dz = ∂/∂Re z + i ∂/∂Im z, as in PyTorch.
With a_t = exp(Δ_t A) and a bar for the conjugate::

    y_t  = 2 Re Σ_n C_t h_t + D u_t
    dh_t = 2 C̄_t g_t + ā_{t+1} dh_{t+1}     dC_t = Σ_d 2 g_t h̄_t       dB_t = Σ_d dh_t Δ_t u_t
    s_t  = Re Σ_n dh_t B̄_t                  w_t  = dh_t ā_t h̄_{t-1}    dA   = Σ_t w_t Δ_t
    dΔ_t = u_t s_t + Re Σ_n w_t Ā

The rest is as :mod:`~.cpu_forward` and :mod:`~.cpu_backward_states` say.
"""

from typing import NamedTuple

from seqsuite.kernels.llvm.builder import Array, Index, Variable, Vector
from seqsuite.kernels.llvm.functions import LOG2_E, exp2, fma, sin_cos
from seqsuite.kernels.selective_scan.cpu_backward_states import BackwardStates, Tile
from seqsuite.kernels.selective_scan.cpu_forward import Forward
from seqsuite.kernels.selective_scan.cpu_layout import Step


class Complex(NamedTuple):
    """A complex number in each lane."""

    real: Vector
    imaginary: Vector

    def conjugate_times(self, other: "Complex") -> "Complex":
        """Return the product of this number's conjugate and another number."""
        return Complex(
            fma(self.real, other.real, self.imaginary * other.imaginary),
            fma(self.real, other.imaginary, -(self.imaginary * other.real)),
        )


class ComplexForward(Forward):
    """The steps of one task with complex states."""

    def _advance(self, h: list[Variable], A: Array, step: Step, y: Vector) -> Vector:
        lanes, of_states = self.kernel.lanes, self.kernel.vector(0.0)
        for n in range(0, len(h), 2):
            decay = _decay(step.delta, A.load(n * lanes), A.load((n + 1) * lanes))
            state = _next_state(decay, h, step, n)
            of_states = _add_real_product(of_states, state, step, n)
        return fma(of_states, 2.0, y)


class ComplexBackwardStates(BackwardStates):
    """The backward's work on complex states."""

    def _advance(self, tile: Tile, t: Index, step: Step, g: Vector, y: Vector | None) -> Vector | None:
        count, of_states, twice_g = len(tile.state), self.work.kernel.vector(0.0), g * 2.0
        for n in range(0, count, 2):
            decay = _decay(step.delta, tile.A[n], tile.A[n + 1])
            h = _next_state(decay, tile.state, step, n)
            self._store(self.work.decay, t * count + n, decay)
            self._store(self.work.h, (t + 1) * count + n, h)
            self._add_term(tile, "C", t, n, twice_g, h.real)
            self._add_term(tile, "C", t, n + 1, -twice_g, h.imaginary)
            of_states = _add_real_product(of_states, h, step, n)
        return None if y is None else fma(of_states, 2.0, y)

    def _go_back(
        self, tile: Tile, t: Index, step: Step, g: Vector, s: Vector, w_A: Vector
    ) -> tuple[Vector, Vector]:
        count, carry, twice_g = len(tile.state), tile.state, g * 2.0
        for n in range(0, count, 2):
            here = t * count + n
            dh = Complex(
                fma(step.C(n), twice_g, carry[n].value), fma(-step.C(n + 1), twice_g, carry[n + 1].value)
            )
            self._add_term(tile, "B", t, n, dh.real, step.delta_u)
            self._add_term(tile, "B", t, n + 1, dh.imaginary, step.delta_u)
            s = fma(dh.imaginary, step.B(n + 1), fma(dh.real, step.B(n), s))
            back = self._load(self.work.decay, here).conjugate_times(dh)
            carry[n].value, carry[n + 1].value = back
            w = self._load(self.work.h, here).conjugate_times(back)
            self._add_term(tile, "A", t, n, w.real, step.delta)
            self._add_term(tile, "A", t, n + 1, w.imaginary, step.delta)
            # As the real parts in the tile, the sum over A is times log2 e.
            w_A = fma(w.imaginary, tile.A[n + 1] * LOG2_E, fma(w.real, tile.A[n], w_A))
        return s, w_A

    def _load(self, array: Array, position: Index) -> Complex:
        lanes = self.work.kernel.lanes
        return Complex(array.load(position * lanes), array.load((position + 1) * lanes))

    def _store(self, array: Array, position: Index, number: Complex) -> None:
        for part, vector in enumerate(number):
            array.store(vector, (position + part) * self.work.kernel.lanes)


def _decay(delta: Vector, rate: Vector, frequency: Vector) -> Complex:
    """Return exp(Δ A), given Re A log2(e) and Im A."""
    magnitude, (sine, cosine) = exp2(delta * rate, more_degrees=1), sin_cos(delta * frequency)
    return Complex(magnitude * cosine, magnitude * sine)


def _next_state(decay: Complex, h: list[Variable], step: Step, n: int) -> Complex:
    """Move the state whose parts are numbers n and n + 1 of a tile one position on, and return it."""
    real, imaginary = h[n].value, h[n + 1].value
    fed_real, fed_imaginary = step.delta_u * step.B(n), step.delta_u * step.B(n + 1)
    h[n].value = fma(-decay.imaginary, imaginary, fma(decay.real, real, fed_real))
    h[n + 1].value = fma(decay.imaginary, real, fma(decay.real, imaginary, fed_imaginary))
    return Complex(h[n].value, h[n + 1].value)


def _add_real_product(total: Vector, state: Complex, step: Step, n: int) -> Vector:
    """Return total + Re(C_t h_t) for the state whose parts are numbers n and n + 1."""
    return fma(-step.C(n + 1), state.imaginary, fma(step.C(n), state.real, total))
