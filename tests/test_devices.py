"""What is known of GPUs by their names."""

import pytest
import torch

from seqsuite.devices import hardware, peak_flops


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("NVIDIA H200", "bf16", 989e12),
        ("NVIDIA H100 PCIe", "fp16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "fp32", 19.5e12),
        ("NVIDIA L40S", "bf16", 362e12),
        ("AMD Instinct MI300X", "bf16", 1307e12),
        ("NVIDIA RTX A1000", "bf16", None),
    ],
)
def test_a_gpu_has_the_peak_of_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, precision: str, expected: float | None
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda"), precision) == expected
    assert peak_flops(torch.device("cpu"), precision) is None


def test_hardware_is_the_processor_with_its_cores_or_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqsuite.devices.processor", lambda: "Processor 3000")
    monkeypatch.setattr("seqsuite.devices.usable_cores", lambda: 12)
    assert hardware(torch.device("cpu")) == "Processor 3000, 12 cores"
    monkeypatch.setattr("seqsuite.devices.usable_cores", lambda: 1)
    assert hardware(torch.device("cpu")) == "Processor 3000, 1 core"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    assert hardware(torch.device("cuda")) == "NVIDIA H100"
