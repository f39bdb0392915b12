"""How counts are told to readers."""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, which ends in "s" but for one: ``"1 file"``, ``"1,200 files"``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
