import pytest
import torch

from seqsuite.kernels.llvm import memory


@pytest.mark.parametrize("numbers", [0, 3, memory.LARGE_BYTES // 4 - 1, memory.LARGE_BYTES // 4 + 1000])
def test_memory_can_be_written_whatever_its_size(numbers: int) -> None:
    tensor = memory.new_empty(torch.zeros(1), (numbers,))
    assert tensor.shape == (numbers,)
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor.fill_(1.0), torch.ones(numbers))


def test_systems_without_huge_pages_get_plain_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "find_madvise", lambda: None)
    tensor = memory.new_empty(torch.zeros(1), (memory.LARGE_BYTES,), torch.float64)
    assert tensor.nbytes == 8 * memory.LARGE_BYTES
