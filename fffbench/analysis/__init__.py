"""What do the results mean? Pure functions on plain data; imports plan and results, never torch."""
