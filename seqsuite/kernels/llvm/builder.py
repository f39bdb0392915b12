"""Writing a kernel: values in registers (:class:`Index`, :class:`Vector`), memory (:class:`Array`) and loops.

A kernel is one function, run by several threads at once. Each takes the next *task* from a shared counter
until none is left, so that what a task computes does not depend on the number of threads. Operators on the
values here append LLVM instructions; ``if`` and ``for`` of Python decide what is generated,
:meth:`Kernel.loop` loops when the kernel runs. Floating-point arithmetic is strict: no reordering, no fused
operation that is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llvmlite import ir

from seqsuite.kernels.llvm.elements import ELEMENTS, INT64, Element
from seqsuite.kernels.llvm.target import Target

POINTER = ir.PointerType()
I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


class Index:
    """A 64-bit integer of the running kernel: an offset, a count, a loop variable."""

    def __init__(self, kernel: Kernel, value: ir.Value) -> None:
        self.kernel = kernel
        self.value = value

    def __add__(self, other: Index | int) -> Index:
        return self._apply("add", other)

    def __sub__(self, other: Index | int) -> Index:
        return self._apply("sub", other)

    def __mul__(self, other: Index | int) -> Index:
        return self._apply("mul", other)

    def __floordiv__(self, other: Index | int) -> Index:
        return self._apply("sdiv", other)

    def __mod__(self, other: Index | int) -> Index:
        return self._apply("srem", other)

    __radd__ = __add__
    __rmul__ = __mul__

    def minimum(self, other: Index | int) -> Index:
        """Return the smaller of the two."""
        right = self.kernel.index(other)
        less = self.kernel.ir.icmp_signed("<", self.value, right.value)
        return Index(self.kernel, self.kernel.ir.select(less, self.value, right.value))

    def _apply(self, operation: str, other: Index | int) -> Index:
        right = self.kernel.index(other)
        return Index(self.kernel, getattr(self.kernel.ir, operation)(self.value, right.value))


class Vector:
    """A register of ``kernel.lanes`` floats. A Python number beside one stands for it in every lane."""

    def __init__(self, kernel: Kernel, value: ir.Value) -> None:
        self.kernel = kernel
        self.value = value

    def __neg__(self) -> Vector:
        return Vector(self.kernel, self.kernel.ir.fneg(self.value))

    def __add__(self, other: Vector | float) -> Vector:
        return self._apply("fadd", self, other)

    def __sub__(self, other: Vector | float) -> Vector:
        return self._apply("fsub", self, other)

    def __rsub__(self, other: float) -> Vector:
        return self._apply("fsub", other, self)

    def __mul__(self, other: Vector | float) -> Vector:
        return self._apply("fmul", self, other)

    def __rtruediv__(self, other: float) -> Vector:
        return self._apply("fdiv", other, self)

    __radd__ = __add__
    __rmul__ = __mul__

    def _apply(self, operation: str, left: Vector | float, right: Vector | float) -> Vector:
        left, right = self.kernel.vector(left), self.kernel.vector(right)
        return Vector(self.kernel, getattr(self.kernel.ir, operation)(left.value, right.value))


class Variable:
    """A vector that changes inside a loop; LLVM keeps it in a register."""

    def __init__(self, kernel: Kernel, initial: Vector) -> None:
        self._kernel = kernel
        with kernel.ir.goto_block(kernel.entry):
            self._slot = kernel.ir.alloca(kernel.vector_type)
        self.value = initial

    @property
    def value(self) -> Vector:
        """The current value."""
        return Vector(self._kernel, self._kernel.ir.load(self._slot, typ=self._kernel.vector_type))

    @value.setter
    def value(self, new: Vector) -> None:
        self._kernel.ir.store(new.value, self._slot)


class Mask:
    """Which lanes of a vector stand for channels that exist."""

    def __init__(self, value: ir.Value) -> None:
        self.value = value


class Array:
    """Memory that holds elements of one kind one after the other. All indices count elements."""

    def __init__(self, kernel: Kernel, pointer: ir.Value, element: Element) -> None:
        self.kernel = kernel
        self.element = element
        self._pointer = pointer

    def __getitem__(self, index: Index | int) -> Array:
        """Return the same memory from element ``index`` on."""
        return Array(self.kernel, self._address(index), self.element)

    def load(self, index: Index | int = 0, mask: Mask | None = None) -> Vector:
        """Read ``lanes`` elements, widened to the kernel's dtype; lanes outside of ``mask`` are zero."""
        kernel, storage = self.kernel, self._vector_type()
        pointer = self._address(index)
        if mask is None:
            value = kernel.ir.load(pointer, align=self.element.bytes, typ=storage)
        else:
            name = f"llvm.masked.load.{self._suffix()}.p0"
            arguments = [pointer, I32(self.element.bytes), mask.value, ir.Constant(storage, None)]
            value = kernel.intrinsic(name, storage, arguments)
        return Vector(kernel, self.element.widen(kernel.ir, value))

    def store(self, value: Vector, index: Index | int = 0, mask: Mask | None = None) -> None:
        """Write ``lanes`` elements, rounded to the array's kind; lanes outside of ``mask`` are left alone."""
        kernel, pointer = self.kernel, self._address(index)
        narrow = self.element.narrow(kernel.ir, value.value)
        if mask is None:
            kernel.ir.store(narrow, pointer, align=self.element.bytes)
        else:
            name = f"llvm.masked.store.{self._suffix()}.p0"
            kernel.intrinsic(name, ir.VoidType(), [narrow, pointer, I32(self.element.bytes), mask.value])

    def prefetch(self, index: Index | int, write: bool = False) -> None:
        """Ask for the cache line of an element, which need not exist, ahead of its use."""
        arguments = [self._address(index), I32(int(write)), I32(2), I32(1)]
        self.kernel.intrinsic("llvm.prefetch.p0", ir.VoidType(), arguments)

    def broadcast(self, index: Index | int = 0) -> Vector:
        """Read one element into every lane."""
        kernel = self.kernel
        undefined = ir.Constant(kernel.vector_type, ir.Undefined)
        one = kernel.ir.insert_element(undefined, self._scalar(index), I32(0))
        zeros = ir.Constant(ir.VectorType(I32, kernel.lanes), [0] * kernel.lanes)
        return Vector(kernel, kernel.ir.shuffle_vector(one, undefined, zeros))

    def integer(self, index: Index | int = 0) -> Index:
        """Read one element of an array of integers."""
        return Index(self.kernel, self._scalar(index))

    def copy_element(self, index: Index | int, source: Array, source_index: Index | int) -> None:
        """Copy one element of ``source``, which has the same kind."""
        self.kernel.ir.store(source._scalar(source_index), self._address(index))

    def _scalar(self, index: Index | int) -> ir.Value:
        return self.kernel.ir.load(self._address(index), typ=self.element.storage)

    def _address(self, index: Index | int) -> ir.Value:
        position = self.kernel.index(index).value
        return self.kernel.ir.gep(self._pointer, [position], source_etype=self.element.storage)

    def _vector_type(self) -> ir.VectorType:
        return ir.VectorType(self.element.storage, self.kernel.lanes)

    def _suffix(self) -> str:
        return f"v{self.kernel.lanes}{self.element.storage.intrinsic_name}"


