"""Compile a Triton kernel for a GPU that is not there, with the arguments of a launch."""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from seqsuite.kernels.ahead_of_time.listing import Loop, read_listing

TYPES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.int64: "i64",
    torch.int32: "i32",
}


@dataclass(frozen=True)
class Target:
    """A GPU to compile for; ``shared_limit`` is what a block can have of its shared memory, in bytes."""

    name: str
    vendor: str
    architecture: int | str
    warp_size: int
    shared_limit: int


TARGETS = {
    target.name: target
    for target in (
        Target("sm_80", "nvidia", 80, 32, 163 * 1024),
        Target("sm_90", "nvidia", 90, 32, 227 * 1024),
        Target("sm_100", "nvidia", 100, 32, 227 * 1024),
        Target("gfx942", "amd", "gfx942", 64, 64 * 1024),
    )
}


@dataclass(frozen=True)
class Binary:
    """What the compiler made of a kernel.

    Attributes:
        registers: number of them a thread has.
        spills: instructions (NVIDIA) or vector registers (AMD) that go to memory because there are too few.
        scalar_spills: scalar registers (AMD) that are kept in lanes of vector registers for the same reason.
        stack: bytes of local memory a thread has.
        shared: bytes of shared memory a block has.
        code: instructions and loops.
    """

    registers: int
    spills: int
    scalar_spills: int
    stack: int
    shared: int
    code: Loop


def specialise(kernel: Any, arguments: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """Return what a kernel is compiled for: types, constants, and which arguments are multiples of 16.

    This follows Triton's launcher: absent tensors and integers of one are constants.
    """
    types: dict[str, str] = {}
    constants: dict[str, Any] = {}
    multiples: list[str] = []
    for parameter in kernel.params:
        name, value = parameter.name, arguments[parameter.name]
        if isinstance(value, Tensor):
            types[name] = f"*{TYPES[value.dtype]}"
            multiples.append(name)
        elif parameter.is_constexpr or value is None or value == 1:
            types[name] = "constexpr"
            constants[name] = value
        else:
            types[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            if value % 16 == 0:
                multiples.append(name)
    return types, constants, multiples


def compile_for(target: Target, kernel: Any, arguments: Mapping[str, Any], warps: int = 1) -> Binary:
    """Compile a kernel as its launch with these arguments would, with so many warps a program.

    Tensors may be on the device "meta": only their dtypes matter. They are taken to be aligned to 16 bytes.
    """
    types, constants, multiples = specialise(kernel, arguments)
    attributes = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in multiples}
    source = ASTSource(fn=kernel, signature=types, constexprs=constants, attrs=attributes)
    backend = "cuda" if target.vendor == "nvidia" else "hip"
    gpu = GPUTarget(backend, target.architecture, target.warp_size)
    compiled = triton.compile(source, target=gpu, options={"num_warps": warps})
    shared = compiled.metadata.shared
    if target.vendor == "nvidia":
        return _read_cubin(compiled.asm["cubin"], shared)
    return _read_amdgcn(compiled.asm["amdgcn"], shared)


def _read_cubin(cubin: bytes, shared: int) -> Binary:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        usage = _run(triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(path))
        code = read_listing(_run(triton.knobs.nvidia.nvdisasm.path, "-c", str(path)), "nvidia")
    fields = dict(re.findall(r"\b(REG|STACK|SHARED):(\d+)", usage))
    return Binary(
        registers=int(fields["REG"]),
        spills=code.total()["local"],
        scalar_spills=0,
        stack=int(fields["STACK"]),
        shared=max(shared, int(fields["SHARED"])),
        code=code,
    )


def _read_amdgcn(assembly: str, shared: int) -> Binary:
    def field(name: str) -> int:
        found = re.search(rf"\.{name}:\s+(\d+)", assembly)
        assert found is not None, f"the assembly does not say {name}"
        return int(found[1])

    return Binary(
        registers=field("vgpr_count"),
        spills=field("vgpr_spill_count"),
        scalar_spills=field("sgpr_spill_count"),
        stack=field("private_segment_fixed_size"),
        shared=max(shared, field("group_segment_fixed_size")),
        code=read_listing(assembly, "amd"),
    )


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
