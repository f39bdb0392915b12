"""From a kernel's description to machine code that can be called, kept on disk between runs."""

import contextlib
import hashlib
import os
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

import llvmlite
from llvmlite import binding
from platformdirs import user_cache_dir

from seqsuite.kernels.llvm.builder import Kernel
from seqsuite.kernels.llvm.target import Target, host_target

DIGEST_BYTES = 32

_library_numbers = count()  # LLVM wants each library under a name of its own


class CompiledKernel:
    """Machine code in memory, for as long as this object lives.

    Attributes:
        address: where the function ``void kernel(int64_t *arguments)`` is.
    """

    def __init__(self, name: str, machine_code: bytes, target: Target) -> None:
        builder = binding.JITLibraryBuilder().add_object_img(machine_code).export_symbol(name)
        self._library = builder.link(_linker(target), f"{name}_{next(_library_numbers)}")
        self.address: int = self._library[name]


def compile_kernel(kernel: Kernel) -> CompiledKernel:
    """Compile a kernel, or load it from the cache on disk if it was compiled there before."""
    source = str(kernel.module)
    path = cache_path(source, kernel.target)
    machine_code = _read(path)
    if machine_code is None:
        machine_code = generate_machine_code(source, kernel.target)
        _write(path, machine_code)
    return CompiledKernel(kernel.name, machine_code, kernel.target)


def cache_path(source: str, target: Target) -> Path:
    """Return where the machine code of ``source`` is kept."""
    versions = f"{llvmlite.__version__}\n{binding.llvm_version_info}\n{target}\n"
    key = hashlib.sha256((versions + source).encode()).hexdigest()
    return Path(user_cache_dir("seqsuite")) / "kernels" / f"{key}.o"


@cache
def why_unavailable() -> str | None:
    """Return why this machine cannot compile kernels, or ``None`` if it can: by trying an empty one."""
    try:
        binding.check_jit_execution()
        probe = Kernel("probe", "float32", host_target(), ())
        with probe.tasks(probe.index(0)):
            pass
        compile_kernel(probe)
    except (OSError, RuntimeError) as error:
        return f"LLVM cannot compile for this machine: {error}"
    return None


@cache
def _linker(target: Target) -> binding.LLJIT:
    return binding.create_lljit_compiler(target.machine())


def generate_machine_code(source: str, target: Target) -> bytes:
    """Return the object file that LLVM makes of a module's text."""
    module = binding.parse_assembly(source)
    module.verify()
    machine = target.machine()
    # The kernel is written in vectors of the right width already: to unroll or vectorise more only spills.
    tuning = binding.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_unrolling = False
    tuning.loop_vectorization = False
    tuning.slp_vectorization = False
    passes = binding.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    code: bytes = machine.emit_object(module)
    return code


def _read(path: Path) -> bytes | None:
    """Return the machine code in ``path``, or ``None`` if there is none or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, machine_code = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return machine_code if hashlib.sha256(machine_code).digest() == digest else None


def _write(path: Path, machine_code: bytes) -> None:
    """Write a cache file whole or not at all; failing to costs no more than a compilation next time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(machine_code).digest() + machine_code)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
