"""How every command ends: faults are one sentence each, and whatever was printed has arrived."""

import errno
import os
import resource
import sys
from typing import Any, NoReturn

import click

from seqsuite.errors import UserError
from seqsuite.experiments.interruption import Interrupted
from seqsuite.registry import describe_error, is_of_a_plugin

EXIT_USAGE, EXIT_INTERRUPTED = 2, 130

_OUTPUT = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NO_MEMORY = ("cannot allocate memory", "failed to map segment", "can't start new thread", "can't allocate")


_ADDRESS_SPACE = 4 * 10**9  # bytes that PyTorch and MLflow map, most of which they never touch


def require_address_space() -> None:
    """Check, before PyTorch is loaded, that it can be: some of its libraries abort where they get no memory.

    Raises:
        UserError: if the limit is too low.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE:
        raise UserError(
            f"This needs about {_ADDRESS_SPACE / 1e9:.0f} GB of address space, and the limit is "
            f"{limit / 1e9:.1f} GB: raise it (ulimit -v)."
        )


class SeqsuiteGroup(click.Group):
    """A command group that shows a :class:`UserError` as one sentence with exit status 2.

    So it does what a plug-in raises, a lack of memory, and standard output that is closed or full.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line."""
        if sys.stdout is None:
            _fail("Standard output is closed: nothing could be shown there.")
        try:
            return super().main(*args, **kwargs)
        except (OSError, ImportError, MemoryError, RuntimeError) as error:
            _fail(_sentence(error))
        finally:
            _flush()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(EXIT_USAGE)
        except Interrupted:
            click.echo("Stopped; the work so far is saved, and the same command goes on.", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except KeyboardInterrupt:  # where nothing is kept, or nothing had begun
            click.echo("Stopped.", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except (click.exceptions.Exit, click.ClickException, click.Abort, MemoryError):
            raise
        except Exception as error:
            if not is_of_a_plugin(error):
                raise
            click.echo(f"Error: A plug-in failed: {describe_error(error)}.", err=True)
            ctx.exit(EXIT_USAGE)


def _sentence(error: Exception) -> str:
    """Return what a fault of the machine means; others are raised again."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        return "There is not enough memory for this: free some, or raise the limit (ulimit -v)."
    if isinstance(error, OSError) and error.errno in _OUTPUT:
        where = f" to {error.filename}" if error.filename else ""
        return f"What was made cannot be written{where}: {os.strerror(error.errno)}."
    raise error


def _flush() -> None:
    """Write what standard output holds back, while there is still someone to say that it cannot be."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever was reading has seen enough
            _discard_output()
            sys.exit(1)
        _fail(f"Standard output cannot be written: {os.strerror(error.errno or 0)}.")


def _fail(sentence: str) -> NoReturn:
    if sys.stderr is not None:
        click.echo(f"Error: {sentence}", err=True)
    _discard_output()
    sys.exit(EXIT_USAGE)


def _discard_output() -> None:
    """Let Python's own last flush go nowhere, for it would end in a traceback."""
    if sys.stdout is not None:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
