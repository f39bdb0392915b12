"""Checkpoints in other projects' formats, and in our own: what is called what, in one table a format."""
