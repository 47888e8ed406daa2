"""The C++ kernels under sanitizers (``sanitize``), and the memory rates of a machine's cores (``row_rates.cpp``)."""
