"""The C++ kernels for the CPU, and what they reach (``ladder``)."""
