"""A driver for Triton without a GPU: kernels compile as on one, and launches are written down."""

from typing import Any

import torch
from triton.backends.compiler import GPUTarget


class RecordingDriver:
    """Stands in for ``triton.runtime.driver.active``; ``launched`` has names, grids, warps and sources."""

    def __init__(self) -> None:
        self.launched: list[tuple[str, tuple[int, int, int], int, Any]] = []
        self.utils = self
        self.launcher_cls = self._launcher

    def _launcher(self, source: Any, metadata: Any) -> Any:
        def launch(x: int, y: int, z: int, *_: Any) -> None:
            self.launched.append((source.fn.__name__, (x, y, z), metadata.num_warps, source))

        return launch

    def load_binary(self, *_: Any) -> tuple[None, int, int, int, int]:
        return None, 0, 0, 0, 1024

    def get_device_properties(self, _: int) -> dict[str, int]:
        return {"max_shared_mem": 227 * 1024}

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")
