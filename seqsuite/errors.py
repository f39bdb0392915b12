"""The one exception that stands for bad input."""


class UserError(Exception):
    """Input that cannot be used: an unknown name, a wrong value, a missing file, an unreachable server.

    Its message is one sentence that says what is wrong, where, and what to do about it. The command line
    prints it and exits with status 2; it never shows a traceback for it.
    """
