"""Functions of vectors: exp2, softplus, sigmoid, sine and cosine, sums over lanes, transposition.

Every function passes NaN on. Polynomials interpolate at Chebyshev points; their coefficients are computed
when a kernel is built, to a degree that leaves an error below the rounding of the dtype.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numpy.polynomial import Chebyshev, Polynomial

from seqsuite.kernels.llvm.builder import I32, Kernel, Mask, Vector

Points = npt.NDArray[np.float64]

LOG2_E = math.log2(math.e)

# To more digits than three float64 hold.
HALF_PI = Fraction("1.57079632679489661923132169163975144209858469968755291048747")

# Degrees of the polynomials, by dtype, and the layout of the dtype's bits.
EXP2_DEGREE = {"float32": 5, "float64": 13}
LOG1P_DEGREE = {"float32": 10, "float64": 20}
SIN_COS_DEGREE = {"float32": 2, "float64": 5}
MANTISSA_BITS = {"float32": 23, "float64": 52}
EXPONENT_BIAS = {"float32": 127, "float64": 1023}


def fma(a: Vector, b: Vector | float, c: Vector | float) -> Vector:
    """Return a b + c, rounded once."""
    kernel = a.kernel
    operands = [kernel.vector(x).value for x in (a, b, c)]
    return Vector(kernel, kernel.intrinsic(f"llvm.fma.{_suffix(kernel)}", kernel.vector_type, operands))


def sqrt(x: Vector) -> Vector:
    """Return the square root."""
    kernel = x.kernel
    return Vector(kernel, kernel.intrinsic(f"llvm.sqrt.{_suffix(kernel)}", kernel.vector_type, [x.value]))


def exp2(x: Vector, more_degrees: int = 0) -> Vector:
    """Return 2^x = 2^k · 2^f for the integer k nearest to x.

    Near 0 the error is that of rounding: a decay close to 1 is taken very often. Elsewhere it reaches 3 ulp
    in float32; with one degree more it stays below 1.
    """
    kernel = x.kernel
    degree = EXP2_DEGREE[kernel.dtype] + more_degrees
    return _exp2_avx512(x, degree) if kernel.target.has_avx512 else _exp2_by_exponent_bits(x, degree)


def exp_minus_abs(x: Vector, more_degrees: int = 0) -> Vector:
    """Return exp(-|x|), by :func:`exp2`."""
    kernel = x.kernel
    magnitude = Vector(
        kernel, kernel.intrinsic(f"llvm.fabs.{_suffix(kernel)}", kernel.vector_type, [x.value])
    )
    return exp2(magnitude * -LOG2_E, more_degrees)


def softplus(x: Vector, e: Vector) -> Vector:
    """Return log(1 + exp(x)), given e = exp(-|x|)."""
    return fma(_polynomial(e, _log1p_over_x(LOG1P_DEGREE[x.kernel.dtype])), e, at_least(x, 0.0))


def sigmoid(x: Vector, e: Vector) -> Vector:
    """Return 1 / (1 + exp(-x)), given e = exp(-|x|)."""
    kernel = x.kernel
    of_magnitude = reciprocal(1.0 + e)
    negative = kernel.ir.fcmp_ordered("<", x.value, kernel.vector(0.0).value)
    return Vector(kernel, kernel.ir.select(negative, (of_magnitude * e).value, of_magnitude.value))


def reciprocal(x: Vector) -> Vector:
    """Return 1 / x for a finite x whose reciprocal is neither tiny nor huge, in float32 within 1 ulp."""
    kernel = x.kernel
    if not kernel.target.has_avx512 or kernel.dtype != "float32":
        return 1.0 / x
    # An estimate to 14 bits and one step of Newton's: a division takes four times as long.
    undefined, everywhere = ir.Constant(kernel.vector_type, ir.Undefined), ir.IntType(16)(-1)
    name, arguments = "llvm.x86.avx512.rcp14.ps.512", [x.value, undefined, everywhere]
    estimate = Vector(kernel, kernel.intrinsic(name, kernel.vector_type, arguments))
    return fma(fma(-x, estimate, 1.0), estimate, estimate)


def sin_cos(x: Vector) -> tuple[Vector, Vector]:
    """Return the sine and the cosine, accurate for |x| up to 10^5 in float32 and 10^8 in float64.

    Cody and Waite's reduction: with k the integer nearest to x / (π/2), r = x - k π/2 is computed with π/2 as
    a sum of three numbers; the first difference is exact. The sine and the cosine of r are, but for their
    signs and order, those of x. Beyond the range both are wrong, but at most 1.
    """
    kernel = x.kernel
    # Adding 1.5 · 2^mantissa rounds and leaves the integer in the low bits.
    magic = 1.5 * 2.0 ** MANTISSA_BITS[kernel.dtype]
    shifted = fma(x, 2 / math.pi, magic)
    k, r = shifted - magic, x
    for part in _half_pi_parts(kernel.dtype):
        r = fma(k, -part, r)
    r = at_most(at_least(r, -1.0), 1.0)
    square, degree = r * r, SIN_COS_DEGREE[kernel.dtype]
    sine = fma(r * square, _polynomial(square, _sin_tail(degree)), r)
    cosine = fma(square * square, _polynomial(square, _cos_tail(degree)), fma(square, -0.5, 1.0))
    return _rotate_by_quarters(shifted, sine, cosine)


def at_least(x: Vector, bound: float) -> Vector:
    """Return the larger of x and ``bound``; NaN stays NaN."""
    kernel = x.kernel
    limit = kernel.vector(bound)
    below = kernel.ir.fcmp_ordered("<", x.value, limit.value)
    return Vector(kernel, kernel.ir.select(below, limit.value, x.value))


def at_most(x: Vector, bound: float) -> Vector:
    """Return the smaller of x and ``bound``; NaN stays NaN."""
    kernel = x.kernel
    limit = kernel.vector(bound)
    above = kernel.ir.fcmp_ordered(">", x.value, limit.value)
    return Vector(kernel, kernel.ir.select(above, limit.value, x.value))


def where(mask: Mask, x: Vector, otherwise: Vector) -> Vector:
    """Return x in the lanes of the mask and ``otherwise`` in others."""
    return Vector(x.kernel, x.kernel.ir.select(mask.value, x.value, otherwise.value))


def zero_below(x: Vector, bound: float) -> Vector:
    """Return x where it is not below ``bound``, else 0; NaN stays NaN."""
    kernel = x.kernel
    below = kernel.ir.fcmp_ordered("<", x.value, kernel.vector(bound).value)
    return Vector(kernel, kernel.ir.select(below, kernel.vector(0.0).value, x.value))


def lane_sums(vectors: list[Vector]) -> Vector:
    """Return the vector whose lane i is the sum over the lanes of ``vectors[i]``; lanes beyond them are zero.

    Each round adds neighbouring lanes and joins vectors two by two: a transposition and the sums share
    one tree.
    """
    kernel = vectors[0].kernel
    lanes = kernel.lanes
    vectors = vectors + [kernel.vector(0.0)] * (lanes - len(vectors))
    even, odd = (ir.Constant(ir.VectorType(I32, lanes), list(range(start, 2 * lanes, 2))) for start in (0, 1))
    while len(vectors) > 1:
        pairs = zip(vectors[0::2], vectors[1::2], strict=True)
        vectors = [_shuffle(left, right, even) + _shuffle(left, right, odd) for left, right in pairs]
    return vectors[0]


def transpose(vectors: list[Vector]) -> list[Vector]:
    """Return the columns of a square whose rows are ``vectors``, as many as lanes.

    Each round shuffles the first half of the rows like cards into the second.
    """
    lanes = len(vectors)
    half = lanes // 2
    halves = [
        ir.Constant(ir.VectorType(I32, lanes), [start + i // 2 + i % 2 * lanes for i in range(lanes)])
        for start in (0, half)
    ]
    for _ in range(lanes.bit_length() - 1):
        pairs = zip(vectors[:half], vectors[half:], strict=True)
        vectors = [_shuffle(left, right, order) for left, right in pairs for order in halves]
    return vectors


def _shuffle(left: Vector, right: Vector, order: ir.Constant) -> Vector:
    return Vector(left.kernel, left.kernel.ir.shuffle_vector(left.value, right.value, order))


def _exp2_avx512(x: Vector, degree: int) -> Vector:
    """AVX-512: one instruction gives x - k, one scales by 2^k, overflow and underflow included."""
    kernel = x.kernel
    kind, mask_type = ("ps", ir.IntType(16)) if kernel.dtype == "float32" else ("pd", ir.IntType(8))
    undefined, everywhere = ir.Constant(kernel.vector_type, ir.Undefined), mask_type(-1)
    to_nearest, current_rounding = I32(8), I32(4)

    def instruction(name: str, operands: list[ir.Value]) -> Vector:
        arguments = [*operands, undefined, everywhere, current_rounding]
        name = f"llvm.x86.avx512.mask.{name}.{kind}.512"
        return Vector(kernel, kernel.intrinsic(name, kernel.vector_type, arguments))

    f = instruction("reduce", [x.value, to_nearest])
    return instruction("scalef", [_exp2_fraction(f, degree).value, (x - f).value])


def _exp2_by_exponent_bits(x: Vector, degree: int) -> Vector:
    """Elsewhere: adding 1.5 · 2^mantissa rounds and leaves the integer in the low bits, to be shifted."""
    kernel = x.kernel
    dtype, mantissa = kernel.dtype, MANTISSA_BITS[kernel.dtype]
    integers = ir.VectorType(ir.IntType(8 * kernel.element.bytes), kernel.lanes)
    # At the lower bound 2^x comes out as 0, at the upper one as infinity.
    bounded = at_most(at_least(x, -float(EXPONENT_BIAS[dtype])), EXPONENT_BIAS[dtype] + 1.0)
    magic = 1.5 * 2.0**mantissa
    shifted = bounded + magic
    fraction_power = _exp2_fraction(bounded - (shifted - magic), degree)
    shift = ir.Constant(integers, [mantissa] * kernel.lanes)
    exponent = kernel.ir.shl(kernel.ir.bitcast(shifted.value, integers), shift)
    scaled = kernel.ir.add(kernel.ir.bitcast(fraction_power.value, integers), exponent)
    result = kernel.ir.bitcast(scaled, kernel.vector_type)
    is_nan = kernel.ir.fcmp_unordered("uno", x.value, x.value)
    return Vector(kernel, kernel.ir.select(is_nan, x.value, result))


def _exp2_fraction(f: Vector, degree: int) -> Vector:
    """Return 2^f for f in [-1/2, 1/2], exactly 1 at 0."""
    return fma(f, _polynomial(f, _exp2_minus_1_over_x(degree - 1)), 1.0)


def _rotate_by_quarters(shifted: Vector, sine: Vector, cosine: Vector) -> tuple[Vector, Vector]:
    """Return the sine and the cosine k quarters of a turn further on, where k is in the low bits."""
    kernel = shifted.kernel
    bits = 8 * kernel.element.bytes
    integers = ir.VectorType(ir.IntType(bits), kernel.lanes)

    def constant(number: int) -> ir.Constant:
        return ir.Constant(integers, [number] * kernel.lanes)

    def with_sign(magnitude: ir.Value, quarters: ir.Value) -> Vector:
        """Negate where the second bit is set: in the third and fourth quarter."""
        sign = kernel.ir.and_(kernel.ir.shl(quarters, constant(bits - 2)), constant(1 << (bits - 1)))
        signed = kernel.ir.xor(kernel.ir.bitcast(magnitude, integers), sign)
        return Vector(kernel, kernel.ir.bitcast(signed, kernel.vector_type))

    quarters = kernel.ir.bitcast(shifted.value, integers)
    even = kernel.ir.icmp_signed("==", kernel.ir.and_(quarters, constant(1)), constant(0))
    return (
        with_sign(kernel.ir.select(even, sine.value, cosine.value), quarters),
        with_sign(kernel.ir.select(even, cosine.value, sine.value), kernel.ir.add(quarters, constant(1))),
    )


def _polynomial(x: Vector, coefficients: tuple[float, ...]) -> Vector:
    """Return the polynomial by Horner's rule, the coefficient of the highest power first."""
    result = x.kernel.vector(coefficients[0])
    for coefficient in coefficients[1:]:
        result = fma(result, x, coefficient)
    return result


