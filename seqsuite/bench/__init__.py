"""Benchmarks: what a kernel takes beside its peers, in one run, after each has been checked for correctness.

``timing`` and ``memory`` measure, ``peers`` says what a peer is, ``*_peers`` are the peers, and ``scan``,
``conv``, ``block`` and ``decode`` are the benchmarks: each turns :class:`~.settings.Settings` into a
:class:`~.report.Report`.
"""
