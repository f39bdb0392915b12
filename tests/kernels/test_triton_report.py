"""What compilers make of the Triton kernels for GPUs that are not here."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
import triton

from seqsuite.kernels.ahead_of_time.compilation import TARGETS, compile_for
from seqsuite.kernels.ahead_of_time.listing import read_listing
from seqsuite.kernels.ahead_of_time.report import (
    Machine,
    Variant,
    bounds_ms,
    executed,
    launches,
    report_variant,
)
from seqsuite.kernels.ahead_of_time.variants import VARIANTS
from seqsuite.kernels.causal_conv1d import triton_report as conv
from seqsuite.kernels.rms_norm import triton_report as norm
from seqsuite.kernels.selective_scan import triton_report as scan

# Written by: python -m seqsuite.kernels.ahead_of_time --json --target sm_80 sm_90 gfx942
RECORDED = json.loads(Path(__file__).with_name("triton_report.json").read_text(encoding="utf-8"))
REGISTERS = {"nvidia": 255, "amd": 512}

# What the variant "long" may take on an H100.
BOUNDS_MS = {
    "selective_scan": {"forward": 6.0, "backward": 16.0},
    "causal_conv1d": {"forward": 0.8, "backward": 1.2},
    "rms_norm": {"forward": 1.2, "backward": 2.0},
}

SASS = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   MUFU.EX2 R2, R3 ;
.L_x_0:
        /*0020*/              @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0030*/                   FFMA R5, R4, R4, R5 ;
        /*0040*/               @P0 BRA `(.L_x_0) ;
        /*0050*/                   STL [R1], R5 ;
        /*0060*/               @P1 BRA `(.L_x_1) ;
        /*0070*/                   EXIT ;
.L_x_2:
        /*0080*/                   BRA `(.L_x_2);
"""


def test_loops_of_a_listing() -> None:
    whole = read_listing(SASS, "nvidia")
    (outer,) = whole.inner
    (inner,) = outer.inner
    assert (outer.own["all"], inner.own["all"], whole.total()["all"]) == (3, 3, 9)
    assert outer.own["special"] == inner.own["memory"] == outer.own["local"] == 1
    assert executed(whole, [(10, [(4, [])])]) == Counter(
        {"all": 3 + 10 * (3 + 4 * 3), "special": 10, "memory": 10 + 40, "local": 10}
    )
    with pytest.raises(ValueError, match="the listing has 1 loops where the kernel has 2"):
        executed(whole, [(1, []), (1, [])])


def test_bounds_are_those_of_the_scarcest_unit() -> None:
    """An exponential an element at the reference shape takes 2.3 ms, and 8 bytes a row and channel 1.4 ms."""
    elements = 524_288 * 1024 * 16
    bounds = Machine().bounds(Counter({"all": elements // 32, "special": elements // 32}), elements // 2)
    assert bounds["special"] == pytest.approx(2.32, abs=0.01)
    assert bounds["bandwidth"] == pytest.approx(1.43, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "spills"),
    [
        (
            scan.Variant(d_model=16, seqlen=1),
            False,
        ),  # numbers of rows, blocks and programs are constants of one
        (scan.Variant(d_model=16, seqlen=2**31), False),  # rows need 64 bits
        (conv.Variant(d_model=6, seqlen=200, taps=1, dtype=torch.float64), False),
        (norm.Variant(rows=1, d_model=1, form="gate", dtype=torch.float64), False),
        (norm.Variant(rows=2**31, d_model=5000, dtype=torch.float16, form="residual"), False),
        (scan.Variant(d_model=6, groups=3, d_state=3, seqlen=200, states=True, dtype=torch.float64), True),
    ],
)
def test_compiles_at_the_edges(
    variant: Variant, spills: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for launch in launches(variant, TARGETS["sm_90"]):
        binary = compile_for(TARGETS["sm_90"], launch.kernel, launch.arguments, launch.warps)
        assert binary.code.total()["atomic"] == 0
        assert spills or binary.stack == 0, launch.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "variant"), [(name, variant) for name in VARIANTS for variant in VARIANTS[name]]
)
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "gfx942"])
def test_compiles_with_room_to_spare(
    target: str, operation: str, variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every launch: no spills, no local memory, no atomics, and no more instructions than recorded."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    machine = TARGETS[target]
    reports = report_variant(VARIANTS[operation][variant], machine)
    recorded = RECORDED[f"{operation} {target} {variant}"]
    assert reports.keys() == recorded.keys()
    for name, facts in reports.items():
        assert facts["spills"] == facts["stack"] == facts["atomics"] == 0, name
        assert facts["shared"] <= machine.shared_limit, name
        assert facts["registers"] <= REGISTERS[machine.vendor], name
        if triton.__version__ == RECORDED["triton"]:
            assert facts["registers"] <= recorded[name]["registers"] + 8, name
            assert facts["instructions"] <= 1.03 * recorded[name]["instructions"], name
            assert facts.get("per_element", 0) <= 1.03 * recorded[name].get("per_element", 0), name
    if (target, variant) == ("sm_90", "long"):
        bounds = bounds_ms(reports)
        for direction, most in BOUNDS_MS[operation].items():
            assert bounds[direction] <= most
