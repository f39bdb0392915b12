"""``python -m seqsuite.results.server PORT``: MLflow's server, living as long as the process that started it.

The starter holds the other end of standard input, which closes however the starter ends. The store's address
comes by ``MLFLOW_BACKEND_STORE_URI``: on the command line everybody on the machine could read its password.
"""

import os
import signal
import sys
import threading
from importlib.metadata import entry_points

HOST = "127.0.0.1"

APP = "seqsuite"
"""Name of :mod:`seqsuite.results.mlflow_app` among MLflow's applications, and of its first page."""


def has_first_page() -> bool:
    """Return whether MLflow finds our application: not where seqsuite was installed before it had one."""
    return bool(entry_points(group="mlflow.app", name=APP))


def main() -> None:
    """Serve until standard input closes; this process leads a group of its own."""
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    from mlflow.cli import cli

    app = ["--app-name", APP] if has_first_page() else []
    cli(["server", *app, "--workers", "1", "--host", HOST, "--port", sys.argv[1]])


def _end_with_the_starter() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
