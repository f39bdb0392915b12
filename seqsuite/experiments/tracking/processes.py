"""What tells a process from all others of its machine, earlier and later ones included."""

import os
import socket
import subprocess
from pathlib import Path

from seqsuite.experiments.tracking.schema import TAG_HOST, TAG_MACHINE, TAG_PROCESS


def process_identity(pid: int) -> str | None:
    """Return ``"<pid> <start time>"``, which no later process repeats, or ``None`` if none such runs."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The command's name, in parentheses, may hold anything; the start time is the 20th field after.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else f"{pid} {fields[19]}"
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return f"{pid} {shown.stdout.strip()}" if shown.stdout.strip() else None


def is_alive(identity: str) -> bool:
    """Return whether the process with this identity still runs on this machine."""
    pid = identity.partition(" ")[0]
    return pid.isdecimal() and process_identity(int(pid)) == identity


def machine_identity() -> str:
    """Return what processes share that can see each other: this boot and its process namespace.

    A host name does not do: it may change while a process runs, and two containers may have the same.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_tags() -> dict[str, str]:
    """Return the tags that say which process writes a run."""
    return {
        TAG_HOST: socket.gethostname(),
        TAG_MACHINE: machine_identity(),
        TAG_PROCESS: process_identity(os.getpid()) or str(os.getpid()),
    }
