"""Freed memory is kept by the C library where it can be told to: tried in a process of its own."""

import subprocess
import sys

import pytest

from seqsuite import allocator


def test_freed_memory_is_kept_until_it_is_returned() -> None:
    code = (
        "import sys, torch\n"
        "from seqsuite.allocator import keep_freed_memory, process_bytes, return_freed_memory\n"
        "if not keep_freed_memory(): sys.exit('no glibc')\n"
        "before = process_bytes('VmRSS')\n"
        "x = torch.ones(1 << 26); guard = torch.ones(64)\n"
        "del x\n"
        "kept = process_bytes('VmRSS') - before\n"
        "return_freed_memory()\n"
        "print(kept, process_bytes('VmRSS') - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "no glibc" in done.stderr:
        pytest.skip("the C library is not glibc")
    kept, remaining = map(int, done.stdout.split())
    assert kept > 200 << 20
    assert remaining < kept // 2


def test_other_c_libraries_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed_memory()
    allocator.return_freed_memory()