@cache
def _exp2_minus_1_over_x(degree: int) -> tuple[float, ...]:
    def exact(x: Points) -> Points:
        quotient = np.full_like(x, math.log(2))
        np.divide(np.expm1(x * math.log(2)), x, out=quotient, where=x != 0.0)
        return quotient

    return _interpolate(exact, degree, (-0.5, 0.5))


@cache
def _log1p_over_x(degree: int) -> tuple[float, ...]:
    def exact(x: Points) -> Points:
        quotient: Points = np.log1p(x) / x
        return quotient

    return _interpolate(exact, degree, (0.0, 1.0))


@cache
def _sin_tail(degree: int) -> tuple[float, ...]:
    """Return (sin r - r) / r^3 as a polynomial of r^2."""
    return _interpolate(lambda square: _alternating_series(square, 3), degree, (0.0, (math.pi / 4) ** 2))


@cache
def _cos_tail(degree: int) -> tuple[float, ...]:
    """Return (cos r - 1 + r^2 / 2) / r^4 as a polynomial of r^2."""
    return _interpolate(lambda square: -_alternating_series(square, 4), degree, (0.0, (math.pi / 4) ** 2))


def _alternating_series(square: Points, first: int) -> Points:
    """Return Σ_j (-1)^(j+1) r^2j / (2 j + first)!: differences of sines and cosines would lose digits."""
    terms = [-((-square) ** j) / math.factorial(2 * j + first) for j in range(12)]
    total: Points = np.sum(terms, axis=0)
    return total


@cache
def _half_pi_parts(dtype: str) -> tuple[float, ...]:
    """Return three numbers of a dtype whose sum is π / 2, each the nearest to what is missing."""
    parts, missing = [], HALF_PI
    for _ in range(3):
        part = float(np.dtype(dtype).type(float(missing)))
        parts.append(part)
        missing -= Fraction(part)
    return tuple(parts)


def _interpolate(
    exact: Callable[[Points], Points], degree: int, domain: tuple[float, float]
) -> tuple[float, ...]:
    series = Chebyshev.interpolate(exact, degree, domain=domain)
    return tuple(float(c) for c in reversed(series.convert(kind=Polynomial).coef))


def _suffix(kernel: Kernel) -> str:
    return f"v{kernel.lanes}{kernel.element.storage.intrinsic_name}"
