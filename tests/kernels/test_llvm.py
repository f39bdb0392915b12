"""The vector functions against NumPy on several processors, the compiler's cache, and the threads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seqsuite.kernels.llvm import jit, threads
from seqsuite.kernels.llvm.builder import Kernel, Vector
from seqsuite.kernels.llvm.functions import (
    exp2,
    exp_minus_abs,
    lane_sums,
    reciprocal,
    sigmoid,
    sin_cos,
    softplus,
)
from seqsuite.kernels.llvm.target import Target, host_target
from seqsuite.kernels.selective_scan import cpu_launch

from .scan_cases import assert_close, in_float64, real_and_complex, results, scan_case

PORTABLE = Target(
    cpu="", features="", vector_bytes=16, vector_registers=16, has_avx512=False
)  # what every processor of this kind has
TARGETS = [host_target(), PORTABLE]
every_target = pytest.mark.parametrize("target", TARGETS, ids=["host", "portable"])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def apply(function: Callable[[Vector], Vector], x: np.ndarray, target: Target) -> np.ndarray:
    """Return the function of each element, computed by a kernel."""
    kernel = Kernel("apply", x.dtype.name, target, ("x", "y", "blocks"))
    with kernel.tasks(kernel.parameter("blocks")) as block:
        index = block * kernel.lanes
        kernel.array("y").store(function(kernel.array("x").load(index)), index)
    compiled = jit.compile_kernel(kernel)
    x = np.concatenate([x, np.zeros(-len(x) % kernel.lanes, x.dtype)])
    y = np.empty_like(x)
    threads.launch(compiled.address, [x.ctypes.data, y.ctypes.data, len(x) // kernel.lanes], 2)
    return y


def grid(dtype: str) -> np.ndarray:
    return np.concatenate(
        [np.linspace(-100, 100, 4001), np.geomspace(1e-30, 1, 64), -np.geomspace(1e-30, 1, 64)]
    ).astype(dtype)


@every_target
@every_dtype
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (exp2, np.exp2),
        (lambda x: softplus(x, exp_minus_abs(x)), lambda x: np.logaddexp(0, x)),
        (lambda x: sigmoid(x, exp_minus_abs(x)), lambda x: 1 / (1 + np.exp(-x))),
    ],
    ids=["exp2", "softplus", "sigmoid"],
)
def test_functions_are_accurate(
    function: Callable[[Vector], Vector],
    expected: Callable[[np.ndarray], np.ndarray],
    dtype: str,
    target: Target,
) -> None:
    x = grid(dtype)
    actual = apply(function, x, target)[: len(x)]
    exact = expected(x.astype("float64"))
    # Rounding x log2(e) alone changes the exponential by a factor of 1 + |x| ε; the rest is the polynomials'.
    tolerance = ({"float32": 3, "float64": 20}[dtype] + np.abs(x)) * np.finfo(dtype).eps
    underflow = 2 * np.finfo(dtype).tiny
    assert np.all(np.abs(actual - exact) <= tolerance * exact + underflow)


def angles(dtype: str) -> np.ndarray:
    """Angles from tiny to 10^5 or 10^8, and those nearest to multiples of a quarter turn."""
    largest = {"float32": 1e5, "float64": 1e8}[dtype]
    quarters = np.arange(-7000, 7000) * (np.pi / 2)
    spread = np.geomspace(1e-30, largest, 20001)
    return np.concatenate([np.linspace(-10, 10, 4001), quarters, spread, -spread]).astype(dtype)


@every_target
@every_dtype
@pytest.mark.parametrize("part", [0, 1], ids=["sine", "cosine"])
def test_sines_and_cosines_are_accurate(part: int, dtype: str, target: Target) -> None:
    x = angles(dtype)
    actual = apply(lambda x: sin_cos(x)[part], x, target)[: len(x)]
    exact = (np.sin, np.cos)[part](x.astype("float64"))
    assert np.all(np.abs(actual - exact) <= 2 * np.finfo(dtype).eps * np.abs(exact))


@every_target
@every_dtype
def test_sines_and_cosines_at_the_edges(dtype: str, target: Target) -> None:
    x = np.array([0.0, -0.0, 1e30, -1e30, np.nan, np.inf, -np.inf], dtype)
    sines, cosines = (apply(lambda x, part=part: sin_cos(x)[part], x, target)[:7] for part in (0, 1))
    np.testing.assert_array_equal((sines[:2], cosines[:2]), ([0, 0], [1, 1]))
    assert np.all(np.abs([sines[2:4], cosines[2:4]]) <= 1)
    assert np.isnan([sines[4:], cosines[4:]]).all()


@every_target
@pytest.mark.parametrize(("more_degrees", "ulp"), [(0, 2.5), (1, 1)])
def test_exp2_with_one_degree_more_is_more_accurate(more_degrees: int, ulp: float, target: Target) -> None:
    x = np.linspace(-20, 20, 100_001).astype("float32")
    actual = apply(lambda x: exp2(x, more_degrees), x, target)[: len(x)]
    exact = np.exp2(x.astype("float64"))
    assert np.all(np.abs(actual - exact) <= ulp * np.finfo("float32").eps * exact)


@every_target
@every_dtype
def test_what_almost_nothing_decays_in_does_not_decay(dtype: str, target: Target) -> None:
    x = -np.geomspace(1e-45 if dtype == "float32" else 1e-300, np.finfo(dtype).eps / 8, 1000).astype(dtype)
    assert np.all(apply(exp2, x, target)[:1000] == 1)


@every_target
@pytest.mark.parametrize("scale", [1.0, 1e-20, -1e20])
def test_reciprocals_are_accurate(scale: float, target: Target) -> None:
    x = (scale * np.linspace(1, 2, 100_001)).astype("float32")
    actual = apply(reciprocal, x, target)[: len(x)]
    assert np.all(np.abs(actual * x.astype("float64") - 1) <= np.finfo("float32").eps)


@every_target
@every_dtype
def test_functions_at_the_edges(dtype: str, target: Target) -> None:
    x = np.array([np.nan, -np.inf, -1e6, 1e6, 0.0], dtype)
    np.testing.assert_array_equal(apply(exp2, x, target)[:5], [np.nan, 0, 0, np.inf, 1])
    np.testing.assert_array_equal(apply(exp_minus_abs, x, target)[:5], [np.nan, 0, 0, 0, 1])
    gates = apply(lambda x: sigmoid(x, exp_minus_abs(x)), x, target)[:5]
    np.testing.assert_array_equal(gates, [np.nan, 0, 0, 1, 0.5])
    steps = apply(lambda x: softplus(x, exp_minus_abs(x)), x, target)[:4]
    np.testing.assert_array_equal(steps, [np.nan, 0, 0, 1e6])


@every_target
@every_dtype
def test_lane_sums(dtype: str, target: Target) -> None:
    lanes = target.vector_bytes // np.dtype(dtype).itemsize
    x = np.arange(lanes, dtype=dtype)
    actual = apply(lambda x: lane_sums([x, x * 2.0]), x, target)
    assert list(actual) == [x.sum(), 2 * x.sum()] + [0] * (lanes - 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@real_and_complex
def test_scan_on_a_processor_without_wide_vectors(
    complex: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_launch, "host_target", lambda: PORTABLE)
    cpu_launch.forward_kernel.cache_clear()
    cpu_launch.backward_kernel.cache_clear()
    try:
        case = scan_case(dtype=dtype, d_state=9, complex=complex)
        actual = results(case, "cpu")
    finally:
        cpu_launch.forward_kernel.cache_clear()
        cpu_launch.backward_kernel.cache_clear()
    tolerances = (1e-12, 1e-12) if dtype == torch.float64 else (2e-6, 1e-5)
    assert_close(actual, results(in_float64(case), "reference"), *tolerances)


def doubling(monkeypatch: pytest.MonkeyPatch, directory: Path) -> list[Path]:
    """Run a small kernel with the cache in ``directory`` and return what is in there."""
    monkeypatch.setattr(jit, "user_cache_dir", lambda name: str(directory / name))
    x = np.arange(4, dtype="float32")
    assert list(apply(lambda x: x + x, x, PORTABLE)) == [0, 2, 4, 6]
    return [path for path in directory.rglob("*") if path.is_file()]


def test_machine_code_is_kept_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (path,) = doubling(monkeypatch, tmp_path)
    monkeypatch.setattr(jit, "generate_machine_code", None)  # to compile again would fail
    assert doubling(monkeypatch, tmp_path) == [path]


def test_damaged_machine_code_is_compiled_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (path,) = doubling(monkeypatch, tmp_path)
    content = path.read_bytes()
    for damaged in (b"", content[:-1], content[:-1] + b"!"):
        path.write_bytes(damaged)
        doubling(monkeypatch, tmp_path)
        assert path.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "seqsuite").write_text("a file where the folder should be")
    doubling(monkeypatch, tmp_path)


def test_thread_pool_where_there_is_no_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    case = scan_case(batch=4, seqlen=64, d_model=64, dtype=torch.float32, d_state=16)
    expected = results(case, "cpu")
    monkeypatch.setattr(threads, "choose_launcher", lambda: threads.launch_on_pool)
    assert_close(results(case, "cpu"), expected, forward=0.0, gradients=0.0)
