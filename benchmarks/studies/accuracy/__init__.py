"""How accurate is a layer for the time that it takes? MNIST-1D, both forms of FFF, their rivals, measured times."""
