"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal, a dropped ssh), taken at a safe moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
    """Within the context the first of these signals only sets the flag; a second SIGINT stops at once.

    Outside the main thread, where signals cannot be handled, nothing sets the flag.
    """
    flag = InterruptionFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if flag.requested and signum == signal.SIGINT:
            raise KeyboardInterrupt
        flag.requested = True

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
