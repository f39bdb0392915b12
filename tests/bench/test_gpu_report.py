"""The report of a GPU, tried out on a CPU."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seqsuite.bench import gpu_report
from seqsuite.bench.gpu_measures import MEASURES
from seqsuite.bench.gpu_report import Part, main, report
from seqsuite.bench.gpu_tables import renew

PAGE = """# A page
<!-- gpu train -->
old
<!-- end -->
between
<!-- gpu conv -->
<!-- end -->
<!-- gpu task text -->
<!-- end -->
<!-- gpu norm -->
<!-- end -->
"""


@pytest.mark.parametrize("name", MEASURES)
def test_measures_at_tiny_sizes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--measure", name, "--device", "cpu", "--quick"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows
    for row in rows:
        numbers = [value for key, value in row.items() if key.endswith(("_s", "_per_second"))]
        assert numbers
        assert all(number > 0 for number in numbers)


def python(code: str) -> list[str]:
    return [gpu_report.sys.executable, "-c", code]


def test_goes_past_what_fails_and_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one part gave until its time was over is kept."""
    slow = """import time
print('{"model": "m"}', flush=True)
print('{"mo', end="", flush=True)
time.sleep(60)"""
    parts = [
        Part("train", lambda *_: python(slow), gpu_report.json_lines, 6),
        Part("conv", lambda *_: python("raise SystemExit('No GPU.')"), json.loads, 30),
        Part("norm", lambda *_: python('print("{}")'), gpu_report.json_lines, 30),
    ]
    monkeypatch.setattr(gpu_report, "PARTS", parts)
    path = tmp_path / "report.json"
    report(path, device="cpu", quick=True, minutes=1)
    found = json.loads(path.read_text())
    assert found["packages"]["torch"].startswith("2.")
    assert found["parts"]["train"]["found"] == [{"model": "m"}]
    assert found["parts"]["train"]["failed"] == "it took longer than 6 s"
    assert found["parts"]["conv"]["failed"] == "No GPU."
    assert found["parts"]["norm"]["found"] == [{}]


def test_says_what_there_was_no_time_for(tmp_path: Path) -> None:
    found = report(tmp_path / "report.json", device="cpu", quick=True, minutes=0.01, only=["norm"])
    assert found["parts"] == {"norm": {"failed": "no time was left"}}


@pytest.mark.slow
def test_a_task_gives_its_final_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    name = "task selective_copying"
    parts = [replace(part, limit_s=120) for part in gpu_report.PARTS if part.name == name]
    monkeypatch.setattr(gpu_report, "PARTS", parts)
    found = report(tmp_path / "report.json", device="cpu", quick=True, minutes=5)["parts"][name]
    assert {row["metric"] for row in found["found"]} >= {"test/accuracy"}


def test_tables_come_from_the_file(tmp_path: Path) -> None:
    row = {"model": "mamba", "size": "130m", "batch": 8, "seqlen": 2048, "eager_tokens_per_second": 61_234.0}
    section = {"kind": "times", "title": "At (1, 2)", "rows": [{"peer": "seqsuite", "median_s": 1.5e-4}]}
    task = {"found": [{"metric": "test/bits_per_byte", "value": 1.25}]}
    parts = {"train": {"found": [row]}, "conv": {"found": {"sections": [section]}}, "task text": task}
    found = {"parts": parts}
    file, page = tmp_path / "report.json", tmp_path / "page.md"
    file.write_text(json.dumps(found))
    page.write_text(PAGE)
    main(["--out", str(file), "--tables", str(page)])
    made = page.read_text()
    assert "| mamba | 130m | 8 | 2 048 | 61.2 k | – | – |  |" in made
    assert "**At (1, 2)**\n\n| peer | median |\n| --- | --- |\n| seqsuite | 150 µs |" in made
    assert "| test/bits_per_byte | 1.25" in made
    assert "<!-- gpu norm -->\nNot measured.\n<!-- end -->" in made
    assert "old" not in made
    assert renew(made, found) == made
