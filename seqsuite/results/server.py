"""``python -m seqsuite.results.server PORT``: MLflow's server, living as long as the process that started it.

The starter holds the other end of standard input, which closes however the starter ends. The store's address
comes by ``MLFLOW_BACKEND_STORE_URI``: on the command line everybody on the machine could read its password.
"""

import os
import signal
import sys
import threading

HOST = "127.0.0.1"


def main() -> None:
    """Serve until standard input closes; this process leads a group of its own."""
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    from mlflow.cli import cli

    cli(["server", "--app-name", "seqsuite", "--workers", "1", "--host", HOST, "--port", sys.argv[1]])


def _end_with_the_starter() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
