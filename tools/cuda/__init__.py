"""The CUDA kernels under test on a GPU (``check``), under compute-sanitizer, timed (``tune``, ``family``), compiled."""
