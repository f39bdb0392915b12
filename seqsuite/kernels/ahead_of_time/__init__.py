"""Triton kernels compiled for GPUs that are not there, and what the compiler made of them."""
