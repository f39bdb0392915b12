"""The fused CPU scan under PyTorch's tools, on threads, in memory, and where it cannot compile."""

import subprocess
import sys

import pytest
import torch

from seqsuite.kernels import selective_scan

from .scan_cases import Case, assert_close, real_and_complex, results, scan_case


def operator_arguments(case: Case) -> tuple[object, ...]:
    """Return the case as the forward operator takes it."""
    B, C = (case[name].detach() for name in "BC")
    B, C = ((t.unsqueeze(2) if t.dim() == 3 else t).requires_grad_() for t in (B, C))
    names = ("D", "z", "delta_bias", "delta_softplus", "initial_state", "cu_seqlens")
    return (case["u"], case["delta"], case["A"], B, C, *(case[name] for name in names))


@pytest.mark.parametrize(
    "case",
    [
        scan_case(),
        scan_case(gate=False, skip=False, bias=False, softplus=False, initial_state=False, groups=2),
        scan_case(batch=1, offsets=[0, 4, 21], dtype=torch.float32),
        scan_case(complex="ABC"),
        scan_case(constant="BC", complex="ABC", initial_state=False, dtype=torch.float32),
    ],
)
def test_operators_keep_the_dispatcher_rules(case: Case) -> None:
    selective_scan(**case, backend="cpu")  # defines the operators
    forward = torch.ops.seqsuite.selective_scan_forward.default
    inputs = operator_arguments(case)
    torch.library.opcheck(forward, ("cpu", False, *inputs))
    with torch.no_grad():
        y, final_state, checkpoints = forward("cpu", True, *inputs)
    backward = torch.ops.seqsuite.selective_scan_backward.default
    arguments = [x.detach() if isinstance(x, torch.Tensor) else x for x in inputs]
    torch.library.opcheck(backward, ("cpu", y, final_state, checkpoints, *arguments))


@pytest.mark.parametrize("offsets", [None, [0, 4, 21]])
@real_and_complex
def test_compiles_as_one_graph(complex: str, offsets: list[int] | None) -> None:
    case = scan_case(batch=1, offsets=offsets, complex=complex)

    def loss(case: Case) -> torch.Tensor:
        y, final_state = selective_scan(**case, return_final_state=True)
        return y.square().sum() + final_state.abs().sum()

    names = [name for name, t in case.items() if isinstance(t, torch.Tensor) and t.requires_grad]
    leaves = [case[name] for name in names]
    expected = torch.autograd.grad(loss(case), leaves)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    actual = torch.autograd.grad(compiled(case), leaves)
    for name, a, e in zip(names, actual, expected, strict=True):
        torch.testing.assert_close(
            a, e, rtol=1e-12, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_differentiating_twice_is_refused() -> None:
    case = scan_case()
    loss = selective_scan(**case, backend="cpu").sum()
    (gradient,) = torch.autograd.grad(loss, case["u"], create_graph=True)
    with pytest.raises(NotImplementedError, match="backend='reference'"):
        gradient.sum().backward()


def test_under_autocast() -> None:
    """A projection's bfloat16 beside float32 parameters."""
    case = scan_case(dtype=torch.float32, d_model=8)
    weight = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        delta = case["delta"] @ weight
        y = selective_scan(**(case | {"delta": delta}), backend="cpu")
        expected = selective_scan(**(case | {"delta": delta}), backend="reference")
    assert delta.dtype == torch.bfloat16
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


def test_one_position_of_several_sequences_with_a_stride_that_means_nothing() -> None:
    """A dimension of size 1 may have any stride: PyTorch calls such a tensor contiguous."""
    case = scan_case(seqlen=1)
    odd = {}
    for name in ("u", "delta", "z", "B", "C"):
        shape = case[name].shape
        odd[name] = case[name].detach().as_strided(shape, (shape[-1], 7, 1)).requires_grad_()
    assert_close(results(case | odd, "cpu"), results(case, "cpu"), forward=0.0, gradients=0.0)


@real_and_complex
def test_the_number_of_threads_changes_no_bit(complex: str) -> None:
    case = scan_case(batch=3, seqlen=70, d_model=200, d_state=16, dtype=torch.float32, complex=complex)
    threads = torch.get_num_threads()
    try:
        runs = []
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            runs.append(results(case, "cpu"))
    finally:
        torch.set_num_threads(threads)
    for run in runs[1:]:
        assert all(torch.equal(run[name], runs[0][name]) for name in runs[0])


def test_repeats_bit_by_bit() -> None:
    case = scan_case(batch=2, seqlen=64, d_model=96, dtype=torch.float32)
    first, second = results(case, "cpu"), results(case, "cpu")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_works_in_several_python_threads_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    case = scan_case(batch=2, seqlen=64, d_model=96, dtype=torch.float32)
    expected = results(case, "cpu")
    with ThreadPoolExecutor(4) as pool:
        for actual in pool.map(lambda _: results(case, "cpu"), range(8)):
            assert_close(actual, expected, forward=0.0, gradients=0.0)


@pytest.mark.parametrize(("d_state", "complex"), [(16, ""), (8, "ABC")], ids=["real", "complex"])
def test_the_states_are_never_all_in_memory(d_state: int, complex: str) -> None:
    """Beside inputs and results, memory grows by at most a sixteenth of what (B, L, D, N) would."""

    def working_memory(seqlen: int) -> int:
        case = scan_case(
            batch=1, seqlen=seqlen, d_model=512, d_state=d_state, dtype=torch.float32, complex=complex
        )
        results(case, "cpu")  # compiles
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, acc_events=True
        ) as profile:
            outputs = results(case, "cpu")
        allocated = sum(max(0, event.self_cpu_memory_usage) for event in profile.events())
        wanted = [*outputs.values(), outputs["y"], outputs["final_state"]]
        return allocated - sum(tensor.nbytes for tensor in wanted)

    of_states = 512 * 16 * 4
    assert working_memory(2048) - working_memory(1024) <= 1024 * of_states / 16
    assert working_memory(1024) <= 1024 * of_states / 8


