"""Where do the CUDA kernels live? Sources (.cu, .cuh), the run-time compiler and the launches of ``fff_cuda``."""
