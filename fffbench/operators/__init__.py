"""The kernels as operators of PyTorch, and what they share with numpy's way in. Importing this loads no torch."""
