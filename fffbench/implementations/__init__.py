"""What is measured: one module for each implementation, found by being here. See ``registry`` for the contract."""
