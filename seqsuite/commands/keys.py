"""``seqsuite keys``: every key that can be set, with what it takes and means."""

from seqsuite.commands.console import make_console
from seqsuite.experiments.config.keys import Key, list_faults, list_keys


def show_keys(prefix: str) -> None:
    """Print the keys that begin with ``prefix``, each with its type, default, choices and meaning.

    Args:
        prefix: See :func:`~seqsuite.experiments.config.keys.list_keys`.

    Raises:
        UserError: if no key does.
    """
    console = make_console()
    keys = list_keys(prefix)
    for fault in list_faults(prefix):
        console.print(f"Left out: {fault}\n", soft_wrap=True, markup=False)
    for key in keys:
        of = f"  (of {key.of})" if key.of else ""
        default = f" = {key.default}" if key.default else ""
        console.print(f"{key.name}{default}{of}", style="bold")
        console.print(f"    {_meaning(key)}")
    console.print("\nPresets set other defaults: `seqsuite run task=NAME --print-config` shows a cell's.")


def _meaning(key: Key) -> str:
    """Return a key's type, choices and description."""
    choices = f": {', '.join(key.choices)}" if key.choices and key.type in ("name", "text or none") else ""
    return f"{key.type}{choices}. {key.description}".rstrip()