@pytest.mark.slow
def test_a_million_positions_in_little_memory() -> None:
    """Forward and backward at L = 2^20, D = 64, N = 16, where the states alone would take 4.3 GB."""
    code = """
import resource, sys, torch
from seqsuite.kernels import selective_scan

def peak():  # of resident memory, which Linux counts in KiB and macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

before = peak()
seqlen, d_model, d_state = 2**20, 64, 16
u, delta, z = (torch.randn(1, seqlen, d_model).requires_grad_() for _ in range(3))
B, C = (torch.randn(1, seqlen, d_state).requires_grad_() for _ in range(2))
A = (-torch.rand(d_model, d_state)).requires_grad_()
y = selective_scan(u, delta, A, B, C, z=z, delta_softplus=True, backend="cpu")
y.backward(torch.ones_like(y))
assert all(t.grad.isfinite().all() for t in (u, delta, z, A, B, C))
print(peak() - before)
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(shown.stdout) < 4e9


class _ScannedItems(torch.utils.data.Dataset[torch.Tensor]):
    """Items that a worker process scans, each large enough for two threads.

    Args:
        backward: Whether to go back as well. PyTorch itself refuses that in a forked process whose parent has
            gone back before.
    """

    def __init__(self, backward: bool) -> None:
        self.backward = backward

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        case = scan_case(seed=index, seqlen=512, d_model=64, d_state=16)
        if self.backward:
            return results(case, "cpu")["dA"]
        with torch.no_grad():
            return selective_scan(**case, backend="cpu")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_in_worker_processes(start_method: str) -> None:
    """Workers that are started after threads have run here neither hang nor differ."""
    if start_method not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {start_method}")
    items, threads = _ScannedItems(backward=start_method != "fork"), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = [items[index] for index in range(len(items))]
        loader = torch.utils.data.DataLoader(
            items, batch_size=None, num_workers=2, multiprocessing_context=start_method, timeout=120
        )
        for actual, wanted in zip(loader, expected, strict=True):
            torch.testing.assert_close(actual, wanted, rtol=0, atol=0)
    finally:
        torch.set_num_threads(threads)


def test_without_llvmlite_the_reference_runs() -> None:
    code = """
import sys
sys.modules["llvmlite"] = None  # importing it raises ImportError
import torch
from seqsuite.kernels import backends, selective_scan
_, cpu, reference = backends()["selective_scan"]
assert not cpu.available and "llvmlite" in cpu.reason, cpu
x = torch.ones(1, 2, 3)
y = selective_scan(x, x, -torch.ones(3, 2), torch.ones(1, 2, 2), torch.ones(1, 2, 2))
assert y.shape == x.shape
try:
    selective_scan(x, x, -torch.ones(3, 2), x[..., :2], x[..., :2], backend="cpu")
except ValueError as error:
    assert "cannot be used here" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_compiles_nothing() -> None:
    code = "import sys, seqsuite.kernels; assert 'llvmlite' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
