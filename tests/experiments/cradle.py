"""A script that has everything imported, and forks processes that run ``seqsuite`` and die when told to.

It reads one JSON object a line: ``{"run": arguments, "folder": …, "environment": {…}, "plan": {…}}`` is
answered by the process's id, ``{"wait": id}`` by its exit status, negative after a signal.

A plan is ``{"log": file, "at": "step" | "checkpoint" | "file" | "pause", "number": n, "after": bool}``. The
process writes each training step to the file, and kills itself by SIGKILL at the n-th step, or at the n-th
call that changes the disk: before it or after it, in the thread that writes checkpoints or in any. ``pause``
waits after the n-th step until there is a file ``go`` in the folder. ``"limit": bytes`` is the most that a
file may grow to.
"""

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # seconds, once for all
import torch

import seqsuite.commands.run
import seqsuite.experiments.cell
import seqsuite.models.mixers.attention
import seqsuite.models.mixers.s4
import seqsuite.models.mixers.s6
import seqsuite.results.figures  # noqa: F401
from seqsuite.cli import main
from seqsuite.experiments.cell import Recorder

WATCHED = ("replace", "fsync", "unlink", "rmdir")


def carry_out(plan: dict[str, Any]) -> None:
    """Change this process so that it notes its steps, and dies where the plan says."""
    where, number, after = plan.get("at"), plan.get("number", 0), plan.get("after", False)
    count, lock = 0, threading.Lock()

    def reached() -> bool:
        nonlocal count
        with lock:
            count += 1
            return count == number

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()

    def watch(name: str, real: Callable[..., Any]) -> None:
        def watched(*arguments: Any, **options: Any) -> Any:
            ours = where == "file" or threading.current_thread().name == "checkpoint"
            if not (ours and reached()):
                return real(*arguments, **options)
            found = real(*arguments, **options) if after else None
            die()
            return found

        setattr(os, name, watched)

    log = open(plan["log"], "a")  # noqa: SIM115  # as long as the process lives
    stepped = Recorder.stepped

    def noted(self: Recorder, step: int, loss: float | None, speed: float) -> None:
        log.write(f"{step}\n")
        log.flush()
        if where == "step" and reached():
            die()
        while where == "pause" and step == number and not os.path.exists("go"):
            time.sleep(0.02)
        stepped(self, step, loss, speed)

    Recorder.stepped = noted  # type: ignore[method-assign]
    if where in ("checkpoint", "file"):
        for name in WATCHED:
            watch(name, getattr(os, name))


def be_born(request: dict[str, Any]) -> None:
    """Be the process that was asked for."""
    os.setsid()
    output = os.open(os.path.join(request["folder"], "output.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    torch.set_num_threads(1)
    if limit := request["plan"].get("limit"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    carry_out(request["plan"])
    try:
        main(request["run"])
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))
    os._exit(70)


def serve() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                be_born(request)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


serve()
