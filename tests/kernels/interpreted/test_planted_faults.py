"""Faults planted in the kernels, each of which the checks of this folder must catch."""

import importlib.util
import sys
from pathlib import Path

import pytest
from triton.runtime.errors import InterpreterError

from seqsuite.kernels.selective_scan import operators, triton_launch

from ..scan_cases import assert_close, results, scan_case
from .test_selective_scan import use_tiling

PACKAGE = Path(triton_launch.__file__).parent
MODULES = ("triton_device", "triton_forward", "triton_backward", "triton_launch")

FAULTS = {
    "reset forgotten": ("triton_launch", "entering = state", "entering = entering"),
    "decay over a segment": ("triton_forward", "        total += dt\n", "        total = dt\n"),
    "adjoint without decay": (
        "triton_backward",
        "carry = tl.exp2(dt[None, :] * log2_decay) * (",
        "carry = (",
    ),
    "segments in the wrong order": ("triton_device", "last - 1 - i if REVERSE", "first + i if REVERSE"),
    "base of the exponential": ("triton_device", "(1.4426950408889634)", "(1.4426960408889634)"),
    "skip not in du": ("triton_backward", "du_k += skip * gs[k]", "du_k += 0.0 * gs[k]"),
    "slope of the gate": ("triton_backward", "(1.0 + z_k * (1.0 - s))", "(1.0 + z_k * s)"),
    "tail of a chunk": ("triton_forward", "range(remaining % STEPS)", "range(0)"),
    "one row too many": ("triton_forward", "range(length % STEPS)", "range(length % STEPS + 1)"),
    "state before a tile": (
        "triton_backward",
        "tile * (N * CHANNELS), CH",
        "(tile // 2) * (N * CHANNELS), CH",
    ),
    "sum over channels": ("triton_device", "tl.where(second, b, a)", "tl.where(second, a, b)"),
    "channels beyond the group": ("triton_device", "else within < WIDTH", "else within <= WIDTH"),
    "group of B": ("triton_device", "return tensor + group * N", "return tensor + 0 * group"),
    "barrier": ("triton_backward", "tl.debug_barrier()  # other threads read what is carried", "pass"),
    "part of another group": ("triton_backward", "* GROUPS + group, tl.int64)", "* GROUPS, tl.int64)"),
    "slot of a checkpoint": ("triton_launch", "// CHUNK + sequence + within", "// CHUNK + within"),
}


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_is_caught(fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = load_copy(tmp_path, FAULTS[fault] if fault else None, monkeypatch)
    use_tiling(monkeypatch, cut=True, chunk=4, steps=2, launch=launch)
    monkeypatch.setattr(operators, "_kernels", lambda backend: launch)
    case = scan_case(batch=1, seqlen=13, d_model=34, d_state=2, groups=2, offsets=[0, 3, 13])
    expected = results(case, "reference")
    if fault is None:
        assert_close(results(case, "triton"), expected, forward=1e-12, gradients=1e-12)
        return
    with pytest.raises(
        (AssertionError, InterpreterError), match=r"relative error|KernelFaultError|lanes|programs"
    ):
        assert_close(results(case, "triton"), expected, forward=1e-9, gradients=1e-9)


def load_copy(folder: Path, fault: tuple[str, str, str] | None, monkeypatch: pytest.MonkeyPatch) -> object:
    """Load a copy of the kernels' modules with one fault in it, instead of them."""
    for name in MODULES:
        text = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
        if fault is not None and fault[0] == name:
            assert fault[1] in text, "the line to spoil has changed: change it here too"
            text = text.replace(fault[1], fault[2])
        path = folder / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        full_name = f"{PACKAGE.parent.parent.name}.kernels.selective_scan.{name}"
        spec = importlib.util.spec_from_file_location(full_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, full_name, module)
        spec.loader.exec_module(module)
    return sys.modules[full_name]
