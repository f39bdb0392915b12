"""Vector kernels for the CPU, written in Python and compiled by LLVM when they are first called.

``builder`` describes a kernel: vectors, arrays, loops and tasks. ``functions`` has exp2, softplus and the
like, ``tasks`` cuts sequences of rows into tasks and chunks. ``target`` says what the machine can do, ``jit``
compiles and keeps the machine code on disk, ``run`` gets from tensors to a run, ``memory`` has room for large
results, and ``threads`` runs a kernel on PyTorch's own threads. No C compiler is needed, only llvmlite.
"""
