"""``seqsuite bench`` as users call it."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import Result

from seqsuite.bench import peers as peers_module
from seqsuite.bench.operations import Bench
from seqsuite.bench.peers import FORWARD, OURS, Shape
from seqsuite.bench.settings import Settings
from seqsuite.results.benchmarks import QUICK

Seqsuite = Callable[..., Result]


def sections(result: Result) -> dict[str, list[dict]]:
    assert result.exit_code == 0, result.output
    found: dict[str, list[dict]] = {}
    for section in json.loads(result.stdout)["sections"]:
        found.setdefault(section["kind"], []).append(section)
    return found


def test_scan_end_to_end(seqsuite: Seqsuite, tmp_path: Path) -> None:
    picture = tmp_path / "scan.png"
    peers = (
        ("--peers", "mambapy,prefix-scan,sdpa") if find_spec("mambapy") else ("--peers", "prefix-scan,sdpa")
    )
    arguments = ("bench", "scan", "--quick", "--threads", "1", *peers, "--figure", str(picture))
    found = sections(seqsuite(*arguments, "--format", "json"))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert found.keys() == {"check", "times", "growth", "slopes", "floor", "overhead", "threads"}
    assert {row["found"] for row in found["check"][0]["rows"]} == {"correct"}
    assert [(s["work"], s["threads"], s["allocator"]) for s in found["times"]] == [
        ("forward", 1, "default"),
        ("forward + backward", 1, "default"),
    ]
    for section in found["times"]:
        rows = {row["peer"]: row for row in section["rows"]}
        assert rows[OURS]["ratio"] == 1.0
        for row in rows.values():
            assert row["minimum_s"] <= row["quartiles_s"][0] <= row["median_s"] <= row["quartiles_s"][1]
            assert row["ratio"] == pytest.approx(row["median_s"] / rows[OURS]["median_s"])
    labels = {section["notes"][0] for kind in found.values() for section in kind}
    assert labels == {QUICK}  # beside what says which is faster
    only_sweep = ("bench", "scan", "--quick", "--sweep", "--threads", "1", "--peers", "fft-conv")
    assert sections(seqsuite(*only_sweep, "--format", "json")).keys() == {"check", "growth", "slopes"}
    lengths = {row["seqlen"] for row in found["growth"][0]["rows"]}
    assert lengths == {32, 64, 128}


@pytest.mark.parametrize(
    ("what", "ending"),
    [
        ("conv", "(2, 64, 32, 4)"),
        ("ssd", "(2, 64, 64, 16)"),
        ("block", "2 × 32"),
        ("decode", "d_model 16"),
        pytest.param("zoo", "hybrid", marks=pytest.mark.slow),
    ],
)
def test_others_end_to_end(seqsuite: Seqsuite, tmp_path: Path, what: str, ending: str) -> None:
    result = seqsuite("bench", what, "--quick", "--threads", "1", "--figure", str(tmp_path / "a.png"))
    assert result.exit_code == 0, result.output
    assert f"seqsuite bench {what} --threads 1 --quick" in result.output
    assert ending in result.output
    assert "correct" in result.output
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan", "--peers", "manbapy"], "Did you mean 'mambapy'"),
        (["decode", "--peers", "sdpa"], "choose from seqsuite, mambapy, transformers"),
        (["scan", "--shape", "8,1024,512"], "write --shape 8,1024,512,16"),
        (["decode", "--shape", "64,2"], "write --shape 64"),
        (["conv", "--shape", "8,0,512,4"], "--shape 8,0,512,4"),
        (["scan", "--threads", "0"], "write --threads 1,2"),
        (["scan", "--figure", "missing/a.png"], "--figure missing/a.png"),
        (["host", "--figure", "a.png"], "leave it out"),
        (["scan", "--figure", "a.jpg"], "let it end in .png, .pdf, .svg"),
        (["block", "--dtype", "bfloat16"], "--dtype bfloat16"),
        (["conv", "--sweep"], "--sweep is for scan"),
        (["ssd", "--shape", "2,64,100,16"], "heads of 64"),
    ],
)
def test_bad_options_are_one_sentence(seqsuite: Seqsuite, arguments: list[str], message: str) -> None:
    refused = seqsuite("bench", *arguments)
    assert refused.exit_code == 2, refused.output
    assert refused.output.startswith("Error: ")
    assert refused.output.count("\n") == 1
    assert message in refused.output


def test_a_gpu_that_is_not_there(seqsuite: Seqsuite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused = seqsuite("bench", "scan", "--device", "cuda")
    assert refused.exit_code == 2
    assert "--device cpu" in refused.output


@pytest.mark.parametrize("what", ["conv", "decode"])
def test_a_missing_extra_is_listed_and_refused_only_by_name(
    seqsuite: Seqsuite, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    for module in ("peers", "model_peers"):
        monkeypatch.setattr(f"seqsuite.bench.{module}.find_spec", lambda name: None)
    listed = seqsuite("bench", what, "--quick", "--threads", "1")
    assert listed.exit_code == 0, listed.output
    assert "transformers not installed; the extra 'bench' has it" in listed.output
    refused = seqsuite("bench", what, "--quick", "--peers", "transformers")
    assert refused.exit_code == 2
    assert refused.output.startswith(
        "Error: --peers transformers cannot run here: transformers not installed"
    )


def test_what_takes_too_long_or_too_much_is_left_out_with_the_reason() -> None:
    bench = Bench(
        "scan", Settings("a test", peers=("prefix-scan",), repeats=1, limit_s=1e-6), lambda text: None
    )
    bench.check_peers()
    slow = bench.time(Shape(1, 128, 16, 2), FORWARD)
    assert "s a call or more, over the limit of 1e-06 s" in str(slow["prefix-scan"])
    assert not isinstance(slow[OURS], str)


def test_what_needs_too_much_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqsuite.bench.operations.available_memory", lambda device: 1 << 20)
    bench = Bench("scan", Settings("a test", peers=("prefix-scan",), repeats=1), lambda text: None)
    bench.check_peers()
    found = bench.time(Shape(1, 1024, 64, 16), FORWARD)
    assert "over half of what is free" in str(found["prefix-scan"])


def test_compiled_peers_without_a_compiler_are_listed(
    seqsuite: Seqsuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "why_no_compiler", lambda: "there is no C++ compiler")
    refused = seqsuite("bench", "scan", "--peers", "compiled-chunks")
    assert refused.exit_code == 2
    assert "there is no C++ compiler" in refused.output