class Kernel:
    """A function under construction: ``void name(int64_t *arguments)``.

    Args:
        name: name of the function.
        dtype: "float32" or "float64", in which vectors compute.
        target: the processor; its vector width sets the number of lanes.
        parameters: names of the arguments, each an integer or an address. Two follow that every kernel has:
            the counter from which threads take tasks and the one from which they take their number.
    """

    def __init__(self, name: str, dtype: str, target: Target, parameters: Sequence[str]) -> None:
        self.name = name
        self.target = target
        self.dtype = dtype
        self.element = ELEMENTS[dtype]
        self.lanes = target.vector_bytes // self.element.bytes
        self.vector_type = ir.VectorType(self.element.storage, self.lanes)
        self.module = ir.Module(name=name)
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER]), name)
        self.entry = function.append_basic_block("entry")
        body = function.append_basic_block("body")
        self.ir = ir.IRBuilder(self.entry)
        self.ir.branch(body)
        self.ir.position_at_end(body)
        self._arguments = Array(self, function.args[0], INT64)
        self._parameters = {name: self._arguments.integer(i) for i, name in enumerate(parameters)}
        self._task_counter, self._thread_counter = len(parameters), len(parameters) + 1

    # Values

    def parameter(self, name: str) -> Index:
        """Return the integer passed as ``name``."""
        return self._parameters[name]

    def array(self, name: str, dtype: str | None = None) -> Array:
        """Return the memory whose address is passed as ``name``, by default of the kernel's dtype."""
        return self.array_at(self.parameter(name), dtype)

    def array_at(self, address: Index, dtype: str | None = None) -> Array:
        """Return the memory at an address, by default of the kernel's dtype."""
        pointer = self.ir.inttoptr(address.value, POINTER)
        return Array(self, pointer, ELEMENTS[dtype] if dtype else self.element)

    def index(self, value: Index | int) -> Index:
        """Return ``value`` as an index."""
        return Index(self, I64(value)) if isinstance(value, int) else value

    def vector(self, value: Vector | float) -> Vector:
        """Return ``value`` in every lane, unless it is a vector already."""
        if isinstance(value, Vector):
            return value
        return Vector(self, ir.Constant(self.vector_type, [float(value)] * self.lanes))

    def first_lanes(self, count: Index) -> Mask:
        """Return the mask of the first ``count`` lanes; of all if there are fewer."""
        return self._compare_lanes("<", count)

    def lanes_from(self, first: Index) -> Mask:
        """Return the mask of lane ``first`` and those after it; of none if there is no such lane."""
        return self._compare_lanes(">=", first)

    def only_lane(self, number: Index) -> Mask:
        """Return the mask of one lane; of none if there is no such lane."""
        return self._compare_lanes("==", number)

    def _compare_lanes(self, comparison: str, number: Index) -> Mask:
        wide = ir.VectorType(I64, self.lanes)
        numbers = ir.Constant(wide, list(range(self.lanes)))
        undefined = ir.Constant(wide, ir.Undefined)
        one = self.ir.insert_element(undefined, number.value, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return Mask(self.ir.icmp_signed(comparison, numbers, self.ir.shuffle_vector(one, undefined, zeros)))

    def intrinsic(self, name: str, result: ir.Type, arguments: Sequence[ir.Value]) -> ir.Value:
        """Call one of LLVM's intrinsic functions."""
        function = self.module.globals.get(name)
        if function is None:
            signature = ir.FunctionType(result, [argument.type for argument in arguments])
            function = ir.Function(self.module, signature, name)
        return self.ir.call(function, arguments)

    # Control flow

    @contextmanager
    def loop(self, start: Index | int, stop: Index | int, step: int = 1) -> Iterator[Index]:
        """Repeat the block for each index from ``start`` up to, not including, ``stop``."""
        first, last = self.index(start), self.index(stop)
        before = self.ir.block
        head, body, end = (self.ir.append_basic_block(name) for name in ("head", "loop", "end"))
        self.ir.branch(head)
        self.ir.position_at_end(head)
        position = self.ir.phi(I64)
        position.add_incoming(first.value, before)
        self.ir.cbranch(self.ir.icmp_signed("<", position, last.value), body, end)
        self.ir.position_at_end(body)
        yield Index(self, position)
        position.add_incoming(self.ir.add(position, I64(step)), self.ir.block)
        self.ir.branch(head)
        self.ir.position_at_end(end)

    @contextmanager
    def reverse_loop(self, start: Index | int, stop: Index | int) -> Iterator[Index]:
        """Repeat the block for each index of ``loop(start, stop)``, from the last to the first."""
        first, last = self.index(start), self.index(stop)
        with self.loop(0, last - first) as done:
            yield last - 1 - done

    @contextmanager
    def tasks(self, count: Index) -> Iterator[Index]:
        """Repeat the block for tasks 0 to ``count`` - 1, each done by one thread, and end the kernel."""
        head, body, end = (self.ir.append_basic_block(name) for name in ("tasks", "task", "end"))
        self.ir.branch(head)
        self.ir.position_at_end(head)
        task = self._take_number(self._task_counter)
        self.ir.cbranch(self.ir.icmp_signed("<", task.value, count.value), body, end)
        self.ir.position_at_end(body)
        yield task
        self.ir.branch(head)
        self.ir.position_at_end(end)
        self.ir.ret_void()

    def thread_number(self) -> Index:
        """Take the number of this thread, 0 for the first that asks; to be called once, outside of loops."""
        return self._take_number(self._thread_counter)

    def _take_number(self, counter: int) -> Index:
        address = self._arguments._address(counter)
        return Index(self, self.ir.atomic_rmw("add", address, I64(1), "monotonic"))
