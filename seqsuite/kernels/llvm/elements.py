"""The kinds of numbers that arrays hold, and how vectors of them are widened to compute with and narrowed."""

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

I16, I32 = ir.IntType(16), ir.IntType(32)
FLOAT32 = ir.FloatType()
HALF = ir.HalfType()

Conversion = Callable[[ir.IRBuilder, ir.Value], ir.Value]


def _unchanged(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return value


@dataclass(frozen=True)
class Element:
    """A kind of number in memory.

    Attributes:
        storage: LLVM's type of it.
        bytes: its size.
        widen: turns a vector as loaded into one to compute with.
        narrow: turns a computed vector into one to store, rounding to nearest, ties to even.
    """

    storage: ir.Type
    bytes: int
    widen: Conversion = _unchanged
    narrow: Conversion = _unchanged


def _constant(like: ir.Value, element: ir.Type, number: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(element, like.type.count), [number] * like.type.count)


def _widen_bfloat16(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A bfloat16 is the upper half of a float32."""
    lanes = value.type.count
    bits = builder.shl(builder.zext(value, ir.VectorType(I32, lanes)), _constant(value, I32, 16))
    return builder.bitcast(bits, ir.VectorType(FLOAT32, lanes))


def _narrow_bfloat16(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    lanes = value.type.count
    bits = builder.bitcast(value, ir.VectorType(I32, lanes))
    upper_is_odd = builder.and_(builder.lshr(bits, _constant(value, I32, 16)), _constant(value, I32, 1))
    rounded = builder.add(builder.add(bits, _constant(value, I32, 0x7FFF)), upper_is_odd)
    # Rounding may carry a NaN's bits into the sign, so a NaN is replaced by the quiet one.
    is_nan = builder.fcmp_unordered("uno", value, value)
    rounded = builder.select(is_nan, _constant(value, I32, 0x7FC00000), rounded)
    return builder.trunc(builder.lshr(rounded, _constant(value, I32, 16)), ir.VectorType(I16, lanes))


def _widen_float16(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.fpext(value, ir.VectorType(FLOAT32, value.type.count))


def _narrow_float16(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.fptrunc(value, ir.VectorType(HALF, value.type.count))


INT64 = Element(ir.IntType(64), 8)
ELEMENTS = {
    "int64": INT64,
    "float64": Element(ir.DoubleType(), 8),
    "float32": Element(FLOAT32, 4),
    "bfloat16": Element(I16, 2, _widen_bfloat16, _narrow_bfloat16),
    "float16": Element(HALF, 2, _widen_float16, _narrow_float16),
}
