"""Which genomes are held in memory, and which are mapped from disk."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from seqsuite.tasks.sources import genomes


@pytest.mark.parametrize(("packed", "taken_for"), [(False, 1), (True, 4)])
def test_a_file_is_read_into_memory_up_to_a_size_which_a_compressed_one_has_four_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, taken_for: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    content = b">chr1\n" + b"ACGTTGCA" * 64 + b"\n"
    file = tmp_path / ("genome.fa.gz" if packed else "genome.fa")
    file.write_bytes(gzip.compress(content) if packed else content)
    for allowed, mapped in ((0, False), (-1, True)):
        monkeypatch.setattr(genomes, "LARGE", file.stat().st_size * taken_for + allowed)
        (record,) = genomes.records_of(file)
        assert isinstance(record.base, np.memmap) == mapped
        assert len(record) == 512
