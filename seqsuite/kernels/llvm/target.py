"""The processor that kernels are compiled for."""

from dataclasses import dataclass
from functools import cache

from llvmlite import binding


@dataclass(frozen=True)
class Target:
    """A processor: its LLVM name and features, and what the kernels need to know of its vector unit.

    Attributes:
        cpu: LLVM's name of the processor.
        features: LLVM's feature string.
        vector_bytes: width of a vector register.
        vector_registers: how many there are.
        has_avx512: whether AVX-512 is there, with its instructions for doublewords (DQ).
    """

    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    has_avx512: bool

    def machine(self) -> binding.TargetMachine:
        """Return LLVM's compiler for this processor."""
        _initialize()
        return binding.Target.from_default_triple().create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, jit=True
        )


@cache
def host_target() -> Target:
    """Return the processor of this machine."""
    _initialize()
    features = binding.get_host_cpu_features()
    avx512f, avx512dq, avx2 = (features.get(name, False) for name in ("avx512f", "avx512dq", "avx2"))
    avx512 = avx512f and avx512dq
    x86 = binding.get_process_triple().startswith(("x86_64", "i686"))
    return Target(
        cpu=binding.get_host_cpu_name(),
        features=features.flatten(),
        vector_bytes=64 if avx512 else 32 if avx2 else 16,
        vector_registers=32 if avx512 or not x86 else 16,
        has_avx512=avx512,
    )


@cache
def _initialize() -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
