"""All that a GPU must be asked, in one run of a few minutes: ``python -m seqsuite.bench.gpu_report``.

Each part is a process of its own: one that fails or takes too long is noted, and the next one runs. The most
important come first, and the file is written after each. ``--tables`` makes docs/triton.md's tables of it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from seqsuite.bench.gpu_measures import MEASURES
from seqsuite.bench.gpu_tables import renew
from seqsuite.bench.machine import describe_machine

MINUTES = 9.0
PACKAGES = ("torch", "triton", "mamba-ssm", "fla-core", "causal-conv1d")
TASKS = ("selective_copying", "text", "dna", "piano")
ROOT = Path(__file__).parents[2]

# Prints the final metrics of a cell, one on a line; what it was before is not taken for it.
RUN_A_CELL = """
import json, sys, seqsuite
(cell,) = seqsuite.run(*sys.argv[1:], force=True)
if cell.outcome != "finished":
    sys.exit(cell.message or cell.outcome)
for metric, value in sorted(cell.metrics.items()):
    print(json.dumps({"metric": metric, "value": value}))
"""

Result = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A part of the report.

    Attributes:
        name: of its results.
        command: what runs, with ``device`` in it.
        read: makes results of what it writes to its standard output.
        limit_s: seconds that it may take.
    """

    name: str
    command: Callable[[str, bool], list[str]]
    read: Callable[[str], Any]
    limit_s: float


def _bench(what: str, *options: str) -> Callable[[str, bool], list[str]]:
    def command(device: str, quick: bool) -> list[str]:
        words = [sys.executable, "-m", "seqsuite", "bench", what, *options, "--device", device]
        if what == "scan" and device == "cuda":
            words += ["--peers", ",".join(["sdpa", *(["mamba-ssm"] if find_spec("mamba_ssm") else [])])]
        return [*words, "--repeats", "3", "--format", "json", *(["--quick"] if quick else [])]

    return command


def _measure(name: str) -> Callable[[str, bool], list[str]]:
    def command(device: str, quick: bool) -> list[str]:
        words = [sys.executable, "-m", "seqsuite.bench.gpu_report", "--measure", name, "--device", device]
        return words + (["--quick"] if quick else [])

    return command


def _tests(device: str, quick: bool) -> list[str]:
    which = ["tests/test_graphs.py"] if quick else ["tests"]
    return [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-rfE", *which]


def _task(task: str) -> Callable[[str, bool], list[str]]:
    def command(device: str, quick: bool) -> list[str]:
        scale = ["scale=smoke", "train.steps=2"] if quick else ["scale=gpu"]
        return [
            sys.executable,
            "-c",
            RUN_A_CELL,
            f"task={task}",
            "model=mamba",
            f"run.device={device}",
            *scale,
        ]

    return command


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])


def json_lines(text: str) -> list[Any]:
    """Return what stands on each line."""
    return [json.loads(line) for line in text.splitlines()]


PARTS = [
    Part("tests", _tests, _tail, 110),
    Part("train", _measure("train"), json_lines, 110),
    Part("scan-graph", _measure("scan-graph"), json_lines, 90),
    Part("scan", _bench("scan", "--sweep", "--dtype", "bfloat16"), json.loads, 90),
    Part("decode-graph", _measure("decode-graph"), json_lines, 60),
    Part("norm", _measure("norm"), json_lines, 40),
    Part("conv", _bench("conv", "--dtype", "bfloat16"), json.loads, 40),
    Part("ssd", _bench("ssd", "--dtype", "bfloat16"), json.loads, 40),
    Part("block", _bench("block"), json.loads, 40),
    Part("decode", _bench("decode"), json.loads, 40),
    Part("zoo", _bench("zoo"), json.loads, 60),
    *(Part(f"task {task}", _task(task), json_lines, 60) for task in TASKS),
]


def report(path: Path, *, device: str, quick: bool, minutes: float, only: Sequence[str] = ()) -> Result:
    """Run the parts within so many minutes, and write what they find to a file after each.

    Args:
        path: The JSON file.
        device: "cuda", or "cpu" to try it out.
        quick: Whether to take tiny sizes.
        minutes: For all parts together; what there is no time for is noted.
        only: Names of the parts to run, all if empty.
    """
    end = time.monotonic() + 60 * minutes
    found: Result = {
        "machine": describe_machine(device, (torch.get_num_threads(),)),
        "packages": {name: _version(name) for name in PACKAGES},
        "quick": quick,
        "parts": {},
    }
    for part in PARTS:
        if only and part.name not in only:
            continue
        left = end - time.monotonic()
        print(f"{part.name}: at most {min(part.limit_s, left):.0f} s", file=sys.stderr, flush=True)
        found["parts"][part.name] = _run(part, device, quick, min(part.limit_s, left))
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _run(part: Part, device: str, quick: bool, limit_s: float) -> Result:
    """Return a part's results with the seconds it took, or why there are none."""
    if limit_s < 5:
        return {"failed": "no time was left"}
    command = part.command(device, quick)
    begun = time.monotonic()
    try:
        run = subprocess.run(
            command,
            cwd=ROOT,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        late: Result = {"seconds": limit_s, "failed": f"it took longer than {limit_s:.0f} s"}
        # The rows until then, if it gives them one by one.
        rows = (
            json_lines((error.stdout or b"").decode().rpartition("\n")[0]) if part.read is json_lines else []
        )
        return late | ({"found": rows} if rows else {})
    result: Result = {"seconds": round(time.monotonic() - begun, 1)}
    if run.returncode != 0:
        return result | {"failed": _tail(run.stderr) or _tail(run.stdout) or f"status {run.returncode}"}
    try:
        return result | {"found": part.read(run.stdout)}
    except ValueError as error:
        return result | {"failed": f"its output cannot be read: {error}"}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or renew the tables of a page."""
    parser = argparse.ArgumentParser(prog="seqsuite.bench.gpu_report", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu_report.json"), help="the JSON file")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all parts together")
    parser.add_argument("--only", nargs="*", choices=[part.name for part in PARTS], default=[])
    parser.add_argument("--measure", choices=MEASURES, help="print one measure's rows, and nothing else")
    parser.add_argument("--tables", type=Path, help="renew the tables of this page from the file, only")
    options = parser.parse_args(arguments)
    if options.measure is not None:
        for row in MEASURES[options.measure](options.device, options.quick):
            print(json.dumps(row), flush=True)
    elif options.tables is not None:
        found = json.loads(options.out.read_text(encoding="utf-8"))
        page = options.tables.read_text(encoding="utf-8")
        options.tables.write_text(renew(page, found), encoding="utf-8")
    else:
        report(
            options.out,
            device=options.device,
            quick=options.quick,
            minutes=options.minutes,
            only=options.only,
        )


if __name__ == "__main__":
    main()
