"""One step at a time, and the scan under its other name, against the scan."""

import pytest
import torch

from seqsuite.kernels import selective_scan, selective_scan_fn, selective_state_update

from .scan_cases import Case, scan_case

OPTIONS = [{}, {"groups": 2}, {"gate": False, "skip": False, "bias": False, "softplus": False}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_steps_equal_the_scan(options: Case, backend: str) -> None:
    case = scan_case(**options)
    y, final_state = selective_scan(**case, return_final_state=True, backend=backend)
    state = case["initial_state"]
    for t in range(case["u"].shape[1]):
        u, delta, B, C = (case[name][:, t] for name in ("u", "delta", "B", "C"))
        z = None if case["z"] is None else case["z"][:, t]
        bias, softplus = case["delta_bias"], case["delta_softplus"]
        y_t, state = selective_state_update(state, u, delta, case["A"], B, C, case["D"], z, bias, softplus)
        torch.testing.assert_close(y_t, y[:, t], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, final_state, rtol=1e-12, atol=1e-12)


def test_steps_with_a_complex_state() -> None:
    case = scan_case(gate=False, skip=False)
    A = torch.complex(case["A"], case["A"].flip(0))
    state = torch.zeros(2, *A.shape, dtype=A.dtype)
    y = selective_scan(**(case | {"A": A, "initial_state": state}))
    for t in range(3):
        u, delta, B, C = (case[name][:, t] for name in ("u", "delta", "B", "C"))
        y_t, state = selective_state_update(
            state, u, delta, A, B, C, dt_bias=case["delta_bias"], dt_softplus=True
        )
        torch.testing.assert_close(y_t, y[:, t], rtol=1e-12, atol=1e-12)


def test_step_names_a_bad_argument() -> None:
    state, A, B = torch.zeros(2, 3, 4), torch.zeros(3, 4), torch.zeros(2, 4)
    with pytest.raises(ValueError, match=r"x must have shape \(B, D\)"):
        selective_state_update(state, torch.zeros(2, 1, 3), torch.zeros(2, 3), A, B, B)
    with pytest.raises(ValueError, match="initial_state must have shape"):
        selective_state_update(state[:1], torch.zeros(2, 3), torch.zeros(2, 3), A, B, B)


def test_scan_in_channels_first_layout() -> None:
    case = scan_case(initial_state=False)
    y, final_state = selective_scan(**case, return_final_state=True)
    u, delta, z, B, C = (case[name].mT for name in ("u", "delta", "z", "B", "C"))
    arguments = (u, delta, case["A"], B, C, case["D"], z, case["delta_bias"], True)
    actual, last_state = selective_scan_fn(*arguments, return_last_state=True)
    torch.testing.assert_close(actual.mT, y)
    torch.testing.assert_close(last_state, final_state)
    grouped = selective_scan_fn(u, delta, case["A"], B[:, None], C[:, None], *arguments[5:])
    torch.testing.assert_close(grouped.mT, y)


@pytest.mark.parametrize("constant", ["B", "C", "BC"])
def test_projections_constant_in_time(constant: str) -> None:
    """(D, N): each channel has its own, the same at every position."""
    case = scan_case(initial_state=False, groups=20)
    for name in constant:
        case[name] = case[name][:1, :1].expand_as(case[name])
    channels_first = {name: case[name].permute(0, 2, 3, 1) for name in "BC"}
    channels_first |= {name: case[name][0, 0] for name in constant}
    u, delta, z = (case[name].mT for name in ("u", "delta", "z"))
    arguments = (case["D"], z, case["delta_bias"], True)
    actual = selective_scan_fn(u, delta, case["A"], channels_first["B"], channels_first["C"], *arguments)
    torch.testing.assert_close(actual.mT, selective_scan(**case))
