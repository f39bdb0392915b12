"""What the Triton kernels of all operations share: small functions, launching, and cutting sequences."""
