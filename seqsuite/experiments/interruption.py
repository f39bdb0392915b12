"""Ctrl-C and SIGTERM, taken at a safe moment."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The user or the system asked to stop, and the work was left in a state that can be resumed.

    Not an :class:`Exception`, so that nothing that handles errors mistakes it for one.
    """


class InterruptionFlag:
    """Tells whether an interruption was asked for."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def deferred_interrupts() -> Iterator[InterruptionFlag]:
    """Within the context, the first SIGINT or SIGTERM only sets the flag; a second SIGINT stops at once."""
    flag = InterruptionFlag()

    def handle(signum: int, frame: FrameType | None) -> None:
        if flag.requested and signum == signal.SIGINT:
            raise KeyboardInterrupt
        flag.requested = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
