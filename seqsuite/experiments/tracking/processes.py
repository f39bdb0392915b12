"""What tells a process from all others of its machine, earlier and later ones included."""

import subprocess
from pathlib import Path


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
